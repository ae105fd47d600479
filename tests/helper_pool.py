"""Helper processes that tests leave behind are taken by the next tests: starting one takes longer than most of its work.

A model server starts one at its first question and keeps it to its end; each test has a server of its own. What a helper does
depends on its command and its question alone, so one that has answered for a test answers for another as if it were new.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from llmops_tui.inference.helper_process import HelperProcess

# What others do may depend on the surroundings of the test that they were started in, such as installed packages.
_SHARED = {"llmops_tui.inference.template_worker", "llmops_tui.inference.grammar_worker"}
_MOST = 4
_ANSWERS_SECONDS = 20.0


class HelperPool:
    """A plugin of pytest: helpers that are closed while they are idle wait here, the newest of them first."""

    def __init__(self) -> None:
        self.paused = False
        self._idle: list[tuple[tuple[str, ...], subprocess.Popen[bytes]]] = []
        self._start: Callable[[HelperProcess], None] = HelperProcess._start
        self._close: Callable[[HelperProcess], None] = HelperProcess.close

    def pytest_configure(self) -> None:
        """From here on."""
        pool = self

        def start(helper: HelperProcess) -> None:
            if pool.paused or not pool._took(helper):
                pool._start(helper)

        def close(helper: HelperProcess) -> None:
            if pool.paused or not pool._kept(helper):
                pool._close(helper)

        HelperProcess._start = start  # type: ignore[method-assign]
        HelperProcess.close = close  # type: ignore[method-assign]

    def pytest_unconfigure(self) -> None:
        """None outlives the tests."""
        HelperProcess._start, HelperProcess.close = self._start, self._close  # type: ignore[method-assign]
        while self._idle:
            _end(self._idle.pop()[1])

    def _took(self, helper: HelperProcess) -> bool:
        """Whether an idle one is the helper's now: one that answers."""
        command = tuple(helper._command)
        for entry in reversed(self._idle):
            if entry[0] == command:
                self._idle.remove(entry)
                helper._process = entry[1]
                try:
                    helper._talk(helper._greeting, _ANSWERS_SECONDS)
                except Exception:  # noqa: BLE001  whatever became of it, there is another
                    helper._kill()
                    continue
                return True
        return False

    def _kept(self, helper: HelperProcess) -> bool:
        """Whether the helper was idle, and its process waits for another."""
        if not _SHARED & set(helper._command) or not helper._lock.acquire(blocking=False):
            return False
        try:
            process: Any = helper._process
            if process is None or process.poll() is not None:
                return False
            helper._process = None
        finally:
            helper._lock.release()
        self._idle.append((tuple(helper._command), process))
        if len(self._idle) > _MOST:
            _end(self._idle.pop(0)[1])
        return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
