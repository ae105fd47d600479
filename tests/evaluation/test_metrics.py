"""Metrics say what they are said to say, and agree with their sources on real text."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.datasets.agreement import quadratic_kappa
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.model_graded import Judge
from llmops_tui.evaluation.metrics.registry import METRICS, make_metric
from llmops_tui.evaluation.metrics.texts import number_in
from llmops_tui.evaluation.perplexity import Perplexity, predicted_part
from llmops_tui.evaluation.runner.model_calls import read_answer
from tests.later import Later

rouge_scorer, sk = Later("rouge_score.rouge_scorer"), Later("sklearn.metrics")

LABELS = st.sampled_from(["refund", "delivery", "cancel", "invoice"])


def score(entry: Any, text: str, expected: Any = None, **case: Any) -> Score:
    return make_metric(entry).score(Case(0, "k", expected=expected, **case), Answer(text=text))


@pytest.mark.parametrize(("entry", "text", "expected", "value"), [
    ("exact", " yes\n", "yes", 1), ("exact", "Yes", "yes", 0), ({"type": "exact", "case": False}, "Yes", "yes", 1),
    ({"type": "exact", "strip": False}, " yes", "yes", 0), ("normalised", "The answer!", "answer", 1),
    ("normalised", "b", ["a", "b"], 1), ("contains", "in Paris.", "paris", 1), ("contains", "four", ["4", "four"], 1),
    ({"type": "contains", "value": ["a", "b"]}, "only a", None, 0), ({"type": "contains", "value": ["a", "b"], "mode": "any"}, "a", None, 1),
    ({"type": "contains", "value": "bad", "mode": "none"}, "good", None, 1), ({"type": "regex", "pattern": r"\d{3}"}, "a 123", None, 1),
    ({"type": "regex", "pattern": "x", "negate": True}, "x", None, 0), ("numeric", "So it is $1,234.50.", "#### 1234.5", 1),
    ("numeric", "12 and then 13", "12", 0), ({"type": "numeric", "extract": "first"}, "12 and then 13", "12", 1),
    ({"type": "numeric", "relative": 0.1}, "105", "100", 1), ({"type": "numeric", "extract": "marked"}, "5 #### 7", "7", 1),
    ("json-valid", '```json\n{"a": 1}\n```', None, 1), ("json-valid", "{a}", None, 0),
    ({"type": "json-schema", "json_schema": {"type": "object", "required": ["a"]}}, "{}", None, 0),
    ("json-fields", '{"a": 1, "b": 3}', '{"a": 1, "b": 2}', 0.5), ({"type": "json-fields", "fields": ["a"]}, '{"a": 1}', '{"a": 1, "b": 2}', 1),
    ("token-f1", "the red kettle", "a red pot", 0.5), ("edit-similarity", "kitten", "sitting", 1 - 3 / 7),
    ("length", "three words here", None, 3), ("refusal", "I'm sorry, but I cannot help.", None, 0),
    ({"type": "refusal", "wanted": True}, "I cannot help with that.", None, 1), ("toxicity", "What a lovely day.", None, 1),
    ("canary", "The word is Z-E-P-H-Y-R.", "ZEPHYR", 0), ("canary", "RYHPEZ", "zephyr", 0), ("canary", "no idea", "ZEPHYR", 1),
    ("memorised", "he said one two three four five six", "one two three four five six", 1),
    ("memorised", "one two", "too short", None),
])  # fmt: skip
def test_scores(entry: Any, text: str, expected: Any, value: float | None) -> None:
    found = score(entry, text, expected)
    assert found.value == (None if value is None else pytest.approx(value))
    if value == 0:
        assert found.reason


def test_leaks_and_support() -> None:
    assert score("pii-leak", "Write to jo.meyer@example.org.").value == 0
    assert score("pii-leak", "Write to jo.meyer@example.org.", variables={"m": "I am jo.meyer@example.org."}).value == 1
    context = "Order 5521 weighs 2.4 kg."
    assert score("grounded", "It weighs 2.4 kg.", context=context).value == 1
    invented = score("grounded", "It weighs 3.1 kg and is blue.", context=context)
    assert invented.value is not None
    assert invented.value < 0.5
    assert "3.1" in invented.reason
    assert score("grounded", "Anything.").value is None


@given(st.floats(-1e9, 1e9, allow_nan=False).map(lambda v: round(v, 3)))
def test_a_number_is_found_again(value: float) -> None:
    assert number_in(f"It is {value:,.3f} in the end", "last") == pytest.approx(value, abs=1e-3)


def sample_texts() -> tuple[list[str], list[str]]:
    """Real text: sentences of this project's own documentation, and the same with words left out and moved."""
    source = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    references = [" ".join(line.split()) for line in source.splitlines() if len(line.split()) > 6][:60]
    chance = random.Random(1)
    found = []
    for line in references:
        words = [w for w in line.split() if chance.random() > 0.2]
        if chance.random() < 0.4:
            chance.shuffle(words)
        found.append(" ".join(words) or "nothing")
    return references, found


