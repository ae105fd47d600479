from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.server.conversation import AnswerReader, ChatTemplate, tool_constraint
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.served_format import format_of
from llmops_tui.inference.server.template_features import variables_of
from tests.chat_format.styles import BEHIND_MARKS, CHANNELS, OBJECTS, PAIRS, RECIPIENTS

TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
# Shows marks of calls and of thinking, and writes neither.
PLAIN = "{% for m in messages %}<|begin|>{{ m.role }}\n{{ m.content }}<|finish|>\n{% endfor %}<|begin|>assistant\n"
SHOWING = "{% if tools %}{{ tools }}{% endif %}<think> </think> <tool_call> </tool_call>" + PLAIN


@pytest.fixture(autouse=True, scope="module")
def _read() -> None:
    """Reading a template takes longer than one example may."""
    format_of(OBJECTS)


def read(
    text: str, cuts: list[int], *, template: str = OBJECTS, prompt: str = "", tools: bool = True, cut: bool = False
) -> dict[str, Any]:
    """Feed ``text`` in pieces; all that came out, joined."""
    reader = AnswerReader(format_of(template), prompt=prompt, tools=[TOOL] if tools else [])
    places = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    deltas = [reader.feed(text[a:b]) for a, b in itertools.pairwise(places)] + [reader.finish(cut=cut)]
    calls = [c["function"] for d in deltas for c in d.tool_calls]
    return {
        "content": "".join(d.content for d in deltas),
        "reasoning": "".join(d.reasoning for d in deltas),
        "calls": calls,
    }


PIECES = st.sampled_from(
    [
        "Hello",
        CALL + "\n",
        "\n\n",
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        CALL,
        "<",
        "<th",
        "{",
        "\n",
        "ü🦊",
        "<tool",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join), st.lists(st.integers(0, 300), max_size=20))
def test_an_answer_reads_the_same_however_it_is_cut(text: str, cuts: list[int]) -> None:
    assert read(text, cuts) == read(text, [])


@given(st.text(max_size=200).filter(lambda t: "<" not in t), st.lists(st.integers(0, 300), max_size=20))
def test_text_without_marks_is_content_to_the_letter(text: str, cuts: list[int]) -> None:
    assert read(text, cuts) == {"content": text, "reasoning": "", "calls": []}


@pytest.mark.parametrize("template", [OBJECTS, SHOWING])
def test_reasoning_and_calls_are_taken_apart(template: str) -> None:
    whole = read(f"<think>\nhm</think>\nSure.{CALL}", [], template=template)
    assert whole["reasoning"] == "hm"
    assert whole["content"] == "Sure."
    assert whole["calls"] == [{"name": "f", "arguments": '{"x": 1}'}]
    # Where the prompt itself opens the reasoning, the answer begins in it.
    opened = read("hm</think>Yes.", [], template=template, prompt="...assistant\n<think>\n")
    assert opened == {"content": "Yes.", "reasoning": "hm", "calls": []}
    assert read(CALL * 2, [], template=template)["calls"] == [{"name": "f", "arguments": '{"x": 1}'}] * 2


def test_what_is_no_call_stays_content() -> None:
    assert read("<tool_call>{broken</tool_call>", [])["content"] == "<tool_call>{broken</tool_call>"
    assert read("<tool_call>{never ends", [])["content"] == "<tool_call>{never ends"
    assert read(CALL, [], tools=False)["content"] == CALL
    assert read(CALL, [], template=PLAIN)["content"] == CALL


@pytest.mark.parametrize("text", [f"{CALL}\n{CALL}", f"{CALL}\n{CALL}\n"])
def test_line_breaks_between_calls_are_no_content(text: str) -> None:
    for cuts in ([], list(range(len(text)))):
        assert read(text, cuts)["content"] == ""
    spoken = f"<think>a</think>\n\nSo: {CALL}\n\nand\n"
    for cuts in ([], list(range(len(spoken)))):
        assert read(spoken, cuts)["content"] == "So:\nand\n"


@pytest.mark.parametrize(
    ("text", "content", "calls", "required", "broken_off"),
    [
        (CALL, "", 1, True, False),
        (CALL + '\n<tool_call>\n{"name": "f", "argu', "", 1, False, True),
        ('<tool_call>\n{"name": "f", "argu', '<tool_call>\n{"name": "f", "argu', 0, False, True),
        ('<tool_call>\n{"name": "f", "arguments": {}}', "", 1, False, False),
        ("Sure.", "Sure.", 0, False, False),
        ("<tool", "<tool", 0, True, True),
        ("<tool_call>broken</tool_call>", "<tool_call>broken</tool_call>", 0, False, False),
    ],
)
def test_an_answer_that_ends_within_a_call_says_so(
    text: str, content: str, calls: int, required: bool, broken_off: bool
) -> None:
    for cuts in ([], list(range(len(text)))):
        reader = AnswerReader(format_of(OBJECTS), prompt="", tools=[TOOL], required=required)
        deltas = [reader.feed(text[a:b]) for a, b in itertools.pairwise([0, *cuts, len(text)])] + [reader.finish()]
        assert "".join(d.content for d in deltas) == content
        assert sum(len(d.tool_calls) for d in deltas) == calls
        assert reader.broken_off is broken_off


