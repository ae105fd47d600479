"""The command line in forks of one process that has loaded it: a thousand commands cost little more than their work.

Each command is ``llmops`` as it is: the same function with the same arguments, streams of its own, a session of its own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from llmops_tui.cli import main

# Loaded beforehand; what belongs into processes of its own is left to them.
_ROOMS = (
    "cli", "workspace", "keeping", "monitoring", "traces", "evaluation", "training", "datasets", "prompts", "models", "jobs", "hardware",
)  # fmt: skip
_APART = ("worker", "inference.engine")
# Root may read everything, but for a process that gave that right away.
NO_RIGHTS = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
_LIBRARIES = ("duckdb", "pydantic", "orjson", "sqlite_utils", "yaml", "httpx", "numpy", "rich.table", "huggingface_hub")


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code, none where it stood still, what it wrote, and the processor's time it took."""

    code: int | None
    output: str
    errors: str
    seconds: float


class ForkedCommands:
    """A process that runs commands one after another, each in a fork."""

    def __init__(self, before: tuple[str, ...] = (), **environment: str) -> None:
        """``before``: a command line that starts it, such as one that drops rights."""
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.maintenance.forked_cli"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def run(self, *arguments: str, seconds: float = 120.0) -> Done:
        """Run one command line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([seconds, *arguments]) + "\n")
        self._process.stdin.flush()
        return Done(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def _serve() -> None:
    for name in _LIBRARIES:
        importlib.import_module(name)
    for room in _ROOMS:
        package = importlib.import_module(f"llmops_tui.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(part in module.name for part in _APART):
                importlib.import_module(module.name)
    # The parser of the commands is made anew at each call, which takes longer than most commands.
    setattr(main, "app", typer.main.get_command(main.app))  # noqa: B010
    gc.freeze()
    for line in sys.stdin:
        seconds, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(_fork(arguments, seconds)) + "\n")
        sys.stdout.flush()


def _fork(arguments: list[str], seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            _become(arguments, output.fileno(), errors.fileno())
        descriptor = os.pidfd_open(child)
        ended = bool(select.select([descriptor], [], [], seconds)[0])
        os.close(descriptor)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
        said = []
        for file in (output, errors):
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))
        code = os.waitstatus_to_exitcode(status) if ended else None
        return {"code": code, "output": said[0], "errors": said[1], "seconds": used.ru_utime + used.ru_stime}


def _become(arguments: list[str], output: int, errors: int) -> None:
    code = 70
    try:
        os.setsid()
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        code = main.run(arguments)
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve()