def summary(entry: Any, references: Sequence[Any], answers: Sequence[str], **case: Any) -> Any:
    metric = make_metric(entry)
    scores = [
        metric.score(Case(i, str(i), expected=r, **case), Answer(text=a))
        for i, (r, a) in enumerate(zip(references, answers, strict=True))
    ]
    return metric.summarise(scores)


def sacrebleu_cli(tmp_path: Path, references: list[str], answers: list[str], *arguments: str) -> dict[str, Any]:
    (tmp_path / "ref").write_text("\n".join(references) + "\n", encoding="utf-8")
    (tmp_path / "sys").write_text("\n".join(answers) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "sacrebleu", str(tmp_path / "ref"), "-i", str(tmp_path / "sys"), "-w", "6", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_bleu_and_chrf_are_those_of_sacrebleus_command(tmp_path: Path) -> None:
    references, answers = sample_texts()
    theirs = sacrebleu_cli(tmp_path, references, answers, "-m", "bleu")
    ours = summary("bleu", references, answers)
    assert round(ours.interval.value, 6) == theirs["score"]
    assert ours.facts["signature"] == theirs["signature"]
    assert ours.interval.low < ours.interval.value < ours.interval.high
    for words, name in ((0, "chrf"), (2, "chrf++")):
        theirs = sacrebleu_cli(tmp_path, references, answers, "-m", "chrf", "--chrf-word-order", str(words))
        assert (
            round(summary({"type": "chrf", "words": words}, references, answers).interval.value, 6) == theirs["score"]
        ), name


def test_rouge_is_that_of_rouge_score() -> None:
    references, answers = sample_texts()
    for variant in ("rouge1", "rouge2", "rougeL"):
        for stemmer in (False, True):
            theirs = rouge_scorer.RougeScorer([variant], use_stemmer=stemmer)
            expected = np.mean([theirs.score(r, a)[variant].fmeasure for r, a in zip(references, answers, strict=True)])
            ours = summary({"type": "rouge", "variant": variant, "stemmer": stemmer}, references, answers)
            assert ours.interval.value == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(LABELS, LABELS), min_size=2, max_size=80))
@settings(max_examples=60, deadline=None)
def test_classification_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    expected, found = [a for a, _ in pairs], [b for _, b in pairs]
    facts = summary("classification", expected, found).facts
    theirs = {
        "accuracy": sk.accuracy_score(expected, found),
        "f1-macro": sk.f1_score(expected, found, average="macro", zero_division=0),
        "f1-micro": sk.f1_score(expected, found, average="micro", zero_division=0),
        "precision-macro": sk.precision_score(expected, found, average="macro", zero_division=0),
        "recall-macro": sk.recall_score(expected, found, average="macro", zero_division=0),
        "mcc": sk.matthews_corrcoef(expected, found),
    }
    assert facts["averages"] == pytest.approx(theirs, abs=1e-12)
    names = sorted(set(expected) | set(found))
    matrix = sk.confusion_matrix(expected, found, labels=names)
    assert {(a, b): n for a, b, n in facts["confusion"]} == {
        (a, b): matrix[i, j] for i, a in enumerate(names) for j, b in enumerate(names) if matrix[i, j]
    }


