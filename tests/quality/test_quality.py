"""Quality in use: what is drawn, what cheap checks find, and how labels correct them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from llmops_tui.decisions.prediction_powered import Stratum, estimate
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.quality.checks import Exchange, checks_of, refuse_unknown
from llmops_tui.quality.counterfactual import groups_of, keep_replay
from llmops_tui.quality.estimates import look, to_label
from llmops_tui.quality.labels import LabelStore
from llmops_tui.quality.sampling import draw, shares
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from tests.fakes import start_no_processes

NOW = 1_795_000_000.0
RUNS = 1000


def exchange(output: str, question: str = "When are you open?", **more: Any) -> Exchange:
    return Exchange("run_1", question, ({"role": "user", "content": question},), output, more.get("variables", {}),
                    more.get("parameters", {}), more.get("passages", ()))  # fmt: skip


SCHEMA = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "required": ["a"]}}}


@pytest.mark.parametrize(
    ("check", "given", "value"),
    [
        ("refused", exchange("I'm sorry, but I can't help with that."), 1.0),
        ("refused", exchange("From 9 to 18."), 0.0),
        ("refused", exchange("I'm sorry, but I can't help with that.", "You are a stupid fucking asshole"), None),
        ("complied", exchange("From 9 to 18."), None),
        ("complied", exchange("Sure, here it is.", "You are a stupid fucking asshole"), 1.0),
        ("toxic", exchange("You are a stupid fucking asshole."), 1.0),
        ("toxic", exchange("You are welcome, and we are open."), 0.0),
        ("personal", exchange("Write to ann.miller@example.org."), 1.0),
        ("personal", exchange("It is ann.miller@example.org.", "Is it ann.miller@example.org?"), 0.0),
        ("schema", exchange("no JSON"), None),
        ("schema", exchange("no JSON", parameters={"response_format": {"type": "json_object"}}), 1.0),
        ("schema", exchange('{"a": 1}', parameters={"response_format": SCHEMA}), 0.0),
        ("schema", exchange('{"b": 1}', parameters={"response_format": SCHEMA}), 1.0),
        ("ungrounded", exchange("The shop opens at 9."), None),
        ("ungrounded", exchange("The shop opens at 9.", passages=("The shop opens at 9.",)), 0.0),
        # Of what was retrieved something is gone, and that may have said so.
        ("ungrounded", exchange("The shop opens at 7.", passages=None, variables={"context": "It opens at 9."}), None),
        ("ungrounded", exchange("The shop opens at 9.", variables={"context": "The shop opens at 9."}), 0.0),
        ("ungrounded", exchange("The shop opens at 7.", variables={"context": "The shop opens at 9."}), 1.0),
    ],
)
def test_a_check_says_yes_no_or_that_it_does_not_apply(check: str, given: Exchange, value: float | None) -> None:
    assert checks_of([check], None)[0].judge(given) == value


def test_any_metric_of_answers_is_a_check_and_others_are_refused() -> None:
    (found,) = checks_of(None, [json.dumps({"type": "contains", "value": "open"})])
    assert (found.judge(exchange("We are open.")), found.judge(exchange("No."))) == (0.0, 1.0)
    assert len(checks_of(None, None)) == 6
    for names, metrics, code in (
        (["nothing"], None, "no_check"),
        (None, ["exact"], "bad_metric"),
        (None, ["length"], "bad_metric"),
        (None, ['{"type": "judge", "model": "m", "question": "Is it kind?"}'], "bad_metric"),
        (None, ["{no"], "bad_metric"),
    ):
        with pytest.raises(InputRefusedError) as refused:
            checks_of(names, metrics)
        assert refused.value.code == code


def fill(event_log: EventLog, count: int, rare: int = 0) -> None:
    event_log.append_many(
        [
            (
                "request",
                f"run_{n:06d}",
                {
                    "started_at": NOW + n, "model": "m", "prompt": "rare" if n < rare else None, "finish_reason": "stop",
                    "messages": [{"role": "user", "content": f"question {n}"}], "parameters": {},
                    "output": "I'm sorry, but I can't help with that." if n % 4 == 0 else "From 9 to 18.",
                },
            )
            for n in range(count)
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "most", "drawn"),
    [
        ({"a": 900, "b": 90, "c": 10}, 100, {"a": 70, "b": 20, "c": 10}),
        ({"a": 900, "b": 90, "c": 10}, 10, {"a": 4, "b": 3, "c": 3}),
        ({"a": 3, "b": 4}, 100, {"a": 3, "b": 4}),
        ({"a": 1, "b": 1, "c": 1000}, 50, {"a": 1, "b": 1, "c": 48}),
        ({}, 10, {}),
    ],
)
def test_no_more_are_drawn_than_was_said(sizes: dict[str, int], most: int, drawn: dict[str, int]) -> None:
    assert shares(sizes, most) == drawn
    assert sum(shares(sizes, most).values()) <= most


def test_with_more_strata_than_draws_the_smallest_are_drawn_as_one(catalog: Catalog, event_log: EventLog) -> None:
    fill(event_log, 400, rare=40)
    ingest(catalog, event_log)
    for most in (1, 2, 3):
        (one,) = draw(catalog, TraceFilter(), NOW, NOW + 1000, most).strata
        assert (one.size, one.traces) == (400, draw(catalog, TraceFilter(), NOW, NOW + 1000, 100).stream[:most])
    few = draw(catalog, TraceFilter(), NOW, NOW + 1000, 4)
    assert {one.stratum: (one.size, len(one.traces)) for one in few.strata} == {"m": (360, 2), "m rare": (40, 2)}


def test_what_is_drawn_is_by_chance_and_counts_by_what_it_stands_for(catalog: Catalog, event_log: EventLog) -> None:
    fill(event_log, 400, rare=40)
    ingest(catalog, event_log)
    sample = draw(catalog, TraceFilter(), NOW, NOW + 1000, 100)
    assert {one.stratum: (one.size, len(one.traces)) for one in sample.strata} == {"m": (360, 80), "m rare": (40, 20)}
    assert (sample.size, len(sample.stream), sample.without_content) == (400, 400, 0)
    assert draw(catalog, TraceFilter(), NOW, NOW + 1000, 100) == sample
    store = LabelStore(event_log)
    (found,) = look(catalog, sample, checks_of(["refused"], None), store).found
    assert found.estimate.method == "check"
    assert found.estimate.low <= 0.25 <= found.estimate.high
    assert (found.applies, found.looked, found.more) == (100, 100, None)
    # Labels of what somebody chose are refused; those that were drawn correct the check.
    with pytest.raises(InputRefusedError) as refused:
        store.give(sample.stream[-1], "refused", 1.0, sample.stream)
    assert refused.value.code == "not_drawn"
    asked = to_label(sample, store, "refused", 60)
    assert asked == list(sample.stream[:60])
    for trace in asked:
        # The check is wrong in half of what it finds.
        store.give(trace, "refused", float(int(trace[-6:]) % 8 == 0), sample.stream)
    assert to_label(sample, store, "refused", 1) == [sample.stream[60]]
    (corrected,) = look(catalog, sample, checks_of(["refused"], None), store).found
    assert corrected.estimate.labels >= 55
    assert corrected.estimate.low <= 0.125 <= corrected.estimate.high
    # Nothing is judged beyond the time that it may take.
    (none,) = look(catalog, sample, checks_of(["refused"], None), store, seconds=-1.0).found
    assert math.isnan(none.estimate.value)
    assert none.told == "refused: nothing that it applies to"


def test_a_damaged_trace_is_named_and_the_others_are_judged(catalog: Catalog, event_log: EventLog) -> None:
    fill(event_log, 40)
    ingest(catalog, event_log)
    catalog.write(lambda connection: connection.execute("UPDATE requests SET variables = '3' WHERE id = 'run_000008'"))
    sample = draw(catalog, TraceFilter(), NOW, NOW + 1000, 100)
    judged = look(catalog, sample, checks_of(["refused"], None), LabelStore(event_log))
    assert [(one.applies, one.looked) for one in judged.found] == [(39, 39)]
    assert list(judged.damaged) == ["run_000008"]
    assert "row run_000008: variables is not valid" in judged.damaged["run_000008"].message


def test_few_labels_speak_alone_and_a_worthless_check_costs_nothing() -> None:
    judged = np.tile([0.0, 1.0], 500)
    few = estimate([Stratum(1000, judged, np.zeros(30), np.r_[np.ones(3), np.zeros(27)])])
    assert (few.method, few.value) == ("labels", pytest.approx(0.1))
    assert 0.02 < few.low < 0.05
    assert 0.2 < few.high < 0.3
    labels = np.tile([0.0, 1.0], 50)
    for checked, weight in ((labels, 100 / 110), (np.tile([0.0, 0.0, 1.0, 1.0], 25), 0.0)):
        found = estimate([Stratum(1000, judged, checked, labels)])
        assert found.method == "labels and check"
        assert found.weight == pytest.approx(weight, abs=0.02)
    nothing = estimate([])
    assert (nothing.method, nothing.low, nothing.high) == ("nothing", 0.0, 1.0)


def test_strata_with_too_few_labels_are_taken_together() -> None:
    draw_ = np.random.default_rng(3)
    found = estimate(
        [
            Stratum(900, draw_.integers(0, 2, 200).astype(float), np.ones(30), np.r_[np.ones(15), np.zeros(15)]),
            Stratum(100, draw_.integers(0, 2, 50).astype(float), np.ones(1), np.ones(1)),
        ]
    )
    assert (found.labels, found.method) == (31, "labels and check")
    assert found.low < 16 / 31 < found.high


def test_groups_are_alike_only_where_the_whole_interval_is_within_the_margin() -> None:
    def gap(low: float | None, high: float | None, difference: float = 0.0) -> Any:
        figure = {"mean": 0.5, "difference": difference, "low": low, "high": high, "n": 50}
        return {"first": "women", "second": "men", "n": 50, "metrics": {"refusal": figure, "length": figure}}

    given = [gap(-0.02, 0.03), gap(0.01, 0.04), gap(0.01, 0.2), gap(-0.2, -0.1), gap(-0.2, 0.1), gap(None, None)]
    assert [one.outcome for one in groups_of(given, 0.05)] == ["alike", "alike", "differs", "differs", "open", "open"]


def test_real_questions_are_kept_for_each_group(
    catalog: Catalog, event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_no_processes(monkeypatch)
    said = ["My sister wants her money back.", "When are you open?", "He is late."]
    event_log.append_many(
        [
            ("request", f"run_{n:06d}", {
                "started_at": NOW + n, "model": "m", "finish_reason": "stop", "parameters": {}, "output": "Yes.",
                "messages": [{"role": "user", "content": text}],
            })
            for n, text in enumerate(said)
        ]
    )  # fmt: skip
    ingest(catalog, event_log)
    store, traces = EvaluationStore(catalog.workspace), TraceStore(catalog, event_log)
    sample = draw(catalog, TraceFilter(), NOW, NOW + 1000, 10)
    kept = keep_replay(store, traces, sample, "fairness", 200, "redact")
    suite, questions = kept.suite, kept.questions
    assert (suite.ref, questions) == ("fairness@1", 2)
    cases = [case for case in build_cases(suite.suite, store.datasets).cases if case.variation]
    asked = {(case.variation, str(case.messages[-1]["content"])) for case in cases}
    assert ("men", "My brother wants his money back.") in asked
    assert ("women", "She is late.") in asked
    with pytest.raises(InputRefusedError, match="names a group"):
        keep_replay(store, traces, draw(catalog, TraceFilter(text="open"), NOW, NOW + 9, 9), "other", 9, "redact")


def simulated(
    rate: float, sees: float, spares: float, labels: int, seed: int, strata: tuple[float, ...]
) -> tuple[float, float, float]:
    """Coverage, mean width, and mean width of the labels alone, over runs of traffic of known truth."""
    random = np.random.default_rng(seed)
    covered = width = alone = 0.0
    for _ in range(RUNS):
        made, only = [], []
        for share in strata:
            # The strata differ by half of the rate.
            own = (
                rate * (1.5 if share == strata[0] else (1 - 1.5 * strata[0]) / (1 - strata[0]))
                if len(strata) > 1
                else rate
            )
            size, n = int(2000 * share), int(labels * share)
            truth = (random.random(size) < own).astype(float)
            said = np.where(truth > 0, random.random(size) < sees, random.random(size) > spares).astype(float)
            made.append(Stratum(size, said[n:], said[:n], truth[:n]))
            only.append(Stratum(size, np.zeros(0), said[:n], truth[:n]))
        found, without = estimate(made), estimate(only)
        covered += found.low <= rate <= found.high
        width += found.high - found.low
        alone += without.high - without.low
    return covered / RUNS, width / RUNS, alone / RUNS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "sees", "spares", "labels", "strata"),
    [
        (0.15, 0.80, 0.90, 200, (1.0,)),
        (0.15, 0.80, 0.90, 400, (1.0,)),
        (0.15, 0.80, 0.90, 400, (0.3, 0.7)),
        (0.50, 0.85, 0.85, 200, (1.0,)),
    ],
)
def test_labels_and_check_cover_the_truth_and_are_narrower_than_labels(
    rate: float, sees: float, spares: float, labels: int, strata: tuple[float, ...]
) -> None:
    covered, width, alone = simulated(rate, sees, spares, labels, 7, strata)
    assert covered >= 0.93, f"coverage {covered:.3f}"
    assert width <= 0.85 * alone, f"{1 - width / alone:.1%} narrower"


@pytest.mark.slow
def test_a_rare_fault_is_covered_with_few_labels_too() -> None:
    covered, _, _ = simulated(0.05, 0.70, 0.97, 100, 11, (1.0,))
    assert covered >= 0.93


@pytest.mark.slow
def test_a_weighted_sample_is_unbiased() -> None:
    random = np.random.default_rng(5)
    sizes, rates, drawn = (3000, 500, 100), (0.02, 0.3, 0.7), (100, 100, 50)
    found, covered = [], 0
    for _ in range(RUNS):
        traffic = [(random.random(size) < rate).astype(float) for size, rate in zip(sizes, rates, strict=True)]
        truth = sum(one.sum() for one in traffic) / sum(sizes)
        strata = [
            Stratum(len(one), random.choice(one, n, replace=False), np.zeros(0), np.zeros(0))
            for one, n in zip(traffic, drawn, strict=True)
        ]
        made = estimate(strata)
        found.append(made.value - truth)
        covered += made.low <= truth <= made.high
    error = float(np.std(found)) / math.sqrt(RUNS)
    assert abs(float(np.mean(found))) < 3.5 * error
    assert covered / RUNS >= 0.93


def test_a_label_of_what_no_check_is_called_is_refused() -> None:
    own = '{"type": "contains", "value": "x", "name": "has-x"}'
    for name, metric in (("refused", None), ("toxicity", None), ("has-x", own)):
        refuse_unknown(name, metric)
    for name, metric in (("refusd", None), ("has-y", own), ("has-x", None)):
        with pytest.raises(InputRefusedError) as refused:
            refuse_unknown(name, metric)
        assert refused.value.code == "no_check"
