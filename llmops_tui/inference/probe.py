"""Say, from a process of its own, how llama.cpp was built: run as a module, it prints one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

_SECONDS = 60.0


def probe() -> dict[str, Any]:
    """Facts of the installed llama.cpp: version, whether it can use a GPU, and its build flags.

    The library is loaded in a child process, so that a build which crashes is a fact and no crash of ours.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "llmops_tui.inference.probe"], capture_output=True, timeout=_SECONDS, check=False
        )
        return dict(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, ValueError):
        return {"error": "llama.cpp could not be loaded"}


def _main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    import llama_cpp

    facts = {
        "version": llama_cpp.__version__,
        "gpu": bool(llama_cpp.llama_supports_gpu_offload()),
        "flags": llama_cpp.llama_print_system_info().decode("utf-8", "replace").strip(),
    }
    os.write(out, json.dumps(facts).encode())


if __name__ == "__main__":
    _main()