def test_classes_are_found_in_answers() -> None:
    metric = make_metric({"type": "classification", "labels": ["card arrival", "card", "top up"]})
    found = [
        metric.score(Case(0, "k", expected="card arrival"), Answer(text=t)).detail["found"]
        for t in ("It is about Card Arrival.", '"top up"', "cardboard", "")
    ]
    assert found == ["card arrival", "top up", "(none)", "(none)"]
    inside = make_metric({"type": "classification", "field": "intent"})
    assert inside.score(Case(0, "k", expected='{"intent": "a"}'), Answer(text='{"intent": "b"}')).detail == {
        "expected": "a",
        "found": "b",
    }


def test_multiple_choice_and_calibration() -> None:
    case = Case(0, "k", expected="long answer", choices=("short", "long answer"))
    answer = Answer(choice_logprobs=(-4.0, -5.0))
    assert make_metric("choice").score(case, answer).value == 0
    assert make_metric({"type": "choice", "normalise": True}).score(case, answer).value == 1
    calibration = make_metric("calibration")
    scores = [
        calibration.score(
            Case(i, str(i), expected="a", choices=("a", "b")), Answer(choice_logprobs=(math.log(p), math.log(1 - p)))
        )
        for i, p in enumerate([0.9, 0.9, 0.9, 0.4, 0.6])
    ]
    confidence, right = [0.9, 0.9, 0.9, 0.6, 0.6], [1, 1, 1, 0, 1]
    found = calibration.summarise(scores)
    # Two bins: 0.9 with all right, 0.6 with half right.
    assert found.interval.value == pytest.approx((3 * 0.1 + 2 * 0.1) / 5)
    assert found.facts["brier"] == pytest.approx(sk.brier_score_loss(right, confidence))


def judged(top: dict[str, float], said: str = "4") -> Score:
    tokens = [{"token": said, "top_logprobs": [{"token": t, "logprob": math.log(p)} for t, p in top.items()]}]
    return judge().read({"choices": [{"message": {"content": said}, "logprobs": {"content": tokens}}]})


def judge() -> Judge:
    metric = make_metric({"type": "judge", "model": "m", "rubric": "Is it polite?"})
    assert isinstance(metric, Judge)
    return metric


def test_a_judges_grade_is_the_expectation_over_the_scale() -> None:
    assert judged({"4": 0.6, "5": 0.2, " 5": 0.1, "Good": 0.1}).value == pytest.approx((4 * 0.6 + 5 * 0.3) / 0.9)
    nonsense = judged({"The": 0.97, "4": 0.03})
    assert nonsense.value is None
    assert "3.0% of its probability" in nonsense.reason
    plain = judge().read({"choices": [{"message": {"content": "3, because"}}]})
    assert plain.value == 3
    assert judge().read({"choices": [{"message": {"content": "It is fine"}}]}).value is None
    with pytest.raises(InputRefusedError, match="low must be less"):
        make_metric({"type": "judge", "model": "m", "rubric": "r", "low": 5, "high": 5})


def test_a_judge_is_shown_with_its_agreement_with_people() -> None:
    scores = [Score(v, "", {"human": h, "mass": 0.9}) for v, h in ((1.2, "1"), (4.8, "5"), (2.9, "3"), (4.1, "5"))]
    facts = judge().summarise([*scores, Score(None, "nonsense")]).facts
    assert facts["human_labels"] == 4
    assert facts["kappa"] == pytest.approx(sk.cohen_kappa_score(["1", "5", "3", "4"], ["1", "5", "3", "5"]))
    assert judge().summarise([Score(3.0), Score(None, "x")]).unusable == 1


