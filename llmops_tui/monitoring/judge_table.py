"""Judges of answers in use, as the workspace has them by name: which model grades by which rubric, and on which scale."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.model_graded import Judge
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.workspace.json_columns import row_damaged

if TYPE_CHECKING:
    from llmops_tui.workspace.event_log import EventLog

_TABLE = (
    "CREATE TABLE IF NOT EXISTS quality_judges (name TEXT PRIMARY KEY, metric TEXT NOT NULL, kept_at REAL NOT NULL)"
)
_REMOVED = "removed"


@dataclass(frozen=True)
class Judges:
    """Judges by name; and of those that cannot be read, what is wrong with each."""

    found: Mapping[str, Judge]
    damaged: Mapping[str, LlmopsError]


class JudgeTable:
    """The rows of judges, one a name. That of a removed one stays: it says what labels of its name are of."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def read(self, *, removed: bool = False) -> Judges:
        """Those that are kept, with those that were ``removed`` where that is asked for."""
        connection = self._event_log.connection()
        found, damaged = dict[str, Judge](), dict[str, LlmopsError]()
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'quality_judges'").fetchone():
            for name, body in connection.execute("SELECT name, metric FROM quality_judges ORDER BY name"):
                try:
                    asked = dict(json.loads(body))
                    gone = asked.pop(_REMOVED, False)
                    made = made_judge(name, asked)
                except (InputRefusedError, ValueError, TypeError, RecursionError) as error:
                    damaged[name] = row_damaged("quality_judges", "metric", name, str(error))
                    continue
                if removed or not gone:
                    found[name] = made
        return Judges(found, damaged)

    def write(self, name: str, judge: Judge, *, removed: bool = False) -> None:
        """Put a judge in the place of the one of this name."""
        asked = {"model": judge.model, "rubric": judge.rubric, "low": judge.low, "high": judge.high}
        body = json.dumps({**asked, **({_REMOVED: True} if removed else {})}, sort_keys=True)
        with self._event_log.transaction() as connection:
            connection.execute(_TABLE)
            connection.execute("INSERT OR REPLACE INTO quality_judges VALUES (?, ?, ?)", (name, body, time.time()))


def made_judge(name: str, asked: Mapping[str, object]) -> Judge:
    """The metric of what a judge is asked.

    Raises:
        InputRefusedError: ``bad_metric``: the rubric or the scale is none.
    """
    metric = make_metric({"type": "judge", "name": name, **asked}, f"judge {name}")
    assert isinstance(metric, Judge)
    return metric
