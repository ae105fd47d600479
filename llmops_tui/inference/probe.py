"""How llama.cpp was built: run as a module, this prints one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TypedDict, cast

from llmops_tui.child_python import module_command
from llmops_tui.inference.crash import why_it_died

_SECONDS = 60.0


class EngineFacts(TypedDict, total=False):
    """How llama.cpp was built, or the ``error`` that says why that is not known."""

    version: str
    gpu: bool
    flags: str
    error: str


def probe() -> EngineFacts:
    """Facts of the installed llama.cpp: version, whether it can use a GPU, and its build flags.

    The library is loaded in a child process, so that a build which crashes is a fact and no crash of ours.
    """
    with tempfile.TemporaryDirectory(prefix="llmops-probe-") as scratch:
        log = Path(scratch) / "log"
        try:
            with log.open("wb") as errors:
                done = subprocess.run(
                    module_command("llmops_tui.inference.probe"),
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    timeout=_SECONDS,
                    check=False,
                )
            return cast("EngineFacts", dict(json.loads(done.stdout)))
        except subprocess.TimeoutExpired:
            return {"error": f"llama.cpp could not be loaded within {_SECONDS:g} s"}
        except ValueError:
            cause = why_it_died(done.returncode, log, 0, None)
            return {"error": f"llama.cpp could not be loaded: its process was {cause}"}


def _main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    import llama_cpp

    facts: EngineFacts = {
        "version": llama_cpp.__version__,
        "gpu": bool(llama_cpp.llama_supports_gpu_offload()),
        "flags": llama_cpp.llama_print_system_info().decode("utf-8", "replace").strip(),
    }
    os.write(out, json.dumps(facts).encode())


if __name__ == "__main__":
    _main()
