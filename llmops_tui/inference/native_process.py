"""A worker process that uses llama.cpp for one task, with the fallback options of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmops_tui.child_python import module_command
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.crash import is_for_memory, why_it_died
from llmops_tui.inference.engine_launch import crashes_with_any
from llmops_tui.inference.engine_wire import EngineStart
from llmops_tui.inference.fallback import Descent, is_crash
from llmops_tui.jobs.process import oom_kills

# These workers compute exactly, and use a GPU where llama.cpp can.
_OPTIONS: EngineStart = {"precision": "exact", "gpu_layers": -1}


def run_native(
    module: str, arguments: Sequence[str], heard: Callable[[Any], None], *, model: Path, failed: str, what: str
) -> None:
    """Run ``python -m MODULE RUNG PARENT ARGUMENTS…`` to its end; ``heard`` is told each line of its output, read as JSON.

    The worker gets the options of the way to run as JSON, and our pid, with which it dies; it says ``{"error": …}`` where it
    cannot do its work. What it and llama.cpp write to standard error goes on to ours. ``model`` is the file that the work is
    about.

    Raises:
        LlmopsError: with the code ``failed``: ``what`` could not be done, and why.
    """
    descent = Descent(_OPTIONS, model)
    cause = ""
    for rung in descent.rungs:
        code, told, cause = _once(
            module, [json.dumps(rung.options), str(os.getpid()), *arguments], heard, rung.environment
        )
        if told:
            raise LlmopsError(failed, f"{what}: {told}")
        if code == 0:
            of_the_build = bool(descent.failed) and asyncio.run(
                crashes_with_any(_OPTIONS | {"path": str(model)}, descent.failed[-1])
            )
            if rung.told:
                sys.stderr.write(f"llama.cpp runs {rung.told}, since otherwise it was {descent.cause}\n")
            # Our standard error is a log that nobody may read: the next server tells it.
            descent.worked(rung, of_the_build=of_the_build, told=False)
            return
        if not is_crash(code) or is_for_memory(cause):
            break
        descent.crashed(rung, cause)
    raise LlmopsError(
        failed, f"{what}: its process was {cause}", "llmops doctor tests whether llama.cpp works on this machine."
    )


def _once(
    module: str, arguments: list[str], heard: Callable[[Any], None], environment: dict[str, str]
) -> tuple[int, str, str]:
    """One run: its exit code, what it said is wrong, and why it died."""
    before = oom_kills()
    told = ""
    with tempfile.TemporaryDirectory(prefix="llmops-native-") as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                module_command(module, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                with contextlib.suppress(ValueError):
                    message = json.loads(line)
                    if isinstance(message, dict) and "error" in message:
                        told = str(message["error"])[:500]
                    else:
                        heard(message)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
        return code, told, why_it_died(code, log, 0, before) if code else ""
