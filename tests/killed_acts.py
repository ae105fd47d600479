"""An act that kills itself at its n-th call: in forks of one process that has loaded everything, so a kill costs the act alone.

In between two calls of our own functions are all that the databases and the disk do.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from tests.waiting import may_wait

# How long an act may take that has a core for itself; a busy machine gives it longer.
_SECONDS, _LOOK_SECONDS = 120.0, 2.0
_LIBRARIES = ("duckdb", "pydantic", "orjson", "yaml", "numpy")


class KilledActs:
    """Runs of one act. It is named as ``module:function``; the function prepares it for some arguments and returns what is run."""

    def __init__(self, act: str, places: tuple[str, ...] = ("/llmops_tui/",)) -> None:
        """``places``: calls count in files whose path has one of these in it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killed_acts", act, *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def calls(self, *arguments: str) -> int:
        """How many calls the whole act makes; it is done then."""
        code, calls, errors = self._run(0, arguments)
        assert code == 0, errors
        return calls

    def kill(self, number: int, *arguments: str) -> None:
        """Begin the act, and kill it at its call of this number."""
        code, _, errors = self._run(number, arguments)
        assert code == -signal.SIGKILL, errors or f"it ended with {code} before its call {number}"

    def _run(self, number: int, arguments: tuple[str, ...]) -> tuple[int, int, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([number, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process that runs the acts has ended"
        code, calls, errors = json.loads(line)
        return code, calls, errors


def _serve(act: str, places: tuple[str, ...]) -> None:
    for library in _LIBRARIES:
        importlib.import_module(library)
    module, _, name = act.partition(":")
    prepare = getattr(importlib.import_module(module), name)
    for line in sys.stdin:
        number, arguments = json.loads(line)
        sys.stdout.write(json.dumps(_forked(prepare, places, number, arguments)) + "\n")
        sys.stdout.flush()


def _forked(
    prepare: Callable[..., Callable[[], object]], places: tuple[str, ...], number: int, arguments: list[str]
) -> tuple[int, int, str]:
    with tempfile.TemporaryFile("w+") as errors:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                try:
                    os.write(writing, str(_counted(prepare(*arguments), places, number)).encode())
                    code = 0
                except BaseException:  # noqa: BLE001  whatever it is, the test tells it
                    errors.write(traceback.format_exc())
                    errors.flush()
            os._exit(code)
        os.close(writing)
        descriptor, begun, ended = os.pidfd_open(child), time.monotonic(), False
        while not ended and may_wait(begun, _SECONDS):
            ended = bool(select.select([descriptor], [], [], _LOOK_SECONDS)[0])
        os.close(descriptor)
        if not ended:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reading) as told:
            calls = int(told.read() or 0)
        errors.seek(0)
        said = errors.read() if ended else "it stood still"
        return (os.waitstatus_to_exitcode(status) if ended else 1), calls, said


def _counted(act: Callable[[], object], places: tuple[str, ...], limit: int) -> int:
    count = 0

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        if event in {"call", "c_call"} and any(place in frame.f_code.co_filename for place in places):
            count += 1
            if count == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    act()
    sys.setprofile(None)
    return count


if __name__ == "__main__":
    _serve(sys.argv[1], tuple(sys.argv[2:]))
