"""Summaries of runs that another version wrote, with fields missing, are drawn as far as they go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.kept_summary import interval_told, whole
from llmops_tui.evaluation.run import Asked, EvalRun, EvalState
from llmops_tui.workspace.json_columns import kept
from screens.evaluation import rendering, views
from screens.evaluation.model import Opened

FIGURE = {
    "mean": 0.5, "low": 0.4, "high": 0.6, "n": 10, "unusable": 1, "method": "wilson", "better": 1, "unit": "", "type": "x",
    "binary": True,
}  # fmt: skip
PAIRED = {"mean": 0.5, "difference": 0.1, "low": 0.01, "high": 0.2, "n": 10}
CLASS = {"class": "a", "n": 3, "precision": 1.0, "recall": 1.0, "f1": 1.0}
FULL: dict[str, Any] = {
    "cases": 10, "of": 12, "answers": 20, "errors": 1, "cached": 2, "stopped_early": True,
    "metrics": {
        "classes": {**FIGURE, "facts": {"classes": [CLASS], "confusion": [["a", "a", 3]], "averages": {"macro": 1.0}}},
        "judged": {**FIGURE, "facts": {"judge": "j", "kappa": 0.5, "human_labels": 5}},
        "published": {**FIGURE, "facts": {"signature": "s"}},
        "latency": {**FIGURE, "facts": {"p50": 1.0, "p95": 2.0, "p99": 3.0}},
    },
    "variations": [{"variation": "upper", "n": 10, "same_answer": 0.5, "metrics": {"m": PAIRED}}],
    "gaps": [{"first": "a", "second": "b", "n": 10, "metrics": {"m": PAIRED}}],
    "agreement": {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 10},
    "costs": {"prompt_tokens": 1, "completion_tokens": 2, "seconds": 3.0},
    "overlap": {
        "ancestors": [{"dataset": "d", "rows": 3, "exact": 3, "ngram": 0, "near": 0}], "rows": 3, "cases": ["c"], "clean": 7,
        "metrics": {"m": FIGURE},
    },
}  # fmt: skip
CALIBRATED = {
    **FULL,
    "metrics": {"sure": {**FIGURE, "facts": {"brier": 0.1, "bins": [{"n": 3, "confidence": 0.05, "right": 0.5}]}}},
}


def without_one(value: Any) -> Iterator[Any]:
    """The value without one of its fields, wherever that is; each in its turn."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {n: v for n, v in value.items() if n != name}
            yield from ({**value, name: less} for less in without_one(inner))
    elif isinstance(value, list):
        yield from ([*value[:at], less, *value[at + 1 :]] for at, one in enumerate(value) for less in without_one(one))


def drawn(summary: dict[str, Any]) -> str:
    """What the screen shows of a run with that summary, as the catalog has it."""
    read = whole(kept("evaluation_runs", "summary", "r", json.dumps(summary)))
    run = EvalRun("r", "s", 1, "j", Asked("p", "m"), {}, read, "", 0.0, 1.0, Path("/none"))
    opened = Opened(run, None, "judged", [])
    state = EvalState(run, None, "done")
    line = " ".join(column.part(state)[0] for column in rendering.RUN_COLUMNS)
    parts = [
        rendering.figures(opened, utf8=True),
        views.classes(opened, utf8=True),
        views.variations(opened),
    ]
    return "\n".join([line, *(part.plain for part in parts)])


def test_a_figure_of_too_few_says_so() -> None:
    few = {**FIGURE, "too_few": True, "needed": "about 35 groups of such sizes"}
    assert "too few to say" not in drawn(FULL)
    enough = "too few to say: about 35 groups of such sizes are needed"
    assert enough in drawn({**FULL, "metrics": {"m": few}})
    # An earlier version did not say how many would be enough.
    told = whole({**FULL, "metrics": {"m": few, "n": FIGURE, "k": {**FIGURE, "too_few": True}}})
    assert told is not None
    method = told["metrics"]["n"]["method"]
    assert [interval_told(figure) for figure in told["metrics"].values()] == [
        f"{method}, {enough}", method, f"{method}, too few to say",
    ]  # fmt: skip


def test_a_summary_is_drawn_whatever_another_version_left_out() -> None:
    full = drawn(FULL) + drawn(CALIBRATED)
    for told in ("12", "Brier", "κ 0.50", "upper", "3 cases are also in", "3 tokens"):
        assert told in full
    less = [*without_one(FULL), *without_one(CALIBRATED)]
    refused = set()
    for one in less:
        try:
            drawn(one)
        except LlmopsError as error:
            refused.add(error.code)
    # What no version leaves out is told as a damaged row; all else is drawn.
    assert refused == {"row_damaged"}
    assert len(less) > 100


def test_a_run_without_a_summary_has_none() -> None:
    assert whole(None) is None
    assert dict(whole(FULL) or {})["of"] == 12
