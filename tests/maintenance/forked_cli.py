"""The command line in forks of one process that has loaded it: a thousand commands cost little more than their work.

Each command is ``llmops`` as it is: a process that runs the same function with the same arguments, streams of its own, a
session of its own. Only the interpreter and the modules are not loaded again, which takes longer than most commands.
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
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import typer

from llmops_tui import __main__ as entry
from llmops_tui.cli import main
from tests.waiting import may_wait

# Loaded beforehand; what belongs into processes of its own is left to them.
_ROOMS = (
    "cli", "workspace", "maintenance", "monitoring", "traces", "evaluation", "training", "datasets", "prompts", "models", "jobs", "hardware",
)  # fmt: skip
_APART = ("worker", "inference.engine")
# Root may read everything, but for a process that gave that right away.
NO_RIGHTS = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
_LOOK_SECONDS = 5.0
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
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.maintenance.forked_cli"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def run(
        self,
        *arguments: str,
        seconds: float = 120.0,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        folder: str | None = None,
    ) -> Done:
        """Run one command line; without ``environment`` and ``folder`` where and as this process was started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {
            "arguments": arguments,
            "seconds": seconds,
            "stdin": stdin,
            "environment": None if environment is None else dict(environment),
            "folder": folder,
        }
        with self._turn:
            try:
                self._process.stdin.write(json.dumps(asked) + "\n")
                self._process.stdin.flush()
                answer = self._process.stdout.readline()
            except BaseException:
                # Broken off, as by a test's time-out: the answer that is still to come is nobody's.
                self._process.kill()
                self._process.wait()
                raise
        return Done(**json.loads(answer))

    @property
    def alive(self) -> bool:
        """Whether it takes commands."""
        return self._process.poll() is None

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
        sys.stdout.write(json.dumps(_fork(json.loads(line))) + "\n")
        sys.stdout.flush()
    # What was put out of the collector's sight would be told as leaked.
    gc.unfreeze()


def _fork(asked: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        given.write(asked["stdin"].encode())
        given.seek(0)
        child = os.fork()
        if child == 0:
            _become(asked, given, output, errors)
        descriptor = os.pidfd_open(child)
        begun, ended = time.monotonic(), False
        # Longer on a busy machine: a command that wants a core is not one that stands still.
        while not ended and may_wait(begun, asked["seconds"]):
            ended = bool(select.select([descriptor], [], [], min(asked["seconds"], _LOOK_SECONDS))[0])
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


def _become(asked: dict[str, Any], given: BinaryIO, output: BinaryIO, errors: BinaryIO) -> None:
    code = 70
    try:
        os.setsid()
        for number, file in enumerate((given, output, errors)):
            os.dup2(file.fileno(), number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        if asked["environment"] is not None:
            before = _named_places()
            os.environ.clear()
            os.environ.update(asked["environment"])
            # As an interpreter that is started with this environment looks for modules and packages.
            sys.path[:] = [*_named_places(), *(place for place in sys.path if place not in before)]
        if asked["folder"] is not None:
            os.chdir(asked["folder"])
        sys.argv = [entry.__file__, *asked["arguments"]]
        code = _exit_code()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _named_places() -> list[str]:
    return [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]


def _exit_code() -> int:
    """What the command ends with, as the interpreter would tell it."""
    try:
        entry.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001  as the interpreter does: whatever it is, it is printed
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve()
