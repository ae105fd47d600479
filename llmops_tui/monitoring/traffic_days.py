"""Checks of traffic day by day, and when their evidence together is an alarm; made by :mod:`llmops_tui.drift`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from llmops_tui.decisions.change_alarm import USUAL_THRESHOLD, e_value, next_statistic
from llmops_tui.foreign_text import JsonObject
from llmops_tui.workspace.event_log import EventLog

_TABLE = (
    "CREATE TABLE IF NOT EXISTS drift_days (monitor TEXT NOT NULL, day TEXT NOT NULL, p REAL, facts TEXT NOT NULL, "
    "at REAL NOT NULL, PRIMARY KEY (monitor, day))"
)


@dataclass(frozen=True)
class Day:
    """A day that was checked; ``p`` is None where there was too little to say. ``statistic`` is the evidence up to it."""

    day: str
    p: float | None
    statistic: float
    facts: JsonObject

    @property
    def alarm(self) -> bool:
        """Whether the evidence is an alarm."""
        return self.statistic >= USUAL_THRESHOLD


class TrafficDays:
    """The checks of a workspace by monitor, such as a model's name; facts hold figures and no content."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def record(self, monitor: str, day: str, p: float | None, facts: JsonObject) -> None:
        """Keep a day's check; a day that is checked again has the newer one."""
        with self._event_log.transaction() as connection:
            connection.execute(_TABLE)
            connection.execute(
                "INSERT OR REPLACE INTO drift_days VALUES (?, ?, ?, ?, ?)",
                (monitor, day, p, json.dumps(facts), time.time()),
            )

    def course(self, monitor: str) -> list[Day]:
        """The days of a monitor, the oldest first. A day without a p leaves the evidence as it was."""
        statistic, found = 0.0, []
        for day, told, facts in self._rows("day, p, facts FROM drift_days WHERE monitor = ? ORDER BY day", (monitor,)):
            p = None if told is None else float(str(told))
            statistic = statistic if p is None else next_statistic(statistic, e_value(p))
            found.append(Day(str(day), p, statistic, json.loads(str(facts))))
        return found

    def evidence(self) -> dict[str, float]:
        """The evidence up to the newest day, by monitor. Asked each second: in one query, without the facts."""
        found: dict[str, float] = {}
        for monitor, p in self._rows("monitor, p FROM drift_days ORDER BY monitor, day", ()):
            before = found.get(str(monitor), 0.0)
            found[str(monitor)] = before if p is None else next_statistic(before, e_value(float(str(p))))
        return found

    def monitors(self) -> list[str]:
        """What is checked, by name."""
        return [str(row[0]) for row in self._rows("DISTINCT monitor FROM drift_days ORDER BY monitor", ())]

    def begin_anew(self, monitor: str) -> int:
        """Forget the days of a monitor, as after a change that was looked at; returns how many there were."""
        with self._event_log.transaction() as connection:
            connection.execute(_TABLE)
            return int(connection.execute("DELETE FROM drift_days WHERE monitor = ?", (monitor,)).rowcount)

    def _rows(self, what: str, values: tuple[str, ...]) -> list[tuple[object, ...]]:
        connection = self._event_log.connection()
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'drift_days'").fetchone()
        return list(connection.execute(f"SELECT {what}", values)) if there else []
