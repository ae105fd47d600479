"""An answer that takes all time, memory or depth of a metric has no score; all others have, and nothing goes to the network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.registry import METRICS, entry_of, make_metric
from llmops_tui.evaluation.metrics.structured import unresolved
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.scoring import Item, Scorer
from llmops_tui.evaluation.runner.scoring_worker import score_or_reason
from llmops_tui.evaluation.runner.summary import RunningMeans, case_scores
from llmops_tui.evaluation.statistics.intervals import mean_interval
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.workspace.layout import Workspace

CATASTROPHIC = {"type": "regex", "pattern": "^(a+)+$"}
SLOW = "a" * 40 + "!"


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    # As short as a busy machine still imports within.
    made = Scorer(seconds=3.0)
    yield made
    made.close()


def scored(scorer: Scorer, entries: list[Any], answers: list[str], expected: Any = "yes") -> list[dict[str, Score]]:
    metrics = [make_metric(entry) for entry in entries]
    items = [Item(Case(i, f"k{i}", expected=expected), Answer(text=text), metrics) for i, text in enumerate(answers)]
    return asyncio.run(scorer.score(items, cast("Any", None)))


@pytest.mark.slow
def test_a_pattern_that_never_ends_leaves_its_answer_without_a_score_and_no_other(scorer: Scorer) -> None:
    found = scored(scorer, ["exact", CATASTROPHIC], ["yes", SLOW, "aaa"])
    assert [s["exact"].value for s in found] == [1.0, 0.0, 0.0]
    assert [s["regex"].value for s in found] == [0.0, None, 1.0]
    assert "it cannot be scored: it took longer than 3 s of CPU time" in found[1]["regex"].reason


@pytest.mark.slow
def test_a_metric_that_is_stopped_again_and_again_is_given_up(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmops_tui.evaluation.runner.scoring._GIVEN_UP", 1)
    found = scored(scorer, ["exact", CATASTROPHIC | {"name": "again"}], [SLOW, SLOW, "aaa"])
    assert "took longer" in found[0]["again"].reason
    assert {s["again"].value for s in found} == {None}
    assert "is not tried again" in found[2]["again"].reason
    assert [s["exact"].value for s in found] == [0.0, 0.0, 0.0]


def test_depth_a_reference_that_leads_nowhere_and_a_failing_metric_are_told(scorer: Scorer) -> None:
    lost = {"type": "json-schema", "json_schema": {"$ref": "#/nowhere"}}
    deep, plain = scored(scorer, ["json-valid", lost], ["[" * 60_000, "{}"])
    assert deep["json-valid"].value == 0
    assert "nested deeper" in deep["json-valid"].reason
    assert plain["json-valid"].value == 1
    assert plain["json-schema"].value is None
    assert "it cannot be scored" in plain["json-schema"].reason


def test_scores_in_the_process_are_those_of_the_metric(scorer: Scorer) -> None:
    entries: list[Any] = [
        "exact", "normalised", "contains", "numeric", "token-f1", "edit-similarity", "rouge", "bleu", "chrf", "json-valid",
        "classification", "length", "refusal", "toxicity", "pii-leak", "canary", "memorised", "tokens",
    ]  # fmt: skip
    for expected, text in (("It is 5 o'clock", "It is 6 o'clock"), ("", ""), (["a", "b"], "b"), ({"a": 1}, '{"a": 1}')):
        (found,) = scored(scorer, entries, [text], expected)
        case, answer = Case(0, "k0", expected=expected), Answer(text=text)
        for entry in entries:
            metric = make_metric(entry)
            own = metric.score(case, answer)
            there = found[metric.called]
            assert there.value == pytest.approx(own.value), (entry, there)
            assert there.reason == own.reason


def test_every_metric_is_made_again_from_its_entry() -> None:
    needed: dict[str, dict[str, Any]] = {
        "regex": {"pattern": "a"}, "json-schema": {"json_schema": {}}, "judge": {"model": "m", "rubric": "r"},
        "embedding": {"model": "m"}, "grounded-judge": {"model": "m"}, "context-recall-judge": {"model": "m"}, "python": {"entry": "e"},
        "assertion": {"check": "contains", "value": "a"}, "graded-assertion": {"check": "bleu", "value": "a"},
        "combined": {"name": "c", "parts": [{"metric": "exact"}]}, "thinking": {"metric": "exact"},
        "attack": {"goal": "comply"}, "external": {"harness": "h", "task": "t", "metric": "m"},
    }  # fmt: skip
    for name in METRICS:
        metric = make_metric({"type": name, **needed.get(name, {})})
        assert make_metric(entry_of(metric)) == metric


def test_a_reference_never_goes_to_the_network(monkeypatch: pytest.MonkeyPatch, sample: Workspace) -> None:
    def asked(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    schema = {"properties": {"a": {"$ref": "https://far.example/schema.json"}}}
    metric = make_metric({"type": "json-schema", "json_schema": schema})
    with pytest.raises(Exception, match=r"far\.example") as refused:
        metric.score(Case(0, "k"), Answer(text='{"a": 1}'))
    assert not isinstance(refused.value, LlmopsError)
    body = {"cases": [{"x": 1}], "metrics": [{"type": "json-schema", "json_schema": schema}]}
    with pytest.raises(InputRefusedError, match=r"refers to 'https://far\.example/schema\.json', which is not in it"):
        EvaluationStore(sample).save_suite(check_suite(body, "s"))


@pytest.mark.slow
def test_references_within_a_schema_and_to_the_published_drafts_are_found() -> None:
    assert unresolved({"$defs": {"a": {"type": "string"}}, "items": {"$ref": "#/$defs/a"}}) == ""
    assert unresolved({"$ref": "https://json-schema.org/draft/2020-12/schema"}) == ""
    assert unresolved({"$id": "https://x.example/root", "$defs": {"b": {"$id": "b"}}, "items": {"$ref": "b"}}) == ""
    assert unresolved({"items": {"not": {"$ref": "#/$defs/gone"}}}) == "#/$defs/gone"
    # A text that is a value is no reference.
    assert unresolved({"const": {"$ref": "#/gone"}}) == ""


async def test_what_comes_while_a_process_works_is_its_next_question_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(self: Scorer, process: Any, units: Any) -> None:
        del self, process
        asked.append(len(units))
        for unit in units:
            if unit.item.answer.text == "ends" and len(asked) == 2:
                raise RuntimeError
            unit.scores.update({m.called: Score(float(len(unit.item.answer.text))) for m in unit.metrics})

    monkeypatch.setattr(Scorer, "_score_units", counted)
    metric = make_metric({"type": "regex", "pattern": "a"})
    scorer = Scorer()
    texts = ["a", "bb", "ends", "dddd", "eeeee"]
    asking = [
        scorer.score([Item(Case(i, f"k{i}"), Answer(text=t), [metric])], cast("Any", None)) for i, t in enumerate(texts)
    ]
    found = await asyncio.gather(*asking, return_exceptions=True)
    # The first alone; the others together, of which the one that took them along has the failure; then the rest.
    assert asked == [1, 4, 3]
    assert isinstance(found[1], RuntimeError)
    values = [one[0]["regex"].value for one in found if not isinstance(one, BaseException)]
    assert values == [1.0, 4.0, 4.0, 5.0]


def test_short_texts_are_scored_without_a_process() -> None:
    case = Case(0, "k", expected="yes")
    for name in ("edit-similarity", "rouge", "numeric", "json-valid"):
        metric = make_metric(name)
        assert metric.takes_little(case, Answer(text="no"))
        assert not metric.takes_little(case, Answer(text="n" * 20_000))
        assert not metric.takes_little(Case(0, "k", expected=["n" * 20_000, "no"]), Answer(text="no"))
    # As deep as a short text can be.
    deep = score_or_reason(make_metric("json-valid"), case, Answer(text="[" * 19_000))
    assert deep.value in {0.0, None}
    assert not make_metric({"type": "regex", "pattern": "a"}).takes_little(case, Answer(text="no"))


def test_running_means_are_those_of_all_results_with_repeats_as_one_case() -> None:
    scores = [(0, 0, 1.0), (1, 0, 0.0), (0, 1, 0.0), (2, 0, None), (1, 1, None), (3, 0, 0.25)]
    results = [Result(Case(i, f"k{i}"), repeat, Answer(), {"m": Score(value)}) for i, repeat, value in scores]
    means = RunningMeans(["m", "other"])
    for result in results:
        means.add(result)
    of_cases = [value for _, value in case_scores(results, "m") if value is not None]
    expected = mean_interval(np.array(of_cases))
    assert of_cases == [0.5, 0.0, 0.25]
    assert (means.mean("m"), means.mean("other")) == (expected, None)
    assert means.told() == [f"m 0.25 [{expected.low:.2g}, {expected.high:.2g}]"]


def test_running_figures_tell_errors_and_lopsided_intervals() -> None:
    means = RunningMeans(["m"])
    means.add(Result(Case(0, "a"), 0, Answer(text="yes"), {"m": Score(1.0)}))
    for index in (1, 2):
        means.add(
            Result(Case(index, str(index)), 0, Answer(error="template_failed: division by zero"), {"m": Score(None)})
        )
    assert means.told() == ["2 errors", "m 1 [0.21, 1]"]
