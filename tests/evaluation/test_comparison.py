"""Two runs on the same cases: what may be compared, what is said, and what a gate says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.comparison import Comparison, compare
from llmops_tui.evaluation.difference import points
from llmops_tui.evaluation.gates import judge, passes
from llmops_tui.evaluation.metrics.base import Answer, Score
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.pairwise import Decision, summary
from llmops_tui.evaluation.records import NO_SCHEMA
from llmops_tui.evaluation.rules import parse_rule
from llmops_tui.evaluation.runner.results import Result
from tests.evaluation.conftest import EXACT, case, made_run, results


def compared(before: list[Any], after: list[Any], **manifest: Any) -> Comparison:
    return compare(
        (made_run("a"), results(before)), (made_run("b", **({"model_sha256": "n"} | manifest)), results(after)), [EXACT]
    )


def test_what_got_worse_comes_first_and_the_verdict_can_be_quoted() -> None:
    found = compared([1.0] * 10 + [0.0] * 290, [0.0] * 4 + [1.0] * 283 + [0.0] * 13)
    (d, *_) = found.differences
    assert (d.wins, d.ties, d.losses, d.n) == (277, 19, 4, 300)
    assert d.test == "McNemar, exact"
    assert d.verdict == "better"
    assert [p.baseline.case.index for p in found.pairs[:4]] == [0, 1, 2, 3]
    assert len(found.regressed()) == 4
    assert found.sentence.startswith("The candidate is better on exact by 91 points (95 % [+8")
    assert found.sentence.endswith("300 paired cases). 4 cases got worse.")


def test_no_difference_says_what_could_have_been_missed() -> None:
    found = compared([1.0, 0.0] * 50, [1.0, 0.0] * 49 + [0.0, 1.0])
    assert found.differences[0].verdict == "unclear"
    assert "No difference on exact was found" in found.sentence
    assert "may be missed" in found.sentence


def test_another_index_is_what_runs_are_compared_for_and_is_named() -> None:
    found = compared([1.0] * 10, [0.0] * 10, rendered_sha256="q", indexes={"manual@2": "h"})
    assert found.comparable.refused == ()
    assert "index" in found.comparable.changed
    assert any("index differ" in note for note in found.comparable.notes)


@pytest.mark.parametrize(("manifest", "says"), [
    ({"engine": "other"}, "the engine differs: e and other"), ({"judges": {"j": {"model": "x"}}}, "the judge or its prompt differs"),
    ({"repeats": 3}, "the number of answers a case differs"), ({"metrics": {"exact": "changed"}}, "exact is measured in different ways"),
    ({"rendered_sha256": "q"}, "rendered differently, though prompt and cases are the same"),
    ({"model_sha256": "m", "template_sha256": "u"}, "the chat template differs, though the model is the same"),
    ({"response_format_sha256": "g"}, "the schema that answers must follow differs"),
])  # fmt: skip
def test_what_must_be_the_same_and_is_not_leaves_no_verdict(manifest: dict[str, Any], says: str) -> None:
    found = compared([1.0] * 10, [0.0] * 10, **manifest)
    assert any(says in reason for reason in found.comparable.refused), found.comparable.refused
    assert found.sentence.startswith("No verdict: ")
    (ruling,) = judge([parse_rule("exact better than baseline")], {"metrics": {}}, found)
    assert ruling.outcome == "fail"
    assert "not comparable" in ruling.why


@pytest.mark.parametrize("before", [{"response_format_sha256": NO_SCHEMA}, {"schema_of": "prompt"}])
def test_a_schema_that_versions_hold_is_part_of_what_is_compared(before: dict[str, Any]) -> None:
    held = {"response_format_sha256": "g", "schema_of": "prompt", "prompt_sha256": ["q"], "model_sha256": "m"}
    pair = (made_run("a", **before), results([0.0] * 20)), (made_run("b", **held), results([1.0] * 20))
    for runs in (pair, pair[::-1]):
        found = compare(*runs, [EXACT])
        assert found.comparable.refused == ()
        assert any("the versions hold it" in note for note in found.comparable.notes)
    (ruling,) = judge([parse_rule("exact better than baseline")], {"metrics": {}}, compare(*pair, [EXACT]))
    assert ruling.outcome == "pass"
    # A suite that says a schema in one of the runs alone.
    other = made_run("b", **{**held, "schema_of": None})
    found = compare(pair[0], (other, results([1.0] * 20)), [EXACT])
    assert any("the schema that answers must follow differs" in reason for reason in found.comparable.refused)


def test_runs_without_a_case_in_common_are_refused() -> None:
    other = [Result(case(i + 100), 0, Answer(), {"exact": Score(1.0)}) for i in range(5)]
    found = compare((made_run("a"), results([1.0] * 5)), (made_run("b"), other), [EXACT])
    assert found.comparable.refused == ("they have no case in common",)
    partly = compare((made_run("a"), results([1.0] * 5)), (made_run("b"), results([1.0] * 3)), [EXACT])
    assert "3 cases are in both, of 5 and 3" in partly.comparable.notes[0]


def test_cases_that_only_one_run_has_a_score_of_are_told() -> None:
    found = compared([1.0, 0.0, None, None] * 5, [1.0, None, None, 1.0] * 5)
    assert found.differences[0].n == 5
    assert "10 cases have a score of exact in one of the runs only, and are left out" in found.comparable.notes


def test_several_changes_at_once_are_told() -> None:
    found = compared([1.0] * 10, [0.0] * 10, prompt_sha256=["q"], rendered_sha256="z")
    assert found.comparable.changed == ("prompt", "model")
    assert "cannot be attributed to one of them" in found.comparable.notes[0]


def test_unusable_scores_are_left_out_and_never_counted() -> None:
    found = compared([1.0, None, 0.0, 1.0], [1.0, 1.0, None, 0.0])
    assert found.differences[0].n == 2
    assert [p.change for p in found.pairs] == [-1.0, 0.0, None, None]


def test_slices_say_where_there_are_few_cases() -> None:
    fields = [{"slices": {"intent": "refund" if i < 80 else "cancel"}} for i in range(100)]

    def make(values: list[float]) -> list[Result]:
        return [
            Result(case(i, **f), 0, Answer(), {"exact": Score(v)})
            for i, (v, f) in enumerate(zip(values, fields, strict=True))
        ]

    found = compare(
        (made_run("a"), make([0.0] * 100)), (made_run("b", model_sha256="n"), make([1.0] * 80 + [0.0] * 20)), [EXACT]
    )
    assert [(s.value, s.n, s.few, s.interval.value) for s in found.slices] == [
        ("cancel", 20, True, 0.0),
        ("refund", 80, False, 1.0),
    ]


def test_figures_of_a_whole_set_are_resampled_together() -> None:
    metric = make_metric({"type": "classification", "name": "f1"})
    random = np.random.default_rng(1)

    def make(right: float) -> list[Result]:
        found = []
        for i in range(200):
            wanted = "abc"[i % 3]
            said = wanted if random.random() < right else "abc"[(i + 1) % 3]
            found.append(
                Result(
                    case(i),
                    0,
                    Answer(),
                    {"f1": metric.score(case(i).__class__(i, f"key{i}", expected=wanted), Answer(text=said))},
                )
            )
        return found

    found = compare((made_run("a"), make(0.6)), (made_run("b", model_sha256="n"), make(0.9)), [metric])
    d = found.differences[0]
    assert d.p is None
    assert d.verdict == "better"
    assert 0.15 < d.interval.low < d.interval.value < d.interval.high < 0.45


def test_several_metrics_are_corrected_for_being_several() -> None:
    metrics = [EXACT, make_metric({"type": "exact", "name": "other"})]

    def make(values: list[float]) -> list[Result]:
        return [Result(case(i), 0, Answer(), {"exact": Score(v), "other": Score(v)}) for i, v in enumerate(values)]

    found = compare((made_run("a"), make([0.0] * 12)), (made_run("b"), make([1.0] * 6 + [0.0] * 6)), metrics)
    assert [d.p for d in found.differences] == [pytest.approx(2 / 64)] * 2
    assert [d.p_holm for d in found.differences] == [pytest.approx(4 / 64)] * 2
    assert found.differences[0].verdict == "unclear"
    # By itself it would be decided: both figures are told, and which of them decides.
    assert found.sentence.startswith(
        "Not decided on exact: p 0.0625 corrected for several metrics, 0.0313 before, though the interval is above 0 ("
    )
    assert "; p decides; less than" in found.sentence


def test_what_flipped_comes_before_what_is_the_same_and_what_has_no_score_comes_last() -> None:
    found = compared([None, 0.0, 1.0, 1.0, 0.0], [None, 0.0, 1.0, 0.0, 1.0])
    assert [p.baseline.case.index for p in found.pairs] == [3, 4, 1, 2, 0]


def test_an_interval_that_leaves_out_0_is_no_difference_that_was_not_found() -> None:
    found = compared([0.0] * 4 + [1.0] * 8, [1.0] * 12)
    (d, *_) = found.differences
    assert (d.p, d.verdict) == (0.125, "unclear")
    assert d.interval.low > 0
    assert found.sentence.startswith("Not decided on exact: p 0.125, though the interval is above 0 (95 % [+")
    assert found.as_dict()["verdict"] == found.sentence
    down = compared([1.0] * 12, [0.0] * 4 + [1.0] * 8)
    assert "the interval is below 0 (" in down.sentence
    # The other way round: the test alone would decide.
    found.differences = [replace(d, p=0.01, p_holm=0.02, interval=replace(d.interval, low=-0.1))]
    assert "p 0.02 corrected for several metrics, 0.01 before, though the interval takes in 0" in found.sentence
    assert "; the interval decides; " in found.sentence


SUMMARY = {"metrics": {
    "exact": {"mean": 0.94, "low": 0.91, "high": 0.96, "n": 300, "unusable": 2, "too_few": False, "needed": "", "binary": True},
    "latency": {"mean": 300.0, "low": 290.0, "high": 310.0, "n": 300, "unusable": 0, "too_few": False, "needed": "", "binary": False, "facts": {"p95": 480.0}},
}}  # fmt: skip


@pytest.mark.parametrize(("rule", "outcome"), [
    ("exact >= 0.9", "pass"), ("exact >= 0.92 surely", "fail"), ("exact >= 90 %", "pass"), ("exact > 0.95", "fail"),
    ("latency p95 <= 500 ms", "pass"), ("latency p95 <= 400", "fail"), ("bleu >= 10", "fail"), ("latency p50 < 5", "fail"),
    ("exact better than baseline", "fail"),
])  # fmt: skip
def test_rules_on_figures(rule: str, outcome: str) -> None:
    (ruling,) = judge([parse_rule(rule)], SUMMARY, None)
    assert ruling.outcome == outcome, ruling


def test_a_gate_says_how_many_answers_have_no_score() -> None:
    (ruling,) = judge([parse_rule("exact >= 0.9")], SUMMARY, None)
    assert ruling.why.endswith("n 300); 2 answers without a score")


@pytest.mark.parametrize(("before", "after", "rule", "outcome"), [
    ([1.0] * 300, [1.0] * 300, "exact not worse than baseline by > 2 points", "pass"),
    ([1.0] * 300, [1.0] * 240 + [0.0] * 60, "exact not worse than baseline by > 1 point", "fail"),
    ([1.0] * 30, [1.0] * 29 + [0.0], "exact not worse than baseline by > 1 point", "unsure"),
    ([0.0] * 300, [1.0] * 60 + [0.0] * 240, "exact better than baseline", "pass"),
    ([1.0] * 300, [1.0] * 290 + [0.0] * 10, "exact not worse than baseline by > 10 %", "pass"),
])  # fmt: skip
def test_rules_on_differences(before: list[float], after: list[float], rule: str, outcome: str) -> None:
    rulings = judge([parse_rule(rule)], SUMMARY, compared(before, after))
    assert rulings[0].outcome == outcome, rulings
    assert passes(rulings) == (outcome != "fail")
    assert passes(rulings, strict=True) == (outcome == "pass")


def test_what_is_too_few_to_say_neither_stops_nor_passes_surely() -> None:
    lost = compared([0.9] * 9, [0.1] * 9)
    assert lost.differences[0].verdict == "unclear"
    assert lost.sentence.startswith("Too few to say: 10 cases are needed; exact differs by 80 points")
    assert lost.differences[0].as_dict()["too_few"]
    rules = ["exact not worse than baseline by > 1 point", "exact better than baseline", "exact >= 0.9 surely"]
    few = {"metrics": {"exact": SUMMARY["metrics"]["exact"] | {"too_few": True}}}
    found = judge([parse_rule(rule) for rule in rules], few, lost)
    assert [ruling.outcome for ruling in found] == ["unsure", "fail", "fail"]
    assert all("too few to say" in ruling.why for ruling in found)


@pytest.mark.parametrize(("unusable", "binary", "rule", "outcome"), [
    (2, True, "exact >= 0.9", "pass"), (2, True, "exact >= 0.94", "unsure"), (200, True, "exact >= 0.9", "unsure"),
    (2, True, "exact >= 0.95", "fail"), (2, False, "exact >= 0.9", "unsure"), (0, False, "exact >= 0.9", "pass"),
    (2, True, "exact <= 0.95", "pass"), (9, True, "exact <= 0.94", "unsure"),
])  # fmt: skip
def test_answers_without_a_score_let_no_rule_pass_that_they_could_break(
    unusable: int, binary: bool, rule: str, outcome: str
) -> None:
    figure = SUMMARY["metrics"]["exact"] | {"unusable": unusable, "binary": binary}
    (ruling,) = judge([parse_rule(rule)], {"metrics": {"exact": figure}}, None)
    assert ruling.outcome == outcome
    assert ("could decide otherwise" in ruling.why) == (outcome == "unsure")


def test_what_has_no_better_direction_is_neither_better_nor_worse() -> None:
    found = compared([0.2] * 20, [0.4] * 20)
    found.differences = [replace(d, better=0) for d in found.differences]
    for rule in ("exact better than baseline", "exact not worse than baseline"):
        (ruling,) = judge([parse_rule(rule)], SUMMARY, found)
        assert ruling.outcome == "fail"
        assert "no better direction" in ruling.why


@pytest.mark.parametrize("text", ["", "exact", "exact is good", "exact >= much", "not worse than baseline"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(InputRefusedError, match="is not a rule"):
        parse_rule(text)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["same", "at the margin", "scores"])
def test_the_gate_stops_at_most_one_of_twenty_that_are_not_worse(kind: str) -> None:
    random = np.random.default_rng(11)
    rule = parse_rule("exact not worse than baseline by > 2 points")
    stopped = 0
    for _ in range(1000):
        if kind == "scores":
            before = random.beta(4, 2, 150)
            after = np.clip(before + random.normal(-0.02, 0.2, 150), None, None)
        else:
            worse = 0.10 if kind == "same" else 0.12
            change = random.choice([1.0, -1.0, 0.0], 300, p=[0.10, worse, 0.90 - worse])
            before = np.where(change < 0, 1.0, 0.0)
            after = before + change
        stopped += (
            judge(
                [rule],
                SUMMARY,
                compare(
                    (made_run("a"), results(before.tolist())),
                    (made_run("b", model_sha256="n"), results(after.tolist())),
                    [EXACT],
                    resamples=1000,
                ),
            )[0].outcome
            == "fail"
        )
    # At the margin itself the rate is the level; 1.9 % more is within what 1,000 suites can tell.
    assert stopped / 1000 <= (0.05 if kind == "same" else 0.069), stopped


def test_a_judge_that_likes_the_first_place_is_seen() -> None:
    pairs = compared([1.0] * 40, [0.0] * 40).pairs
    biased = summary(pairs, [Decision(0.9, 0.1)] * 40, "j")
    assert biased["ties"] == 40
    assert biased["position_bias"]["mean"] == pytest.approx(0.4)
    assert biased["preference"]["mean"] == pytest.approx(0.5)
    fair = summary(pairs, [Decision(0.9, 0.8)] * 30 + [Decision(None, 0.2)] * 10, "j")
    assert (fair["wins"], fair["unusable"], fair["n"]) == (30, 10, 30)
    assert abs(fair["position_bias"]["mean"]) < 0.06


def test_a_difference_of_one_is_a_point() -> None:
    said = [points(value, share=True, signed=False, named=True) for value in (0.01, 0.0101, 0.12)]
    assert said == ["1 point", "1.01 points", "12 points"]
    assert points(3, share=False, unit="ms", named=True) == "+3 ms"
