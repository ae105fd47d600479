"""Graceful shutdown of a server process by signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from llmops_tui.jobs.process import ENDING


class Ending:
    """Hears what asks the process to end for as long as the event loop is there, also while it is ending."""

    def __init__(self) -> None:
        self._times = 0
        self._told: Callable[[], None] = lambda: None
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.add_signal_handler(number, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def tell(self, told: Callable[[], None]) -> None:
        """Have ``told`` called each time the process is asked to end, and now for each time that it was."""
        self._told = told
        for _ in range(self._times):
            told()

    def _hear(self) -> None:
        self._times += 1
        self._told()
