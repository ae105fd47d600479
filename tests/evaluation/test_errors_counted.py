"""Requests that ended in an error are counted as errors, and not as answers."""

from __future__ import annotations

from dataclasses import replace

from llmops_tui.evaluation.costs_told import card_text
from llmops_tui.evaluation.kept_summary import answered, errors_told, whole
from tests.evaluation.conftest import made_run


def test_of_three_requests_with_two_errors_one_was_answered() -> None:
    raw = {"cases": 3, "answers": 3, "errors": 2, "cached": 0, "metrics": {}, "variations": [],
           "costs": {"prompt_tokens": 8, "completion_tokens": 2, "seconds": 1.0}}  # fmt: skip
    summary = whole(raw)
    assert summary is not None
    assert (answered(summary), errors_told(summary)) == (1, "2 errors")
    lines = card_text(replace(made_run(), summary=summary)).splitlines()
    assert lines[2].endswith("1 answer, 2 errors")
    assert "10.0 an answer" in lines[3]
