"""Ending the queries of work that nobody waits for any more, from another thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    import duckdb

Result = TypeVar("Result")

# DuckDB forgets an interruption that comes between two queries, so it is repeated.
_AGAIN_SECONDS = 0.05


class Interruption:
    """Stops one piece of work at its queries: those that run now, and those that it would begin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[duckdb.DuckDBPyConnection] = []
        self._begun = False
        self._stopped = False
        self._ended = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether nobody waits for the work."""
        return self._stopped

    def around(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """The work, to be called once, in whichever thread.

        Calling it raises InputRefusedError ``cancelled`` where it was stopped before it began.
        """

        def run() -> Result:
            with self._lock:
                if self._stopped:
                    raise cancelled()
                self._begun = True
            token = _CURRENT.set(self)
            try:
                return work()
            finally:
                _CURRENT.reset(token)
                self._ended.set()

        return run

    def stop(self) -> None:
        """Interrupt the queries of the work until it ends; work that has not begun never does."""
        with self._lock:
            first, self._stopped = not self._stopped, True
        if first and self._begun and not self._ended.is_set():
            threading.Thread(target=self._interrupt, name="interruption", daemon=True).start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for work that was stopped; whether it has ended."""
        return not self._begun or self._ended.wait(seconds)

    def _interrupt(self) -> None:
        while True:
            with self._lock:
                for connection in self._connections:
                    connection.interrupt()
            if self._ended.wait(_AGAIN_SECONDS):
                return

    @contextlib.contextmanager
    def reaching(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Interrupt this connection as well; it has to stay open inside."""
        with self._lock:
            if self._stopped:
                raise cancelled()
            self._connections.append(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.remove(connection)


_CURRENT: ContextVar[Interruption | None] = ContextVar("interruption", default=None)


def current() -> Interruption | None:
    """What stops the work that is done here."""
    return _CURRENT.get()


def cancelled() -> InputRefusedError:
    """The refusal of work that was stopped."""
    return InputRefusedError("cancelled", "the query was cancelled", "Ask again where you still want to know.")
