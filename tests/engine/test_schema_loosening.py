"""Schemas that a grammar cannot hold whole: what is left out, what is told, and what a finished answer does not keep."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.constraint_checker import ConstraintChecker
from llmops_tui.inference.constraints import Held
from llmops_tui.inference.schema_keywords import reference_to_nothing
from llmops_tui.inference.schema_loosening import Doubts, loosened
from llmops_tui.inference.schema_validation import problems_of
from tests.engine.engines import MODEL

TEXT = {"type": "string"}
PAIR = {"a": TEXT, "b": TEXT}


@pytest.fixture(scope="module")
def checker() -> Iterator[ConstraintChecker]:
    made = ConstraintChecker(str(MODEL), [])
    yield made
    made.close()


@pytest.fixture(scope="module")
def allowed() -> Callable[[Held, Any], bool]:
    """Whether a grammar allows a value, byte by byte, in the one layout that answers have."""
    from llmops_tui.inference.engine.grammar import Matcher
    from llmops_tui.inference.engine.guidance import Tokenizer

    tokenizer = Tokenizer([*(bytes([n]) for n in range(256)), b"\xffend"], [256])

    def find(held: Held, value: Any) -> bool:
        matcher = Matcher(tokenizer, held.grammar, 257)
        for byte in json.dumps(value, ensure_ascii=False).encode():
            if byte not in matcher.allowed():
                return False
            matcher.take(byte)
        return matcher.finished or 256 in matcher.allowed()

    return find


def held(checker: ConstraintChecker, schema: Any) -> Held:
    return asyncio.run(checker.held({"type": "json_schema", "json_schema": {"schema": schema}}))


# A schema, the keywords that are left out of it, values that it allows, and values that it does not.
SUITE: list[tuple[dict[str, Any], list[str], list[Any], list[Any]]] = [
    ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, ["#/uniqueItems"], [[], [1, 2]], [[1, 1]]),
    ({"type": "array", "items": {"type": "integer"}, "uniqueItems": False}, [], [[1, 1]], [["a"]]),
    ({"type": "string", "not": {"const": "x"}}, ["#/not"], ["y"], ["x"]),
    ({"type": "string", "not": False}, [], ["x"], [1]),
    (
        {"type": "object", "properties": PAIR, "if": {"required": ["a"]}, "then": {"properties": {"c": TEXT}, "required": ["c"]}},
        ["#/if"], [{}, {"b": "x"}, {"a": "x", "c": "y"}], [{"a": "x"}],
    ),
    ({"type": "object", "properties": PAIR, "if": {"required": ["a"]}}, [], [{"a": "x"}], [{"a": 1}]),
    (
        {"type": "array", "items": {"type": "integer"}, "contains": {"const": 3}, "minContains": 2},
        ["#/contains"], [[3, 1, 3]], [[3, 1]],
    ),
    ({"type": "array", "contains": {"const": 3}, "minContains": 0}, [], [[1]], ["x"]),
    ({"type": "object", "properties": PAIR, "dependentRequired": {"a": ["b"]}}, ["#/dependentRequired"], [{"a": "", "b": ""}], [{"a": ""}]),
    (
        {"type": "object", "properties": PAIR, "dependentSchemas": {"a": {"properties": {"c": {"type": "integer"}}, "required": ["c"]}}},
        ["#/dependentSchemas"], [{"a": "", "c": 1}, {}], [{"a": ""}, {"a": "", "c": "x"}],
    ),
    ({"type": "object", "properties": PAIR, "dependencies": {"a": ["b"]}}, ["#/dependencies"], [{"a": "", "b": ""}], [{"a": ""}]),
    ({"type": "string", "format": "regex"}, ["#/format"], ["a+"], ["("]),
    ({"type": "string", "format": "klingon"}, ["#/format"], ["Qapla'"], [1]),
    ({"type": "string", "format": "date"}, [], ["2024-02-29"], [1]),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ["#/oneOf"], [1.5], [1, "x"]),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, [], [1, "x"], [None]),
    ({"anyOf": [TEXT], "oneOf": [{"minLength": 2}, {"maxLength": 3}]}, ["#/oneOf"], ["x", "long"], ["xy", 1]),
    (
        {"type": "object", "properties": {"ab": TEXT}, "propertyNames": {"pattern": "^a", "maxLength": 2}, "additionalProperties": TEXT},
        ["#/propertyNames"], [{"ab": "x", "ac": "y"}], [{"b": "x"}, {"abc": "x"}],
    ),
    (
        {"type": "object", "patternProperties": {"^a": TEXT, "^ab": {"minLength": 2}}, "additionalProperties": False},
        ["#/patternProperties"], [{"a": "x", "ab": "xy"}], [{"ab": "x"}, {"b": "x"}],
    ),
    ({"type": "object", "patternProperties": {"^a": TEXT}, "additionalProperties": False}, [], [{"a": "x"}], [{"b": "x"}]),
    ({"type": "string", "pattern": "^(?=a)[ab]+$"}, ["#/pattern"], ["ab"], ["ba"]),
    ({"type": "string", "pattern": "^(a|b)\\1$"}, ["#/pattern"], ["aa"], ["ab"]),
    ({"type": "number", "multipleOf": 1e-9}, ["#/multipleOf"], [1e-09], ["x"]),
    ({"type": "integer", "multipleOf": 2**32 - 1}, ["#/multipleOf"], [2 * (2**32 - 1)], [5]),
    ({"type": "integer", "minimum": 0, "maximum": 2**64 - 1}, ["#/maximum"], [2**64 - 1], [2**64, -1]),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, [], [0.01, 0.25, 0.5], [0, 0.0, 0.6]),
    ({"type": "number", "exclusiveMinimum": 0, "minimum": 0, "exclusiveMaximum": 0.5}, [], [0.25], [0, 0.0, 0.5]),
    ({"type": "number", "exclusiveMinimum": 2.0, "maximum": 2.01}, [], [2.001, 2.01], [2, 2.0]),
    ({"type": "number", "exclusiveMinimum": 1, "maximum": 1.0000001}, [], [1.0000001, 1.00000001], [1]),
    ({"type": "number", "minimum": -1.5, "exclusiveMaximum": -1}, [], [-1.5, -1.01], [-1, -1.0]),
    ({"type": "number", "minimum": -0.5, "exclusiveMaximum": 0}, [], [-0.5, -0.01], [0, -0.0]),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, [], [0.5, 1], [0]),
    ({"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 0.5}, [], [0.25], [0]),
    ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, [], [6], [5]),
    ({"type": "integer", "minimum": 5, "exclusiveMinimum": False}, [], [5], [4]),
    ({"type": "object", "properties": PAIR, "unevaluatedProperties": False}, [], [{"a": ""}], [{"c": ""}]),
    (
        {"type": "object", "allOf": [{"properties": PAIR}], "properties": {"c": TEXT}, "unevaluatedProperties": False},
        ["#/unevaluatedProperties"], [{"a": "", "c": ""}], [{"d": 1}],
    ),
    ({"type": "array", "prefixItems": [TEXT], "unevaluatedItems": False}, [], [["a"]], [["a", 1]]),
    ({"type": "object", "properties": {"a": {"$dynamicRef": "#t"}}, "$defs": {"t": {"$dynamicAnchor": "t", **TEXT}}},
     ["#/properties/a/$dynamicRef"], [{"a": "x"}], [{"a": 1}]),
    ({"type": "object", "properties": {"a/b": {"type": "array", "uniqueItems": True}}, "required": ["a/b"]},
     ["#/properties/a~1b/uniqueItems"], [{"a/b": [1, 2]}], [{"a/b": [1, 1]}]),
    ({"type": "array", "items": {"anyOf": [{"not": {"const": 1}, "type": "integer"}, {"type": "null"}]}},
     ["#/items/anyOf/0/not"], [[2, None]], [[1]]),
    # What is said of names in a value, or of names that are keywords, is no keyword.
    ({"type": "object", "properties": {"not": TEXT, "if": TEXT}, "default": {"uniqueItems": True}}, [], [{"not": ""}], [{"if": 1}]),
    ({"enum": [{"uniqueItems": True}]}, [], [{"uniqueItems": True}], [{}]),
    ({"type": "object", "properties": PAIR, "minProperties": 1}, ["#/minProperties"], [{"a": ""}], [{}, {"a": 1}]),
    (
        {"type": "object", "properties": PAIR, "required": ["a"], "maxProperties": 1},
        ["#/maxProperties"], [{"a": ""}], [{"a": "", "b": ""}, {"b": ""}],
    ),
    (
        {"allOf": [{"type": "object", "properties": PAIR}, {"minProperties": 1}]},
        ["#/allOf/1/minProperties"], [{"a": ""}], [{}],
    ),
    ({"type": "object", "properties": PAIR, "minProperties": 3}, ["#/minProperties"], [{"a": "", "b": "", "c": 1}], [{"a": ""}]),
    ({"type": "object", "properties": {"a": TEXT}, "required": ["a"], "minProperties": 2}, [], [{"a": "", "c": 1}], [{"a": ""}]),
    ({"type": "object", "properties": {"a": TEXT}, "required": ["a"], "maxProperties": 1}, [], [{"a": ""}], [{"a": "", "c": 1}]),
    ({"type": "object", "minProperties": 1, "maxProperties": 2}, [], [{"a": 1}], [{}, {"a": 1, "b": 1, "c": 1}]),
    ({"type": "object", "propertyNames": {"pattern": "^(?=a)[ab]$"}}, ["#/propertyNames"], [{"a": 1}], [{"b": 1}]),
    ({"type": "string", "title": "T", "x-order": 1, "$comment": "c", "examples": ["a"], "deprecated": True}, [], ["a"], [1]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "left_out", "right", "wrong"), SUITE, ids=[json.dumps(s[0])[:60] for s in SUITE])
def test_what_a_schema_allows_may_be_written_and_what_it_does_not_is_held_back_or_told(
    schema: Any,
    left_out: list[str],
    right: list[Any],
    wrong: list[Any],
    checker: ConstraintChecker,
    allowed: Callable[[Held, Any], bool],
) -> None:
    found = held(checker, schema)
    assert [one["pointer"] for one in found.told] == left_out
    assert found.checked == (bool(left_out) and schema.get("format") != "klingon")
    for value in right:
        assert allowed(found, value), value
        assert problems_of(schema, json.dumps(value)) == [], value
    for value in wrong:
        told = asyncio.run(checker.problems(schema, json.dumps(value))) if found.checked else []
        assert told or not allowed(found, value), value


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "object", "propertis": PAIR}, "did you mean properties?"),
        ({"type": "object", "properties": PAIR, "requierd": ["a"]}, "did you mean required?"),
        ({"type": "string", "maxlength": 3}, "did you mean maxLength?"),
        ({"type": "integer", "min": 3}, "did you mean minimum"),
        ({"type": "string", "nullable": True}, '"null"'),
        ({"type": "string", "flavour": "mint"}, "no keyword of JSON Schema and has no effect"),
        ({"type": "string", "$schema": "http://example.org/mine"}, "no published draft"),
    ],
)
def test_a_word_that_is_no_keyword_is_told_and_changes_nothing(
    schema: Any, told: str, checker: ConstraintChecker
) -> None:
    found = held(checker, schema)
    (one,) = found.told
    assert told in one["message"]
    assert not found.checked


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "array", "uniqueItems": "yes"}, "#/uniqueItems"),
        ({"type": "object", "if": 3, "then": {}}, "#/if"),
        ({"not": {}}, "it allows no text at all|nsatisfiable|false"),
        ({"type": "object", "properties": {"a": {"not": True}}, "required": ["a"]}, "'a' is unsatisfiable"),
        ({"$ref": "other.json"}, "'other.json' is another document"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "is another document"),
        ({"$dynamicRef": "https://json-schema.org/draft/2020-12/schema#meta"}, "is another document"),
        ({"type": "integer", "minimum": 3, "maximum": 1, "not": {"const": 2}}, "minimum"),
        ({"const": 2**60 + 1, "not": {"const": 2}}, "#/const"),
        ({"type": "objekt", "uniqueItems": True}, "objekt"),
    ],
)
def test_what_no_looser_schema_helps_is_refused_by_name(schema: Any, told: str, checker: ConstraintChecker) -> None:
    with pytest.raises(InputRefusedError, match=told) as refused:
        held(checker, schema)
    assert refused.value.code == "schema_invalid"


def test_a_document_within_may_have_an_address(checker: ConstraintChecker) -> None:
    schema = {"$id": "https://a.example/b", "$ref": "c", "$defs": {"c": {"$id": "c", "type": "integer"}}}
    assert held(checker, schema).told == ()


@pytest.mark.slow
def test_the_check_of_an_answer_is_bounded_and_says_so(checker: ConstraintChecker) -> None:
    endless = {"type": "string", "pattern": "^(a+)+$", "not": {"const": ""}}
    with pytest.raises(LlmopsError, match="too much CPU time"):
        asyncio.run(checker.problems(endless, json.dumps("a" * 60 + "b")))
    with pytest.raises(LlmopsError, match="is not in it"):
        asyncio.run(checker.problems({"$ref": "#/$defs/none"}, "1"))
    assert asyncio.run(checker.problems({"not": {"const": 1}}, "{")) != []
    assert asyncio.run(checker.problems({"not": {"const": 1}}, "2")) == []


LEAVES = st.sampled_from([TEXT, {"type": "integer", "not": {"const": 3}}, {"type": "boolean"}, {"enum": ["x", 1]}])


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.dictionaries(st.sampled_from("abc"), inner, min_size=1)
    return st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "uniqueItems": True}, inner),
        st.builds(lambda named: {"type": "object", "properties": named, "dependentRequired": {"a": ["b"]}}, some),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
        st.builds(
            lambda named: {
                "type": "object",
                "properties": named,
                "if": {"required": ["a"]},
                "then": {"required": ["b"]},
            },
            some,
        ),
    )


VALUES = st.recursive(
    st.sampled_from(["x", "", 0, 1, 3, True, None]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=300)
@given(st.recursive(LEAVES, _larger, max_leaves=6), VALUES)
def test_a_loosened_schema_allows_what_the_original_does_and_has_no_word_left_that_was_told(
    schema: Any, value: Any
) -> None:
    made = loosened(schema)
    if Draft202012Validator(schema).is_valid(value):
        assert Draft202012Validator(made.schema).is_valid(value)
    for one in made.told:
        place: Any = schema
        for name in one["pointer"].split("/")[1:]:
            place = place[int(name) if isinstance(place, list) else name]
    assert loosened(made.schema).told == ()


@pytest.mark.parametrize(
    ("schema", "checked"),
    [
        ({"allOf": [{"type": "number", "exclusiveMinimum": 0}, {"maximum": 0.5}]}, True),
        ({"type": "number", "exclusiveMaximum": 1, "$ref": "#/$defs/a", "$defs": {"a": {"minimum": 0.5}}}, True),
        ({"allOf": [{"type": "number", "minimum": 0}, {"maximum": 0.5}]}, False),
        ({"type": "number", "exclusiveMinimum": 0}, False),
    ],
)
def test_exclusive_bounds_that_are_put_together_of_several_schemas_are_checked(schema: Any, checked: bool) -> None:
    found = loosened(schema)
    assert (found.schema, found.told, found.checked) == (schema, (), checked)


BROKEN = ["[", "(a", "a)", "*a", "a{3,1}", "a\\", "(?:", "^[a-z+$", "(?<=a))"]
FOREIGN = [r"^\p{L}+$", "(?<name>a)", "[^]*", "a[]", "(?<=a*)b", r"\u{1F600}", r"\cA", r"[\w-.]", "a{2}{3}", "a(?i)b"]


@pytest.mark.parametrize("pattern", BROKEN)
@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (lambda it: {"type": "string", "pattern": it}, "#/pattern"),
        (lambda it: {"type": "object", "patternProperties": {it: {}}}, "#/patternProperties/"),
        (lambda it: {"type": "object", "propertyNames": {"pattern": it}}, "#/propertyNames/pattern"),
        (lambda it: {"type": "string", "not": {"anyOf": [{"pattern": it}]}}, "#/not/anyOf/0/pattern"),
        (lambda it: {"$defs": {"a/b": {"items": {"pattern": it}}}}, "#/$defs/a~1b/items/pattern"),
    ],
)
def test_a_pattern_that_is_no_regular_expression_is_refused_with_its_place(
    pattern: str, schema: Callable[[str], Any], place: str
) -> None:
    with pytest.raises(InputRefusedError, match="is no regular expression") as refused:
        loosened(schema(pattern))
    assert place in refused.value.message


@pytest.mark.parametrize("pattern", FOREIGN)
def test_a_pattern_of_another_language_is_taken_and_nothing_is_told_that_it_would_have_to_decide(pattern: str) -> None:
    assert not loosened({"type": "string", "pattern": pattern}).told
    for schema in ({"not": {"pattern": pattern}}, {"if": {"pattern": pattern}, "then": False}):
        with pytest.raises(ValueError, match="cannot be read"):
            problems_of(schema, '"x"')
    assert problems_of({"pattern": pattern}, '"x"') == []
    found = loosened({"type": "object", "patternProperties": {pattern: {}}}, Doubts(lambda _: False))
    assert (found.checked, "neither enforced nor checked" in found.told[0]["message"]) == (False, True)


def test_names_of_properties_and_annotations_are_no_patterns() -> None:
    schema = {
        "type": "object",
        "properties": {"pattern": {"type": "string", "x-hint": {"pattern": "["}}},
        "default": {"pattern": "["},
    }
    assert not loosened(schema).told


@pytest.mark.parametrize("schema", [{"type": "string", "format": ["x"]}, {"type": "string", "format": {"a": 1}}])
def test_a_format_that_is_no_name_is_left_to_who_refuses_it(schema: dict[str, Any]) -> None:
    found = loosened(schema)
    assert (found.schema, found.told) == (schema, ())


@pytest.mark.parametrize("schema", [{"$schema": {}, "uniqueItems": True}, {"$schema": [], "uniqueItems": True}])
def test_a_draft_that_is_no_name_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InputRefusedError, match=r"it is none, at #/\$schema"):
        loosened(schema)


@pytest.mark.parametrize(("pattern", "checked"), [("^a(?=b)", True), (r"^\p{L}(?=b)", False)])
def test_a_pattern_that_nothing_here_reads_is_not_said_to_be_checked(pattern: str, checked: bool) -> None:
    found = loosened({"type": "string", "pattern": pattern}, Doubts(lambda _: False))
    assert (found.schema, found.checked) == ({"type": "string"}, checked)
    (told,) = found.told
    assert ("neither enforced nor checked" in told["message"]) is not checked


def test_an_all_of_that_is_no_list_is_not_read_as_one() -> None:
    either = [{"type": "string"}, {"type": "null"}]
    found = loosened({"oneOf": either, "anyOf": [{}], "allOf": 5}, Doubts(lambda _: True))
    assert found.schema["allOf"] == 5
    with pytest.raises(InputRefusedError, match="#/allOf"):
        loosened({"oneOf": either, "anyOf": [{}], "allOf": 5}, Doubts(lambda _: True, any_of=True))


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"type": "integer"}, "unused": {"$ref": "#/$defs/none"}}},
        {"if": {"$ref": "#here"}, "then": {}, "$defs": {"a": {"$anchor": "here", "type": "integer"}}},
        {"not": {"$ref": "#/$defs/a%25b~1c"}, "$defs": {"a%b/c": True}},
        {"properties": {"$ref": {"type": "string"}}, "const": {"$ref": "#/none"}},
        {"$ref": "#"},
        {"x-more": {"$ref": "#/none"}, "type": "object"},
    ],
)
def test_a_reference_to_what_is_there_or_that_is_none_is_no_fault(schema: dict[str, Any]) -> None:
    assert reference_to_nothing(schema) is None


@pytest.mark.slow
def test_references_are_followed_to_one_that_leads_to_nothing() -> None:
    schema = {
        "not": {"$ref": "#/$defs/a"},
        "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"else": {"$ref": "#c"}}},
    }
    assert reference_to_nothing(schema) == ("#/$defs/b/else/$ref", "#c")