@pytest.mark.parametrize("half", ["<tool", "</thi", "<|fin"])
def test_half_a_mark_at_which_an_answer_was_cut_is_no_content(half: str) -> None:
    for cuts in ([], list(range(40))):
        assert read(f"So it is {half}", cuts, cut=True)["content"].rstrip() == "So it is"
        assert read(f"So it is {half}", cuts)["content"] == f"So it is {half}"
    call = '<tool_call>\n{"name": "f", "argu'
    assert read(call, [], cut=True) == {"content": "", "reasoning": "", "calls": []}
    assert read("<think>hm</thi", [], cut=True) == {"content": "", "reasoning": "hm", "calls": []}


def test_where_one_call_may_be_the_first_counts() -> None:
    reader = AnswerReader(format_of(OBJECTS), prompt="", tools=[TOOL], several=False)
    told = [call for delta in (reader.feed(CALL * 3), reader.finish()) for call in delta.tool_calls]
    assert [call["index"] for call in told] == [0]


@pytest.mark.parametrize(
    "arguments",
    [
        '{"x": 1234567890123456789, "y": 0.12345678901234567890, "z": 1e400}',
        '{"x" :1 ,"y":[ 1,\t2 ], "ü": "\\u00fc"}',
        "{}",
        '{"x": ' + "1" * 4000 + "}",
    ],
)
def test_arguments_are_passed_on_to_the_letter(arguments: str) -> None:
    one = CALL.replace('{"x": 1}', arguments)
    assert read(f"{one}\n{one}", [])["calls"] == [{"name": "f", "arguments": arguments}] * 2


@pytest.mark.parametrize(
    ("template", "answer"),
    [
        ("{{ tools }}[TOOL_CALLS]", '[TOOL_CALLS][{"name": "f", "arguments": {"x": 1}}]'),
        ("{{ tools }}<|python_tag|>", '<|python_tag|>{"name": "f", "parameters": {"x": 1}}'),
        ("{{ tools }}", '{"name": "f", "parameters": {"x": 1}}'),
    ],
)
def test_templates_that_write_no_calls_are_taken_by_what_they_show(template: str, answer: str) -> None:
    for cuts in ([], list(range(len(answer)))):
        got = read(answer, cuts, template=template)
        assert [(c["name"], json.loads(c["arguments"])) for c in got["calls"]] == [("f", {"x": 1})]
    assert read("No call.", [], template=template)["content"] == "No call."


def test_ids_that_models_write_are_theirs() -> None:
    reader = AnswerReader(format_of(BEHIND_MARKS), prompt="", tools=[TOOL])
    told = reader.feed('[TOOL_CALLS]f[CALL_ID]abc123def[ARGS]{"x": 1}').tool_calls + reader.finish().tool_calls
    assert [call["id"] for call in told] == ["abc123def"]


def test_marks_within_answers_are_made_visible_and_those_of_turns_are_not() -> None:
    assert format_of(OBJECTS).visible == ["<think>", "</think>", "<tool_call>", "</tool_call>"]
    assert set(format_of(PAIRS).visible) == {
        *("<think>", "</think>", "<call>", "</call>", "<key>", "</key>", "<value>", "</value>")
    }
    assert {"<|channel|>", "<|message|>", "<|end|>", "<|constrain|>"} <= set(format_of(CHANNELS).visible)
    assert format_of(None).visible == []


def test_tools_for_a_template_without_any_are_refused() -> None:
    with pytest.raises(InputRefusedError, match="knows no tools"):
        tool_constraint(format_of(PLAIN), [TOOL], None, several=True, prompt="")


@pytest.mark.parametrize("arguments", ['{"city": "Oslo", "days": [1, 2]}', "{}"])
def test_arguments_that_come_as_text_go_into_templates_as_they_want_them(arguments: str) -> None:
    async def facts() -> Any:
        return {"bos": "<s>", "eos": "</s>"}

    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    turns: list[Any] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "a"},
    ]
    for template, written in ((OBJECTS, json.dumps(json.loads(arguments))), (RECIPIENTS, arguments)):
        chat = ChatTemplate(template, facts)
        try:
            prompt = asyncio.run(chat.render(turns))
        finally:
            chat.close()
        assert written in prompt.text
        assert "\\" not in prompt.text


@pytest.mark.parametrize(
    "template",
    ["{{ messages[0].role }}" + PLAIN, "{% if not messages %}{{ raise_exception('no user') }}{% endif %}" + PLAIN],
)
def test_an_answer_to_nothing_is_refused_in_words_of_the_request(template: str) -> None:
    async def facts() -> Any:
        return {"bos": "<s>", "eos": "</s>"}

    begun: Any = {"role": "assistant", "content": "It "}
    chat = ChatTemplate(template, facts)
    try:
        with pytest.raises(FieldRefusedError, match=r"^messages: there is none before the assistant's") as refused:
            asyncio.run(chat.render([], begun=begun))
        assert refused.value.param == "messages"
        told: Any = [{"role": "user", "content": "Hi"}]
        assert asyncio.run(chat.render(told, begun=begun)).text.endswith("It ")
    finally:
        chat.close()