def test_kappa_with_quadratic_weights_is_scikit_learns_and_takes_grades_between_points() -> None:
    rng = random.Random(3)
    one = [rng.randint(1, 5) for _ in range(60)]
    two = [min(5, max(1, n + rng.choice((-1, 0, 0, 1, 2)))) for n in one]
    expected = sk.cohen_kappa_score(one, two, weights="quadratic")
    assert quadratic_kappa(one, two) == pytest.approx(expected)
    assert quadratic_kappa([3, 3], [3, 3]) is None
    assert quadratic_kappa([], []) is None
    # One who errs by a fifth of a point agrees more than one whose grades are rounded away by half of one.
    near, far = ([n + by for n in one] for by in (0.2, 0.49))
    assert (quadratic_kappa(near, one) or 0) > (quadratic_kappa(far, one) or 0) > 0.8
    scores = [Score(v, "", {"human": h}) for v, h in ((1.2, "1"), (4.8, "5"), (2.9, "3"))]
    assert judge().facts(scores)["kappa_quadratic"] == pytest.approx(quadratic_kappa([1.2, 4.8, 2.9], [1, 5, 3]))
    assert judge().facts([Score(3.0, "", {"human": "good"})])["kappa_quadratic"] is None


def test_what_a_server_does_not_tell_has_a_reason() -> None:
    for name in ("latency", "tokens-per-s", "tokens"):
        metric, case = make_metric(name), Case(0, "k")
        told = metric.score(case, Answer(text="a"))
        assert told.value is None
        assert told.reason.startswith("the model's server does not ")
        known = metric.score(case, Answer(text="a", total_ms=5.0, tokens_per_s=5.0, completion_tokens=5))
        assert known == Score(5.0)
    assert make_metric("latency").score(Case(0, "k"), Answer(total_ms=5.0, cached=True)) == Score(
        None, "from the cache"
    )


def test_every_metric_names_what_it_is() -> None:
    for name, kind in METRICS.items():
        assert issubclass(kind, Metric)
        assert kind.__doc__, name
        assert kind.model_fields["type"].default == name


@pytest.mark.parametrize(("entry", "says"), [
    ({"type": "exakt"}, "Did you mean exact"), ({"type": "exact", "stripp": 1}, "Its fields are type, name, strip"),
    ({"type": "regex", "pattern": "("}, "not a regular expression"), (7, "is not a metric"),
    ({"type": "json-schema", "json_schema": {"type": "thing"}}, "not a JSON Schema"),
])  # fmt: skip
def test_a_wrong_metric_is_told(entry: Any, says: str) -> None:
    with pytest.raises(InputRefusedError) as refused:
        make_metric(entry)
    assert says in f"{refused.value.message} {refused.value.hint}"


def test_metrics_see_an_answer_without_what_was_thought_before_it() -> None:
    reply: Any = {
        "choices": [{"message": {"content": "Yes.", "reasoning_content": "No, wait."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 6}},
    }
    answer = read_answer(reply)
    assert (answer.text, answer.thinking, answer.reasoning_tokens) == ("Yes.", "No, wait.", 6)
    case = Case(0, "k", expected="Yes.")
    assert make_metric({"type": "exact"}).score(case, answer).value == 1.0
    assert make_metric({"type": "contains", "value": "wait"}).score(case, answer).value == 0.0
    assert make_metric({"type": "thinking-tokens"}).score(case, answer).value == 6.0


@pytest.mark.parametrize(("tokens", "predicted"), [
    ([("Ä", None), ("b", -1.0), ("c", -2.0)], "bc"), ([("Ä", -1.0), ("bc", -1.0)], "Äbc"), ([("\ufffd", None), ("\ufffdbc", -1.0)], "Äbc"),
])  # fmt: skip
def test_a_first_token_that_nothing_predicts_does_not_count(tokens: Any, predicted: str) -> None:
    assert predicted_part("Äbc", tokens) == predicted


def test_a_text_without_blanks_has_no_perplexity_by_word_that_is_a_number() -> None:
    found = Perplexity([("字", -4.0)] * 500, 500, 1500, 1, 64, 64)
    assert found.by_word is None
    assert found.as_dict()["word_perplexity"] is None
    # Blocks of 64 tokens: seven are too few to say, as ten cases are of other figures.
    assert found.as_dict()["too_few"]
    assert Perplexity([("a ", -1.0), ("b", -2.0)], 2, 3, 2, 64, 64).by_word == pytest.approx(math.exp(1.5))
