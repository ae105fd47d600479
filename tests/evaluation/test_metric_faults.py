"""Metrics say what they measure: expected lists, signs of numbers, other scripts, labels, fields, constants."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.metrics.texts import number_in
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.evaluation.suite_checks import check_new
from llmops_tui.foreign_text import parse_yaml


def score(entry: dict[str, Any], answer: str, expected: Any = None, **case: Any) -> Score:
    metric = make_metric(entry)
    return metric.score(Case(0, "k", expected=expected, **case), Answer(text=answer))


@pytest.mark.parametrize(
    "kind", ["exact", "normalised", "contains", "edit-similarity", "rouge", "token-f1", "classification"]
)
def test_of_a_list_any_is_right(kind: str) -> None:
    for answer in ("Paris", "the city of light"):
        assert score({"type": kind}, answer, ["Paris", "the city of light"]).value == 1
    assert score({"type": kind}, "Rome", ["Paris", "the city of light"]).value != 1
    assert score({"type": "numeric"}, "about 7", ["5", "7"]).value == 1
    for kind_of_set in ("bleu", "chrf"):
        many = score({"type": kind_of_set}, "the cat sat on the mat", ["a dog", "the cat sat on the mat"]).value
        assert many == pytest.approx(100)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e5", 1e5), ("12-7", 7), ("−5", -5), ("-5", -5), ("it is -$1,200.50", -1200.5), ("GPT-4", 4), ("(3)-2", 2),
        ("from 3 - 5", 5), ("x = -2.5e-3.", -2.5e-3), ("2e", 2), ("10–20", 20), (".5", 0.5), ("- 5", 5),
    ],
)  # fmt: skip
def test_numbers_have_their_signs_and_exponents(text: str, number: float) -> None:
    assert number_in(text, "last") == pytest.approx(number)


@pytest.mark.parametrize("text", ["北京是中国的首都", "Москва — столица России", "กรุงเทพมหานคร", "東京は首都です"])
def test_rouge_of_the_same_text_is_one_in_any_script(text: str) -> None:
    for variant in ("rouge1", "rouge2", "rougeL"):
        assert score({"type": "rouge", "variant": variant}, text, text).value == 1
    assert score({"type": "rouge"}, "nothing of it", text).value == 0


def test_a_class_is_read_alike_on_both_sides_and_only_where_one_is_named() -> None:
    assert score({"type": "classification"}, "U.S.", "U.S.").value == 1
    labels = {"type": "classification", "labels": ["positive", "not positive", "U.S."]}
    assert score(labels, "u.s.", "U.S.").value == 1
    assert score(labels, "I think it is not positive.", "not positive").value == 1
    both = score(labels, "Not U.S. but positive", "positive")
    assert (both.value, both.detail["found"]) == (0, "(several)")
    assert score(labels, "who knows", "positive").detail["found"] == "(none)"


def test_fields_are_compared_as_json_and_those_that_nobody_expects_do_not_count() -> None:
    fields = {"type": "json-fields", "fields": ["typo"]}
    assert score(fields, "{}", {"a": 1}).value is None
    assert score({"type": "json-fields"}, '{"a": true}', {"a": 1}).value == 0
    assert score({"type": "json-fields"}, '{"a": 1.0}', {"a": 1}).value == 1
    assert score({"type": "json-fields", "fields": ["a", "typo"]}, '{"a": 2}', {"a": 1}).value == 0


def test_what_is_no_json_and_what_is_said_by_nobody() -> None:
    for text in ("NaN", "[Infinity]", '{"a": -Infinity}', "[" * 60_000):
        assert score({"type": "json-valid"}, text).value == 0
    assert score({"type": "contains"}, "null and void").value is None
    assert score({"type": "contains", "value": "void"}, "null and void").value == 1


def test_a_repeated_key_of_a_yaml_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="the key 'metrics' occurs twice"):
        parse_yaml("metrics: [a]\ncases: []\nmetrics: [b]\n")
    assert parse_yaml("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}


def test_the_blank_before_a_choice_is_none_of_its_length() -> None:
    metric = make_metric({"type": "choice", "normalise": True})
    case = Case(0, "k", expected=" ab", choices=(" ab", " abcd"))
    # -3/2 is more than -7/4, and -3/3 less than -7/5 would be the other way round.
    assert metric.score(case, Answer(choice_logprobs=(-3.6, -7.1))).detail["chosen"] == 1


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"type": "contains", "value": "{{ expected }}"}, "value"),
        ({"type": "contains", "mode": "none", "value": "{{q}}"}, "value"),
        ({"type": "contains", "value": ["x", "{{ q | upper }}"]}, "value"),
        ({"type": "regex", "negate": True, "pattern": "^{{q}}$"}, "pattern"),
    ],
)
def test_a_metric_that_names_a_variable_as_a_template_does_is_refused(entry: dict[str, Any], field: str) -> None:
    cases = [{"vars": {"q": "a secret word"}, "expected": "secret"}]
    with pytest.raises(InputRefusedError, match=f"{field} has .*, and is no template"):
        build_cases(check_suite({"cases": cases, "metrics": [entry]}, "s"), None)  # type: ignore[arg-type]
    # Before it is kept, too: a run of it would end at once.
    with pytest.raises(InputRefusedError, match="is no template"):
        check_new(check_suite({"cases": cases, "metrics": [entry]}, "s"))
    # Braces around anything else are what is looked for, and a rubric is a template.
    for other in (
        {"type": "contains", "value": "{{ name }}"},
        {"type": "judge", "model": "m", "rubric": "As {{ expected }}?"},
    ):
        build_cases(check_suite({"cases": cases, "metrics": [other]}, "s"), None)  # type: ignore[arg-type]
