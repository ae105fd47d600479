"""The process in which llama.cpp quantizes: ``SOURCE TARGET FILE_TYPE PARENT``; tells its progress as JSON lines."""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from typing import Any, TypedDict

from llmops_tui.jobs.process import die_with_parent
from llmops_tui.native_log import NativeLog

_PROGRESS = re.compile(rb"\[\s*(\d+)/\s*(\d+)\]")


class Told(TypedDict, total=False):
    """What is told: how many of the tensors are done, or why it failed."""

    done: int
    of: int
    error: str


def main() -> int:
    """Quantize; returns the exit code. It ends with the job that started it, after which another may write the target."""
    die_with_parent(int(sys.argv[4]))
    out = os.dup(1)
    os.dup2(2, 1)
    import llama_cpp

    def tell(message: Told) -> None:
        os.write(out, json.dumps(message).encode() + b"\n")

    log = NativeLog()

    # llama.cpp tells how far it is in its log alone.
    def logged(level: int, text: bytes, _data: Any) -> None:
        log.take(level, text)
        if match := _PROGRESS.search(text):
            tell({"done": int(match[1]), "of": int(match[2])})

    callback = llama_cpp.llama_log_callback(logged)
    llama_cpp.llama_log_set(callback, None)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = int(sys.argv[3])
    params.allow_requantize = True
    params.nthread = max(1, (os.cpu_count() or 2) - 1)
    status = llama_cpp.llama_model_quantize(os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), ctypes.byref(params))
    if status != 0:
        tell({"error": f"status {status}{log.why()}"})
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
