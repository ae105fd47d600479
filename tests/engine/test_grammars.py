"""Answers constrained by a form: what is allowed, what is refused and how, and what it costs beside others."""

from __future__ import annotations

import asyncio
import ctypes
import json
import math
import os
import random
import re
import signal
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, Literal

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from llmops_tui.chat_format import CallFormat, Marks
from llmops_tui.chat_format.record import Gap
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.constraint_checker import ConstraintChecker
from llmops_tui.inference.constraints import Held, enforced
from llmops_tui.inference.gbnf import gbnf_to_lark
from llmops_tui.inference.schema_recursion import endless_part
from tests.engine.constraints import HOSTILE, hostile_form, nested, random_schema
from tests.engine.engines import MODEL, SCHEMA, Bench, questions
from tests.waiting import wait_for

SLOWLY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PROMPT = "<|im_start|>user\nWhen are you open?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    return Bench(parallel=8)


def schema_form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"schema": schema}}


def gbnf(text: str) -> dict[str, Any]:
    return {"type": "grammar", "grammar": text}


def allows(bench: Bench, form: dict[str, Any], text: str) -> bool:
    """Whether a whole answer may be this text, spelled in the model's own tokens."""
    matcher = bench.matcher(form)
    for token in bench.native.tokenize(text, add_special=False, parse_special=False):
        if token not in matcher.allowed():
            return False
        matcher.take(token)
    return matcher.finished or any(matcher.ends(int(t)) for t in matcher.allowed())


def refusal(bench: Bench, form: dict[str, Any]) -> InputRefusedError | None:
    try:
        bench.matcher(form)
    except InputRefusedError as error:
        return error
    return None


def held(bench: Bench, schemas: list[Any], *, tokens: int) -> None:
    """Answers at temperature 2, each held to its schema: valid, or cut off by their length."""
    prompts = questions(20)
    names = [
        bench.submit(
            prompts[seed % 20],
            form=schema_form(schema),
            parameters={"max_tokens": tokens, "temperature": 2.0, "seed": seed},
        )
        for seed, schema in enumerate(schemas)
    ]
    answers = bench.run()
    whole = 0
    for name, schema in zip(names, schemas, strict=True):
        answer = answers[name]
        assert answer.error is None, schema
        assert "\N{REPLACEMENT CHARACTER}" not in answer.text
        if answer.result["finish_reason"] == "stop":
            whole += 1
            value = json.loads(answer.text)
            jsonschema.validate(value, schema)
            json.dumps(value).encode().decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16")
    assert whole > len(schemas) / 2


def test_text_held_to_a_schema_is_valid(bench: Bench) -> None:
    held(bench, [SCHEMA] * 20, tokens=200)


