"""Writes the recorder's samples; what cannot be written now is retried and blocks nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from llmops_tui.errors import LlmopsError
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.changes import Change
from llmops_tui.monitoring.history import History


class HistoryWriter:
    """Writes to a history for its recorder. ``trouble`` says what cannot be kept or read now; empty where all is well."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._troubles: dict[str, str] = {}
        self._alerts: list[Alert] = []
        self._changes: list[Change] = []
        self._known: dict[str, str] = {}

    @property
    def trouble(self) -> str:
        """What cannot be kept or read, in words."""
        return next(iter(self._troubles.values()), "")

    @contextlib.contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Do something with the history that the look goes on without; that it failed is told until it works again."""
        try:
            yield
        except LlmopsError as error:
            self._troubles[what] = error.told
        else:
            self._troubles.pop(what, None)

    def measured(self, at: float, values: dict[str, float | None]) -> None:
        """Take in the values of a moment; they are written with :meth:`flush`."""
        with self.trying("values"):
            self._history.add(at, values)

    def told(self, alerts: Iterable[Alert]) -> None:
        """Keep alerts that were raised, grew, or are over."""
        waiting = len(self._alerts)
        for alert in alerts:
            if not any(alert is kept for kept in self._alerts):
                self._alerts.append(alert)
        if len(self._alerts) > waiting:
            self._keep_alerts()

    def changed(self, changes: Iterable[Change], known: Mapping[str, str]) -> None:
        """Keep what was changed, and how things are now."""
        fresh = list(changes)
        self._changes += fresh
        self._known |= known
        if fresh or known:
            self._keep_changes()

    def flush(self) -> None:
        """Write all that is not written yet."""
        self._keep_alerts()
        self._keep_changes()
        with self.trying("values"):
            self._history.flush()

    def _keep_alerts(self) -> None:
        with self.trying("alerts"):
            while self._alerts:
                self._history.keep_alert(self._alerts[0])
                del self._alerts[0]

    def _keep_changes(self) -> None:
        with self.trying("changes"):
            if self._changes or self._known:
                self._history.keep_changes(self._changes, self._known)
                self._changes, self._known = [], {}
