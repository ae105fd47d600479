"""A test's verdict: all that is asked of it holds, with weights, thresholds and sets; and it is told where it is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.metrics.verdicts import Verdict
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.scoring import Item, Scorer
from llmops_tui.evaluation.runner.summary import summarise
from llmops_tui.evaluation.suite import check_suite

SCORES = {
    "exact": Score(1.0),
    "rouge": Score(0.5, "half"),
    "wrong": Score(0.0, "not there"),
    "none": Score(None, "no number"),
}


def verdict(*parts: dict[str, Any], **settings: Any) -> Score:
    metric = make_metric({"type": "verdict", "parts": list(parts), **settings})
    assert isinstance(metric, Verdict)
    return metric.of_scores(SCORES, {"exact", "wrong"})


@pytest.mark.parametrize(("parts", "settings", "value", "score"), [
    ([{"metric": "exact"}], {}, 1, 1.0), ([{"metric": "exact"}, {"metric": "wrong"}], {}, 0, 0.5),
    ([{"metric": "exact", "weight": 3}, {"metric": "wrong"}], {"threshold": 0.75}, 1, 0.75),
    ([{"metric": "rouge"}], {}, 0, 0.5), ([{"metric": "rouge", "at_least": 0.5}], {}, 1, 0.5),
    ([{"metric": "rouge", "at_most": 0.4}], {}, 0, 0.5), ([{"metric": "exact"}, {"metric": "wrong", "weight": 0}], {}, 1, 1.0),
    ([{"parts": [{"metric": "exact"}, {"metric": "wrong"}], "threshold": 0.5}], {}, 1, 0.5),
    ([{"metric": "none", "weight": 0}], {}, None, None),
])  # fmt: skip
def test_parts_weights_and_thresholds(parts: Any, settings: Any, value: float | None, score: float | None) -> None:
    found = verdict(*parts, **settings)
    assert (found.value, found.detail.get("score")) == (value, score)


def test_the_reason_names_what_does_not_hold() -> None:
    assert verdict({"metric": "exact"}, {"metric": "wrong"}).reason == "wrong: not there"
    assert verdict({"metric": "none"}).reason == "none: no number"
    assert "below 0.9" in verdict({"metric": "rouge"}, threshold=0.9).reason


def test_without_parts_all_that_is_right_or_wrong_holds() -> None:
    metric = make_metric("verdict")
    assert isinstance(metric, Verdict)
    assert metric.of_scores(SCORES, {"exact"}).value == 1
    assert metric.of_scores(SCORES, {"exact", "wrong"}).value == 0


async def test_verdicts_are_scored_after_what_they_are_made_of_and_are_a_figure() -> None:
    entries = ["verdict", {"type": "contains", "value": "a"}, {"type": "assertion", "check": "word-count", "value": 1}]
    metrics = [make_metric(entry) for entry in entries]
    items = [
        Item(Case(i, f"k{i}", group=f"k{i}", origin=f"k{i}"), Answer(text), metrics)
        for i, text in enumerate(("a", "a b", "b"))
    ]
    scorer = Scorer()
    try:
        scores = await scorer.score(items, None)  # type: ignore[arg-type]  nothing in these is asked of a model
    finally:
        scorer.close()
    assert [one["pass"].value for one in scores] == [1, 0, 0]
    results = [Result(item.case, 0, item.answer, said) for item, said in zip(items, scores, strict=True)]
    figure = summarise(results, metrics, 1.0)["metrics"]["pass"]
    assert (figure["mean"], figure["n"], figure["binary"]) == (pytest.approx(1 / 3), 3, True)
    # One of the three holds both, the others one of two.
    assert figure["facts"]["weighted"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("metrics", "says"), [
    (["exact", {"type": "verdict", "parts": [{"metric": "exakt"}]}], "Did you mean exact?"),
    ([{"type": "verdict", "parts": [{"metric": "c"}]}, {"type": "combined", "name": "c", "parts": [{"metric": "pass"}]}], "'c' is no metric"),
    ([{"type": "verdict", "parts": [{"metric": "exact", "parts": [{"metric": "exact"}]}]}], "either a metric or a set"),
    ([{"type": "verdict", "parts": [{"metric": "exact", "threshold": 1}]}], "threshold is for sets"),
    ([{"type": "assertion", "check": "bleu", "value": "a"}], "'bleu' is none"),
])  # fmt: skip
def test_a_verdict_of_nothing_is_refused(metrics: Any, says: str) -> None:
    with pytest.raises(InputRefusedError) as refused:
        check_suite({"cases": [{"x": "a"}], "metrics": metrics}, "s").all_metrics()
    assert says in f"{refused.value.message} {refused.value.hint}"