def test_text_held_to_any_schema_is_valid(bench: Bench) -> None:
    held(bench, [random_schema(random.Random(seed)) for seed in range(40)], tokens=120)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_text_held_to_a_schema_is_valid_for_500_seeds_and_400_schemas() -> None:
    bench = Bench(parallel=8)
    held(bench, [SCHEMA] * 500, tokens=200)
    held(bench, [random_schema(random.Random(seed)) for seed in range(1000, 1400)], tokens=200)


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "integer", "minimum": -3, "maximum": 12}, ["-3", "0", "12"], ["-4", "13", "1.5", "012"]),
        ({"type": "number", "minimum": 0.5, "exclusiveMaximum": 2}, ["0.5", "1.99", "1"], ["0.4", "2", "2.0"]),
        ({"type": "integer", "multipleOf": 7}, ["0", "21", "-14"], ["22", "1"]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', '"äöü"', '"日本"'], ['"a"', '"abcd"', '"äöüß"']),
        ({"type": "string", "pattern": "^(a+)+$"}, ['"aaa"'], ['"aab"', '""']),
        ({"enum": [1, "one", None, {"a": [1]}]}, ["1", '"one"', "null", '{"a": [1]}'], ["2", '"two"', '{"a":[1]}']),
        ({"type": "array", "items": {"type": "boolean"}, "maxItems": 2}, ["[]", "[true, false]"], ["[true, false, true]"]),
        ({"type": ["integer", "null"]}, ["3", "null"], ["true", '"3"']),
        ({"properties": {"a": {}, "b": {}}, "type": "object", "required": ["a", "b"]}, ['{"a": 1, "b": 2}'], ['{"b": 2, "a": 1}']),
        ({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {}}}}}, ["{}", '{"a": {"b": 1}}'], ['{"c": 1}', '{"a": {"c": 1}}']),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "null"}}, ['{"a": 1, "c": null}'], ['{"c": 1}']),
        ({"type": "object", "properties": {"a": {}}, "required": ["b"]}, ['{"b": 1}', '{"a": 1, "b": 2}'], ["{}", '{"a": 1}']),
        ({"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"y": {}}, "required": ["y"]}], "$defs": {"a": {"type": "object", "properties": {"x": {}}}}}, ['{"x": 1, "y": 2}'], ['{"x": 1}']),
        ({"$ref": "#/$defs/a", "required": ["y"], "$defs": {"a": {"type": "object", "properties": {"x": {}}}}}, ['{"y": 2}'], ["{}"]),
        ({"type": "object", "propertyNames": {"type": "string", "title": "Name"}, "additionalProperties": {"type": "number"}}, ["{}", '{"a": 1.5, "b c": 2}'], ['{"a": "x"}']),
        ({"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "number"}, "required": ["b"]}, ['{"a": 1, "b": 2}', '{"b": 2}'], ['{"b": 2, "c": 3}', '{"a": 1}', '{"b": "x"}']),
        ({"type": "object", "propertyNames": {"pattern": "^[a-c]+$"}, "additionalProperties": {"type": "boolean"}}, ["{}", '{"ab": true, "c": false}'], ['{"d": true}', '{"ab": 1}']),
        ({"type": "object", "propertyNames": {"pattern": "b"}}, ['{"abc": 1}'], ['{"ac": 1}']),
        ({"type": "object", "propertyNames": {"minLength": 2, "maxLength": 3}}, ['{"ab": 1, "xyz": "z"}'], ['{"a": 1}', '{"abcd": 1}']),
        ({"type": "object", "propertyNames": {"$ref": "#/$defs/a"}, "$defs": {"a": {"const": "k", "type": "string"}}}, ['{"k": 1}'], ['{"j": 1}']),
        ({"type": "object", "properties": {"a": {"type": "null"}, "x": {}}, "propertyNames": {"enum": ["b", "a"]}}, ['{"a": null, "b": 1}'], ['{"a": 1}', '{"x": 1}']),
        ({"type": "array", "items": {"allOf": [{"propertyNames": {"enum": ["a", "b"]}}, {"type": "object", "required": ["a"]}]}}, ['[{"a": 1}]'], ['[{"a": 1, "c": 2}]', "[{}]"]),
        ({"type": "object", "properties": {"propertyNames": {"type": "null"}}}, ['{"propertyNames": null}'], ['{"a": 1}']),
        ({"type": "string", "format": "date"}, ['"2026-02-28"'], ['"2026-2-28"']),
        ({"type": "string"}, ['"a\\n\\u001f\\"\\\\"'], ['"a\nb"', '"\\ud800"', '"a\x01"']),
        ({"type": "object"}, ["{}", '{"a": {"b": [1, "x"]}}'], ["[]", "{ }", '{"a":1}', '{"a": 1} ']),
    ],
)  # fmt: skip
def test_a_schema_allows_what_it_means_in_one_layout(
    bench: Bench, schema: Any, right: list[str], wrong: list[str]
) -> None:
    for text in right:
        assert allows(bench, schema_form(schema), text), text
    for text in wrong:
        assert not allows(bench, schema_form(schema), text), text


LARGEST = 2**53 - 1
FEW = settings(SLOWLY, max_examples=25)
WHOLE = st.integers(-LARGEST, LARGEST) | st.sampled_from([LARGEST, -LARGEST, 10**15, 0, LARGEST - 1])


@FEW
@given(WHOLE, WHOLE)
def test_whole_numbers_come_out_as_they_are_in_the_schema(bench: Bench, number: int, other: int) -> None:
    assert allows(bench, schema_form({"const": number}), str(number))
    assert not allows(bench, schema_form({"const": number}), str(number + 1))
    within = schema_form({"enum": [{"a": [number]}, other]})
    assert allows(bench, within, f'{{"a": [{number}]}}')
    assert allows(bench, within, str(other))
    low, high = sorted([number, other])
    for bounds, least, most in [
        ({"minimum": low, "maximum": high}, low, high),
        ({"exclusiveMinimum": low - 1, "exclusiveMaximum": high + 1}, low, high),
        ({"minimum": number, "maximum": number}, number, number),
    ]:
        if any(abs(bound) > LARGEST for bound in bounds.values()):
            continue
        form = schema_form({"type": "integer", **bounds})
        assert allows(bench, form, str(least))
        assert allows(bench, form, str(most))
        assert not allows(bench, form, str(least - 1))
        assert not allows(bench, form, str(most + 1))


@FEW
@given(
    st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1e4, 1e4) | st.sampled_from([0.1, 1e15, 1e15 + 0.5])
)
def test_a_decimal_comes_out_as_it_is_or_is_refused_by_its_place(bench: Bench, number: float) -> None:
    form = schema_form({"const": number})
    if (refused := refusal(bench, form)) is not None:
        assert refused.code == "schema_invalid"
        assert f"#/const is {number}" in refused.message
        return
    matcher = bench.matcher(form)
    text = b""
    while (tokens := [int(t) for t in matcher.allowed() if not matcher.ends(int(t))]) and not matcher.finished:
        matcher.take(tokens[0])
        text += bench.native.piece(tokens[0])
    assert json.loads(text) == number


@FEW
@given(st.integers(1, 3000) | st.integers(1, 3000).map(lambda n: n / 100), st.integers(0, 3000))
def test_multiples_are_counted_exactly(bench: Bench, step: float, count: int) -> None:
    exact = Fraction(repr(step))
    form = schema_form({"allOf": [{"type": "number", "multipleOf": step}, {"multipleOf": 0.5}]})
    common = math.lcm(int(exact * 100), 50)
    if (refused := refusal(bench, form)) is not None:
        assert "too many digits" in refused.message
        return
    try:
        assert allows(bench, form, written(Fraction(common * count, 100)))
        assert not allows(bench, form, written(Fraction(common * count + 1, 100)))
    except InputRefusedError as error:
        # Both at once, such as 26.47 and 0.5, may be more than the library's limits allow; that is told by name.
        if error.code != "grammar_too_costly":
            raise


def written(number: Fraction) -> str:
    """A number of hundredths."""
    return f"{float(number):.2f}".rstrip("0").rstrip(".")


BIG = 2**53 + 1


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"const": BIG}, "#/const is 9007199254740993"),
        ({"const": -BIG}, "#/const is -9007199254740993"),
        ({"const": 2**63}, "#/const"),
        ({"enum": ["a", {"b": [1, 12345678901234567891]}]}, "#/enum/1/b/1 is 12345678901234567891"),
        ({"type": "integer", "multipleOf": -(10**4200)}, "#/multipleOf: -1000"),
        ({"const": 123456789012345.67}, "#/const is 123456789012345.67"),
        ({"type": "array", "items": {"type": "object", "properties": {"const": {"const": BIG}}}}, "#/items/properties/const/const"),
        ({"type": "object", "properties": {"default": {"enum": [BIG]}}}, "#/properties/default/enum/0"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a~1b"}], "$defs": {"a/b": {"const": BIG}}}, "#/[$]defs/a~1b/const"),
        ({"$ref": "#/default", "default": {"const": BIG}}, "#/default/const"),
        ({"$ref": "#/components/x", "components": {"x": {"const": BIG}}}, "#/components/x/const"),
    ],
)  # fmt: skip
def test_a_number_that_would_come_out_as_another_is_refused_by_its_place(schema: Any, place: str) -> None:
    with pytest.raises(InputRefusedError, match=place) as caught:
        enforced(schema_form(schema))
    assert caught.value.code == "schema_invalid"
    with pytest.raises(InputRefusedError, match=place.replace("#", "")) as caught:
        enforced(tools_form([{"name": "f", "parameters": as_argument(schema)}]))
    assert caught.value.code == "schema_invalid"


