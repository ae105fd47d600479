from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.server.conversation import AnswerReader, ChatFormat, parse_calls, tool_constraint

THINKING = "{% if tools %}{{ tools }}{% endif %}<think> </think> <tool_call> </tool_call> {{ messages }}"
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'


def read(
    text: str, cuts: list[int], *, template: str = THINKING, prompt: str = "", tools: bool = True
) -> dict[str, Any]:
    """Feed ``text`` in pieces; all that came out, joined."""
    reader = AnswerReader(ChatFormat.of(template), prompt=prompt, tools=tools)
    places = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    deltas = [reader.feed(text[a:b]) for a, b in itertools.pairwise(places)] + [reader.finish()]
    calls = [c["function"] for d in deltas for c in d.tool_calls]
    return {
        "content": "".join(d.content for d in deltas),
        "reasoning": "".join(d.reasoning for d in deltas),
        "calls": calls,
    }


PIECES = st.sampled_from(
    ["Hello", "<think>", "</think>", "<tool_call>", "</tool_call>", CALL, "<", "<th", "{", "\n", "ü🦊", "<tool"]
)


@given(st.lists(PIECES, max_size=12).map("".join), st.lists(st.integers(0, 300), max_size=20))
def test_an_answer_reads_the_same_however_it_is_cut(text: str, cuts: list[int]) -> None:
    assert read(text, cuts) == read(text, [])


@given(st.text(max_size=200).filter(lambda t: "<" not in t), st.lists(st.integers(0, 300), max_size=20))
def test_text_without_marks_is_content_to_the_letter(text: str, cuts: list[int]) -> None:
    assert read(text, cuts) == {"content": text, "reasoning": "", "calls": []}


def test_reasoning_and_calls_are_taken_apart() -> None:
    whole = read(f"<think>\nhm</think>\nSure.{CALL}", [])
    assert whole["reasoning"].strip() == "hm"
    assert whole["content"] == "Sure."
    assert whole["calls"] == [{"name": "f", "arguments": '{"x": 1}'}]
    # Where the prompt itself opens the reasoning, the answer begins in it.
    assert read("hm</think>Yes.", [], prompt="...assistant\n<think>\n") == {
        "content": "Yes.",
        "reasoning": "hm",
        "calls": [],
    }
    assert read(CALL * 2, [])["calls"] == [{"name": "f", "arguments": '{"x": 1}'}] * 2


def test_what_is_no_call_stays_content() -> None:
    assert read("<tool_call>{broken</tool_call>", [])["content"] == "<tool_call>{broken</tool_call>"
    assert read("<tool_call>{never ends", [])["content"] == "<tool_call>{never ends"
    assert read(CALL, [], tools=False)["content"] == CALL
    assert read(CALL, [], template="{{ messages }}")["content"] == CALL


@pytest.mark.parametrize(
    ("template", "answer"),
    [
        ("{{ tools }}[TOOL_CALLS]", '[TOOL_CALLS][{"name": "f", "arguments": {"x": 1}}]'),
        ("{{ tools }}<|python_tag|>", '<|python_tag|>{"name": "f", "parameters": {"x": 1}}'),
        ("{{ tools }}", '{"name": "f", "parameters": {"x": 1}}'),
    ],
)
def test_other_families_of_calls(template: str, answer: str) -> None:
    for cuts in ([], list(range(len(answer)))):
        got = read(answer, cuts, template=template)
        assert [(c["name"], json.loads(c["arguments"])) for c in got["calls"]] == [("f", {"x": 1})]
    assert read("No call.", [], template=template)["content"] == "No call."


def test_calls_are_parsed_or_not_taken_for_any() -> None:
    assert parse_calls('{"name": "a", "arguments": "{}"} ; {"name": "b"}') == [("a", "{}"), ("b", "{}")]
    for text in ("", "[]", "1", '{"name": 1}', "[" * 100_000):
        assert parse_calls(text) == []


def test_tools_for_a_template_without_any_are_refused() -> None:
    with pytest.raises(InputRefusedError, match="knows no tools"):
        tool_constraint(ChatFormat.of("{{ messages }}"), [{"function": {"name": "f"}}], None, several=True)
