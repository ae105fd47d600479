"""What people say of single answers by a check; of answers that were drawn by chance alone, and without any content."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmops_tui.workspace.event_log import EventLog

AHEAD = 200
"""Of the answers in the order of chance, how many beyond the last label may be labelled: no choice among many."""
_TABLE = (
    "CREATE TABLE IF NOT EXISTS quality_labels (trace TEXT NOT NULL, check_name TEXT NOT NULL, label REAL NOT NULL, "
    "at REAL NOT NULL, PRIMARY KEY (trace, check_name))"
)


class LabelStore:
    """The labels of a workspace, by trace and check: 1 where the answer is what the check looks for."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def give(self, trace: str, check: str, label: float, stream: Sequence[str]) -> None:
        """Keep a label of a trace that was drawn; the newest counts.

        Raises:
            InputRefusedError: ``not_drawn``: it is none of the next in the order of chance, so that labels would be chosen.
        """
        known = self.of(check)
        last = max((place for place, one in enumerate(stream) if one in known), default=-1)
        if trace not in stream[: last + 1 + AHEAD]:
            told = f"{trace} is none of those that were drawn by chance: labels that somebody chose would mislead"
            raise InputRefusedError("not_drawn", told, "llmops quality next lists those to label.")
        with self._event_log.transaction() as connection:
            connection.execute(_TABLE)
            connection.execute(
                "INSERT OR REPLACE INTO quality_labels VALUES (?, ?, ?, ?)", (trace, check, label, time.time())
            )

    def of(self, check: str) -> dict[str, float]:
        """The labels of a check by trace."""
        connection = self._event_log.connection()
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'quality_labels'").fetchone()
        if not there:
            return {}
        rows = connection.execute("SELECT trace, label FROM quality_labels WHERE check_name = ?", (check,))
        return {str(trace): float(label) for trace, label in rows}