def as_argument(schema: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a function with one argument; what it refers to stays where it is found."""
    parts = {name: schema[name] for name in ("$defs", "default", "components") if name in schema}
    argument = {name: value for name, value in schema.items() if name not in parts}
    return {"type": "object", "properties": {"x": argument}, **parts}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "integer", "minimum": 10**20, "maximum": 10**20 + 5}, "#/minimum is 100000000000000000000"),
        ({"type": "integer", "minimum": -(2**63)}, "#/minimum"),
        ({"type": "integer", "maximum": 2**63 - 1}, "#/maximum"),
        ({"type": "integer", "exclusiveMaximum": 2**64}, "#/exclusiveMaximum"),
        ({"type": "integer", "exclusiveMinimum": 1e19}, "#/exclusiveMinimum is 1e[+]19"),
        ({"type": "number", "minimum": 5e-324, "maximum": 1}, "#/minimum is 5e-324"),
        ({"type": "integer", "multipleOf": 2**32 - 1}, "#/multipleOf is 4294967295"),
        ({"type": "integer", "multipleOf": 10**400}, "#/multipleOf is 1000"),
        ({"type": "number", "multipleOf": 1e308}, "#/multipleOf is 1e[+]308"),
        ({"type": "integer", "maximum": 10**400}, "#/maximum is 1000"),
        ({"allOf": [{"type": "integer", "multipleOf": 70001}, {"multipleOf": 70003}]}, "common multiples"),
    ],
)  # fmt: skip
def test_a_bound_that_would_be_another_is_left_to_the_check_and_told_by_its_place(schema: Any, place: str) -> None:
    found = enforced(schema_form(schema))
    assert any(re.search(place, one["message"]) for one in found.told)
    assert found.checked
    assert enforced(tools_form([{"name": "f", "parameters": as_argument(schema)}])).told[0]["tool"] == "f"


def test_numbers_that_hold_nobody_are_left_alone(bench: Bench) -> None:
    schema = {
        "type": "object",
        "title": str(BIG),
        "default": {"x": BIG},
        "examples": [BIG],
        "properties": {"const": {"type": "integer", "default": BIG}, "enum": {"const": str(BIG)}},
        "required": ["const"],
    }
    assert allows(bench, schema_form(schema), f'{{"const": {BIG}, "enum": "{BIG}"}}')


def tools_form(functions: list[dict[str, Any]], begin: str = "", end: str = "", **more: Any) -> dict[str, Any]:
    """Calls of functions, one of which has to be made, as objects between marks."""
    pieces = (f"{begin}\n", Gap("arguments"), f"\n{end}") if begin else ("", Gap("arguments"), "")
    calls = asdict(CallFormat("object", Marks(), pieces, "\n"))
    form = {"type": "tools", "functions": functions, "calls": calls, "opening": "", "required": True, "several": False}
    return form | more


@pytest.mark.parametrize("more", [{}, {"parameters": None}, {"parameters": {}}])
def test_a_function_that_declares_no_parameters_is_called_with_none(bench: Bench, more: dict[str, Any]) -> None:
    form = tools_form([{"name": "now", **more}])
    assert allows(bench, form, '{"name": "now", "arguments": {}}')
    assert not allows(bench, form, '{"name": "now", "arguments": {"type": "function"}}')


@SLOWLY
@given(
    st.text(max_size=60)
    | st.sampled_from(['"::=" (root) {x}', "</tool_call>\n", "<tool_call>", '\\u0000"', "日本🦊{[("]),
    st.sampled_from(["string", "integer", "boolean"]),
)
def test_the_wording_of_a_description_changes_nothing(bench: Bench, wording: str, kind: str) -> None:
    plain = {"type": "object", "properties": {"x": {"type": kind}}, "required": ["x"], "additionalProperties": False}
    told = {
        **plain,
        "title": wording,
        "description": wording,
        "properties": {"x": {"type": kind, "description": wording, "examples": [wording]}},
    }
    values = {"string": '"x"', "integer": "3", "boolean": "true"}
    for schema in (plain, told):
        function = {"name": "f", "description": wording, "parameters": schema}
        tools = tools_form([function], "<tool_call>", "</tool_call>", several=True)
        for name, value in values.items():
            text = f'{{"x": {value}}}'
            assert allows(bench, schema_form(schema), text) == (name == kind)
            call = f'<tool_call>\n{{"name": "f", "arguments": {text}}}\n</tool_call>'
            assert allows(bench, tools, call) == (name == kind)


class Place(BaseModel):
    street: str
    near: list[Place] = []


class Order(BaseModel):
    place: Place
    count: Literal[1, 2]


def test_the_parameters_of_a_tool_may_refer_to_their_own_definitions(bench: Bench) -> None:
    """As every model of pydantic with another inside does."""
    parameters = Order.model_json_schema()
    assert "$defs" in parameters
    form = tools_form([{"name": "order", "parameters": parameters}])
    for near in ([], [{"street": "b", "near": []}]):
        call = {"name": "order", "arguments": {"place": {"street": "a", "near": near}, "count": 2}}
        assert allows(bench, form, json.dumps(call))
    assert not allows(bench, form, json.dumps({"name": "order", "arguments": {"place": {"near": []}, "count": 2}}))
    # What is no schema stays as it is, and what refers to the whole refers to the whole of the parameters.
    odd = {"properties": {"$ref": {"const": {"$ref": "#/x"}}, "again": {"$ref": "#"}}}
    form["functions"] = [{"name": "f", "parameters": odd}]
    assert allows(bench, form, '{"name": "f", "arguments": {"$ref": {"$ref": "#/x"}, "again": {"again": {}}}}')


def test_tools_hold_after_their_mark_or_from_the_first_token(bench: Bench) -> None:
    functions = [{"name": "f", "parameters": {"type": "object", "properties": {}}}]
    tools = tools_form(functions, "<tool_call>", "</tool_call>", required=False, several=True)
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    for text in ("", "Any text, even {\n<", call, f"Wait.\n{call}", f"{call}\n{call}"):
        assert allows(bench, tools, text), text
    for text in ("<tool_call>", "Yes <tool_call>no", call.replace('"f"', '"g"'), f"{call} and more"):
        assert not allows(bench, tools, text), text
    once = tools | {"several": False}
    assert allows(bench, once, call)
    assert not allows(bench, once, f"{call}\n{call}")
    must = tools | {"required": True}
    assert allows(bench, must, call)
    assert allows(bench, must, f"{call}\n{call}")
    assert not allows(bench, must, "Any text")
    listed = must | {
        "calls": asdict(CallFormat("object", Marks("[TOOL_CALLS]"), ("", Gap("arguments"), ""), ", ", listed=True))
    }
    assert allows(bench, listed, '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "f", "arguments": {}}]')
    assert not allows(bench, listed, '[TOOL_CALLS]{"name": "f", "arguments": {}}')
    single = listed | {"several": False}
    assert allows(bench, single, '[TOOL_CALLS][{"name": "f", "arguments": {}}]')
    assert not allows(bench, single, '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "f", "arguments": {}}]')
    assert allows(bench, tools_form(functions), '{"name": "f", "arguments": {}}')
    assert enforced(tools_form(functions, required=False)).grammar == ""
    assert bench.ask(PROMPT, form=tools).text.startswith("We are open Monday")
    begun = f"{PROMPT}<tool_call>\n"
    answer = bench.ask(begun, form=tools_form(functions), parameters={"max_tokens": 60})
    assert re.fullmatch(r'{"name": "f", "arguments": {.*}}', answer.text)


def test_masks_are_those_of_the_librarys_own_package(bench: Bench) -> None:
    import llama_cpp
    import llguidance

    native = bench.native
    tokens = [native.piece(t) or b"\xff" + native.raw_piece(t) for t in range(native.n_vocab)]
    fptr = ctypes.cast(llama_cpp.llama_tokenize, ctypes.c_void_p).value
    theirs = llguidance.LLTokenizer.from_llamacpp(
        tokens=tokens, vocab_ptr=native.vocab, tokenize_fptr=fptr, eos_token=sorted(native.ends), slices=None
    )
    rng = random.Random(5)
    compared = 0
    for form in [schema_form(random_schema(rng)) for _ in range(20)] + [gbnf(JSON_GBNF), gbnf('root ::= "a"* | .{3}')]:
        ours, reference = bench.matcher(form), llguidance.LLMatcher(theirs, enforced(form).grammar)
        mask = np.zeros((native.n_vocab + 31) // 32 * 4, np.uint8)
        for _ in range(30):
            reference.unsafe_compute_mask_ptr(mask.ctypes.data, mask.size)
            expected = np.flatnonzero(np.unpackbits(mask, count=native.n_vocab, bitorder="little"))
            assert ours.allowed().tolist() == expected.tolist()
            compared += 1
            token = rng.choice(expected.tolist())
            ours.take(token)
            reference.consume_token(token)
            assert ours.finished == reference.is_stopped()
            if ours.finished:
                break
    assert compared > 100


def test_a_library_without_its_interface_is_refused_and_a_vocabulary_that_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from llmops_tui.inference.engine import guidance

    with pytest.raises(ValueError, match="out of range"):
        guidance.Tokenizer([b"a", b"b"], [2])
    guidance._library.cache_clear()
    monkeypatch.setattr(guidance, "find_spec", lambda _name: SimpleNamespace(origin="/nowhere/_lib.so"))
    with pytest.raises(LlmopsError, match="not a supported version: /nowhere") as refused:
        guidance.Tokenizer([b"a", b"b"], [1])
    assert refused.value.code == "grammar_unsupported"
    guidance._library.cache_clear()


def test_a_mark_that_is_a_control_token_is_text_to_its_grammar() -> None:
    bench = Bench(visible=("<|im_start|>",))
    mark = bench.native.tokenize("<|im_start|>", add_special=False)
    assert len(mark) == 1
    matcher = bench.matcher(gbnf('root ::= "<|im_start|>" "yes"'))
    assert mark[0] in matcher.allowed()
    assert mark[0] not in Bench().matcher(gbnf('root ::= "<|im_start|>" "yes"')).allowed()


def test_log_probabilities_of_a_held_answer_are_those_of_the_model(bench: Bench) -> None:
    text = '{"intent": "hours"'
    answer = bench.ask(PROMPT, form=gbnf(f"root ::= {json.dumps(text)}"), logprobs=2)
    assert answer.text == text
    ids = [t[0] for t in answer.tokens]
    given = bench.native.tokenize(PROMPT, add_special=False)
    scored = bench.ask([*given, *ids], score_from=len(given), logprobs=2, parameters={"max_tokens": 0}).scored
    for held_token, free in zip(answer.tokens, scored[len(given) :], strict=True):
        assert held_token[2] == pytest.approx(free[2], abs=0.05)
    assert min(t[2] for t in answer.tokens) < -1


def test_an_answer_ends_where_its_form_does_and_goes_on_where_it_may(bench: Bench) -> None:
    ended = bench.ask(PROMPT, form=gbnf('root ::= "yes" | "no"'), ignore_eos=True)
    assert ended.text in {"yes", "no"}
    assert ended.result["finish_reason"] == "stop"
    longer = bench.ask(PROMPT, form=gbnf("root ::= [a-z ]*"), ignore_eos=True, parameters={"max_tokens": 40})
    assert longer.result == longer.result | {"finish_reason": "length", "completion_tokens": 40}
    stopped = bench.ask(PROMPT, form=gbnf('root ::= "one two three"'), parameters={"stop": ["two"]})
    assert (stopped.text, stopped.result["finish_reason"]) == ("one ", "stop")
    biased = bench.ask(
        PROMPT,
        form=gbnf('root ::= "a"+ | "b"+'),
        parameters={"logit_bias": {bench.native.tokenize("a", add_special=False)[0]: 50}},
    )
    assert set(biased.text) == {"a"}


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_form_that_cannot_be_held_is_refused_by_name(step: int) -> None:
    checker = ConstraintChecker(str(MODEL), [])

    async def outcome(form: dict[str, Any]) -> str:
        try:
            return "" if (await checker.held(form)).grammar else "nothing to hold to"
        except InputRefusedError as error:
            told = len(error.message) < 500 and error.message.isprintable()
            return error.code if told else f"said badly: {error.message!r}"

    async def all_of_them() -> dict[str, str]:
        return {name: await outcome(form) for name, (form, _) in list(HOSTILE.items())[::step]}

    found = asyncio.run(all_of_them())
    checker.close()
    for name, code in found.items():
        assert code in HOSTILE[name][1].split("|"), name


@pytest.mark.slow
def test_a_costly_form_ends_no_process_and_a_lost_process_is_replaced() -> None:
    checker = ConstraintChecker(str(MODEL), [])
    assert asyncio.run(checker.held({"type": "json_object"})).grammar
    first = checker.pid
    assert first is not None
    # The time or the compiler's own limit, whichever a machine meets first.
    with pytest.raises(InputRefusedError, match="too costly to enforce") as refused:
        asyncio.run(checker.held(HOSTILE["and"][0]))
    assert refused.value.code == "grammar_too_costly"
    assert checker.pid == first
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: checker.pid is None)
    assert asyncio.run(checker.held({"type": "json_object"})).grammar
    assert checker.pid is None  # that form was known
    assert asyncio.run(checker.held(gbnf('root ::= "x"'))).grammar
    assert checker.pid not in {None, first}
    assert asyncio.run(checker.held(None)) == asyncio.run(checker.held({"type": "text"})) == Held()
    with pytest.raises(InputRefusedError, match="'xml' is not known"):
        asyncio.run(checker.held({"type": "xml"}))
    checker.close()


def test_a_form_that_becomes_too_costly_ends_its_own_request_alone(bench: Bench) -> None:
    form = gbnf('root ::= [a-z ]{40} e\ne ::= e e | e e e | [a-z ] | ""')
    alone = bench.ask(PROMPT, parameters={"max_tokens": 24})
    costly = bench.submit(PROMPT, form=form, parameters={"max_tokens": 200, "temperature": 1.0, "seed": 1})
    beside = bench.submit(PROMPT, parameters={"max_tokens": 24})
    answers = bench.run()
    assert answers[costly].error is not None
    assert answers[costly].error["code"] == "grammar_too_costly"
    assert answers[beside].text == alone.text


# GBNF, against a reading of its own.

_LETTERS = "ab]"


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, str]:
    """An expression as GBNF, and the same as a pattern of :mod:`re`."""
    kind = draw(st.sampled_from(["text", "class", "any"] + (["all", "alt", "times"] if depth else [])))
    if kind == "text":
        text = draw(st.text(_LETTERS + "\n", max_size=2))
        return json.dumps(text), re.escape(text)
    if kind == "class":
        negated = draw(st.booleans())
        inside = draw(
            st.sampled_from([("a-b", "a-b"), ("\\]a", "\\]a"), ("&&b", "&b"), ("\\u0061", "a"), ("a-", "a\\-")])
        )
        return f"[{'^' * negated}{inside[0]}]", f"[{'^' * negated}{inside[1]}]"
    if kind == "any":
        return ".", "(?s:.)"
    parts = [draw(expressions(depth - 1)) for _ in range(draw(st.integers(1, 3)))]
    if kind == "all":
        return f"({' '.join(p for p, _ in parts)})", f"(?:{''.join(q for _, q in parts)})"
    if kind == "alt":
        return f"({' | '.join(p for p, _ in parts)})", f"(?:{'|'.join(q for _, q in parts)})"
    sign = draw(st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}"]))
    return f"({parts[0][0]}){sign}", f"(?:{parts[0][1]}){sign}"


@SLOWLY
@given(expressions(), st.text(_LETTERS + "\n&-", max_size=4))
def test_grammars_without_recursion_allow_just_what_they_say(bench: Bench, pair: tuple[str, str], text: str) -> None:
    grammar, pattern = pair
    # The rule's own name and case mean nothing, and rules may stand in any order.
    form = gbnf(f"root ::= Some-Rule # a comment\n\nsome-rule ::= root\nSome-Rule ::= {grammar}\n")
    assert allows(bench, form, text) == (re.fullmatch(pattern, text) is not None)


JSON_GBNF = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""


def test_grammars_that_refer_to_themselves_are_held(bench: Bench) -> None:
    for text in ('{"a": [1, {"b": null}], "c": "d"}', "{}", '{"a":1}\n'):
        assert allows(bench, gbnf(JSON_GBNF), text), text
    for text in ('{"a": }', '{"a": 1', "[1]", '{"a": 01}'):
        assert not allows(bench, gbnf(JSON_GBNF), text), text
    nested = gbnf('root ::= "(" root ")" | root "+" root | [0-9]+')
    assert allows(bench, nested, "((1)+23)")
    assert not allows(bench, nested, "((1)+23")
    for seed in range(4):
        answer = bench.ask(
            PROMPT, form=gbnf(JSON_GBNF), parameters={"temperature": 1.5, "seed": seed, "max_tokens": 200}
        )
        if answer.result["finish_reason"] == "stop":
            assert isinstance(json.loads(answer.text), dict)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("root ::= (", "line 1"), ("a ::= b", "no rule named root"), ("root ::= a", "names 'a'"), ('root ::= "a', "ends within"),
        ('root ::= "a"{5,0}', "the minimum 5 is larger"), ("root ::= []", "no character"), ("root ::= [b-a]", "is before its start"),
        ('root ::= "\\q"', "escape"), ('root ::= "a"\nroot ::= "b"', "second rule"), ("root ::= *", "no item before it"),
        ('root ::= "a"{x}', "a count is"), ("root ::= <think>", "tokens are not supported"), ('root ::= "a" )', "this is not GBNF"),
        ("root ::= " + "(" * 60_000, "nest deeper"), ('root ::= "a"{1000000}', "a count is at most"), ('root ::= "\\uD800"', "no such"),
    ],
)  # fmt: skip
def test_what_is_no_gbnf_is_told_with_its_place(text: str, why: str) -> None:
    with pytest.raises(InputRefusedError, match=why) as refused:
        gbnf_to_lark(text)
    assert refused.value.code == "grammar_invalid"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('root ::= "a" root', "'root' in line 1"), ("root ::= root", "'root' in line 1"),
        ('root ::= "a" | b\n\nb ::= "x" (c | b)+\nc ::= b{2}', "'b' in line 3"),
        ('# said first\nroot ::= "a" b? c\nb ::= "(" b ")" | "x"\nc ::= ("," c){1,3}', "'c' in line 4"),
    ],
)  # fmt: skip
def test_a_rule_without_any_text_that_ends_is_refused_by_name(text: str, rule: str) -> None:
    with pytest.raises(InputRefusedError, match=re.escape(f"the rule {rule} allows no finite text")) as refused:
        gbnf_to_lark(text)
    assert refused.value.code == "grammar_invalid"


@pytest.mark.parametrize(
    "text", ['root ::= "a" root?', 'root ::= ("a" root)* "b"', 'root ::= "a"\nb ::= b', 'root ::= root | ""']
)
def test_a_rule_that_may_end_is_taken(text: str) -> None:
    assert gbnf_to_lark(text).startswith("start: ")


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}


@pytest.mark.parametrize(
    ("schema", "endless"),
    [
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "#"),
        ({"$ref": "#/$defs/node", "$defs": {"node": NODE | {"required": ["next"]}}}, "#/$defs/node"),
        ({"$ref": "#/$defs/node", "$defs": {"node": NODE}}, ""),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1}}}, "#/$defs/a"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}}, ""),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"type": "null"}, {"type": "array", "prefixItems": [{"$ref": "#/$defs/a"}], "minItems": 1}]}}}, ""),
        ({"$ref": "#/$defs/a/b", "$defs": {"a/b": {"$ref": "#"}}}, ""),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"$ref": "#"}}}, "#/$defs/a~1b"),
        ({"enum": [{"$ref": "#"}]}, ""),
    ],
)  # fmt: skip
def test_a_schema_that_requires_itself_is_refused_by_name(schema: Any, endless: str) -> None:
    assert (endless_part(schema) or "") == endless


def test_a_reference_to_another_document_is_refused_as_that(bench: Bench) -> None:
    for address in ("https://json-schema.org/draft/2020-12/schema", "https://example.com/x.json#/a"):
        refused = refusal(bench, schema_form({"type": "object", "properties": {"a": {"$ref": address}}}))
        assert refused is not None
        assert f"{address!r} is another document" in refused.message
    named = {"$id": "https://example.com/x.json", "properties": {"$ref": {"type": "null"}}, "type": "object"}
    assert allows(bench, schema_form(named), '{"$ref": null}')


def test_refusals_speak_of_what_was_written() -> None:
    checker = ConstraintChecker(str(MODEL), [])

    def told(form: dict[str, Any]) -> InputRefusedError:
        with pytest.raises(InputRefusedError) as refused:
            asyncio.run(checker.held(form))
        assert "lark" not in refused.value.message.lower()
        return refused.value

    wide = {"allOf": [{"properties": {f"p{n}": {"enum": [n, k]} for n in range(100)}} for k in range(100)]}
    assert told(schema_form(wide)).code == "grammar_too_costly"
    assert "nests too deep" in told(schema_form({"allOf": [nested(200)]})).message
    endless = told(schema_form({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}))
    assert endless.code == "schema_invalid"
    assert "the JSON schema cannot be enforced" in told(schema_form({"type": "foo"})).message
    assert "line 2, column 7, at ')'" in told(gbnf("root ::= x\nx ::= )")).message
    checker.close()


def test_thirty_optionals_in_one_another_are_held(bench: Bench) -> None:
    regular, recursive = '"a"', "(root x)"
    for _ in range(30):
        regular, recursive = f'({regular} "b")?', f'({recursive} "b")?'
    for inner in (regular, f'{recursive}\nx ::= "c"'):
        assert allows(bench, gbnf(f"root ::= {inner}"), "")
        assert allows(bench, gbnf(f"root ::= {inner}"), "b")
        assert not allows(bench, gbnf(f"root ::= {inner}"), "ba")
    assert allows(bench, gbnf(f"root ::= {regular}"), "a" + "b" * 30)


def test_what_is_hostile_is_made_again_from_its_seed() -> None:
    assert [hostile_form(n) for n in range(50)] == [hostile_form(n) for n in range(50)]