THINKER = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}<|end|>{% endfor %}<|assistant|>"
)
WRITES = "{{ 'Reasoning: ' + (reasoning_effort or 'medium') }}" + THINKER
REFUSES = (
    "{% if reasoning_effort and reasoning_effort not in ['no_think', 'low', 'high'] %}{{ raise_exception('no') }}{% endif %}"
    "{{ 'Effort ' + (reasoning_effort or 'high') }}" + THINKER
)
TURNED = THINKER + "{% if thinking %}<think>{% else %}</think>{% endif %}"
BOTH = (
    "{% if thinking and reasoning_effort == 'high' %}Think hard.{% elif thinking and reasoning_effort == 'max' %}Harder."
    "{% endif %}" + TURNED
)


@pytest.mark.parametrize(
    ("template", "effort", "variables"),
    [
        (WRITES, "low", {"reasoning_effort": "low"}),
        (WRITES, "high", {"reasoning_effort": "high"}),
        (WRITES, "minimal", None),
        (WRITES, "none", None),
        (REFUSES, "low", {"reasoning_effort": "low"}),
        (REFUSES, "none", {"reasoning_effort": "no_think"}),
        (REFUSES, "medium", {}),
        (REFUSES, "max", None),
        (TURNED, "none", {"thinking": False}),
        (TURNED, "minimal", {"thinking": False}),
        (TURNED, "medium", {}),
        (TURNED, "high", None),
        (BOTH, "max", {"reasoning_effort": "max", "thinking": True}),
        (BOTH, "none", {"thinking": False}),
        (BOTH, "low", None),
        (THINKER, "medium", {}),
        (THINKER, "none", None),
        (PLAIN, "high", {}),
    ],
)
def test_an_effort_is_the_templates_own_or_refused(
    template: str, effort: str, variables: dict[str, Any] | None
) -> None:
    chat = format_of(template)
    if variables is None:
        with pytest.raises(FieldRefusedError) as refused:
            variables_of(chat, {}, effort)
        assert refused.value.param == "reasoning_effort"
        # What it knows is named.
        assert all(level in refused.value.hint for switch in chat.answers.switches for level in switch.levels)
    else:
        assert variables_of(chat, {}, effort) == variables


def test_a_switch_of_another_family_turns_this_one_or_is_refused() -> None:
    assert variables_of(format_of(TURNED), {"enable_thinking": False}, None) == {"thinking": False}
    assert variables_of(format_of(TURNED), {"thinking": True}, None) == {"thinking": True}
    assert variables_of(format_of(REFUSES), {"enable_thinking": False}, None) == {"reasoning_effort": "no_think"}
    assert variables_of(format_of(PLAIN), {"enable_thinking": False}, None) == {}
    assert variables_of(format_of(THINKER), {"enable_thinking": True}, None) == {}
    for template, value in ((THINKER, False), (PLAIN, True)):
        with pytest.raises(FieldRefusedError) as refused:
            variables_of(format_of(template), {"enable_thinking": value}, None)
        assert refused.value.param == "chat_template_kwargs.enable_thinking"
    with pytest.raises(FieldRefusedError):
        variables_of(format_of(PLAIN), {"enable_thinkin": True}, None)


@pytest.mark.parametrize(
    ("template", "prompt", "written", "answer", "thinking", "count"),
    [
        (OBJECTS, "", "<think>\nHm.\n</think>\n\nYes.", "Yes.", "Hm.", 20),
        (OBJECTS, "", "Yes.", "Yes.", "", 0),
        (OBJECTS, "", "<think>\nHm, and", "", "Hm, and", 15),
        (PAIRS, "<|assistant|><think>", "Hm.</think>Yes.", "Yes.", "Hm.", 11),
        (OBJECTS, "", f"<think>\nHm.\n</think>\n\n{CALL}", CALL, "Hm.", 20),
        (PLAIN, "", "<think>Yes.", "<think>Yes.", "", 0),
    ],
)
def test_what_was_thought_is_kept_and_counted_apart(
    template: str, prompt: str, written: str, answer: str, thinking: str, count: int
) -> None:
    reader = AnswerReader(format_of(template), prompt=prompt, tools=[TOOL])
    apart = reader.apart(written)
    assert (apart.answer, apart.thinking) == (answer, thinking)
    # With a token a character.
    assert apart.tokens(written, [len(c.encode()) for c in written]) == count
    for at in range(1, len(written)):
        again = AnswerReader(format_of(template), prompt=prompt, tools=[TOOL])
        again.feed(written[:at])
        again.feed(written[at:])
        again.finish()
        assert tuple(again._reader.thoughts) == apart.spans
