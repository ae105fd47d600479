"""Judges as they are kept by name, in the table of answers in use: read one by one, so that a damaged one stops no other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.model_graded import Judge
from llmops_tui.evaluation.metrics.registry import make_metric

if TYPE_CHECKING:
    from llmops_tui.workspace.event_log import EventLog

TABLE = "CREATE TABLE IF NOT EXISTS quality_judges (name TEXT PRIMARY KEY, metric TEXT NOT NULL, kept_at REAL NOT NULL)"


def judge_of(name: str, fields: Mapping[str, object]) -> Judge:
    """A judge of this name with its model, its rubric and its scale.

    Raises:
        InputRefusedError: ``bad_metric``.
    """
    metric = make_metric({**fields, "type": "judge", "name": name}, f"judge {name}")
    assert isinstance(metric, Judge)
    return metric


def read_judges(event_log: EventLog) -> tuple[dict[str, Judge], dict[str, LlmopsError]]:
    """The judges of a workspace in the order of their names, and why others cannot be read (``row_damaged``)."""
    connection = event_log.connection()
    found: dict[str, Judge] = {}
    damaged: dict[str, LlmopsError] = {}
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'quality_judges'").fetchone():
        return found, damaged
    for name, body in connection.execute("SELECT name, metric FROM quality_judges ORDER BY name"):
        try:
            found[name] = judge_of(name, json.loads(body))
        except (InputRefusedError, ValueError, TypeError, RecursionError) as error:
            told = f"the judge {str(name)[:60]!r} cannot be read: {str(error)[:300]}"
            hint = f"Keep it again: llmops quality judge {name} --model M --rubric R. Or restore a backup."
            damaged[name] = LlmopsError("row_damaged", told, hint)
    return found, damaged
