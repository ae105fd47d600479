"""Answers read whole and in pieces: the same, with no mark in what is said, and to the letter where a call is none."""

from __future__ import annotations

import random
from typing import Any

import pytest

from llmops_tui.chat_format import AnswerReader, Call, ChatFormat, Parsed, answers, parse, read_format, written
from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.chat_format import styles
from tests.chat_format.world import BOS, EOS, TOOLS, World

# Answers that models give and templates do not write: other blanks, broken calls, marks alone, texts that look like marks.
ODD = {
    "objects": [
        'I look.<tool_call>{"arguments":{"city":"a</tool_call>b"},"name":"get_weather"}</tool_call>',
        '<tool_call>\n{"name": "get_weather", "arguments": {}}\n',
        '<tool_call>{"name": "get_weather", "arguments": nothing}</tool_call> and on',
        "a < b, <tool, <tool_cal> and <thin",
        "<think>\nnever ended",
        "<think>a</think>\n\n\nb<|finish|>",
        "",
        " \n",
    ],
    "parameters": [
        "<tool_call><function=get_weather><parameter=days>7</parameter></function></tool_call>",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\n  indented\n\nlines\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>\n<function=get_weather>\n</function>\n</tool_call>\n\nDone.",
        "<tool_call>\nno function\n</tool_call>",
    ],
    "python": [
        "<|call_start|>[get_weather(city='it\\'s', hourly=true, fields=[])]<|call_end|>",
        "<|call_start|>[no call]<|call_end|>",
    ],
    "unmarked": ['{"name": "get_weather", "parameters": {"days": 2}}', '{"a": 1} is JSON', "{ and so on"],
    "behind-marks": ['[TOOL_CALLS]get_weather[ARGS]{"days": 1}[TOOL_CALLS]find_place[ARGS]{}', "[TOOL_CALLS"],
    "channels": [
        '<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"days": 1}<|call|>',
        "plain words without a channel",
        "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>Rain.<|return|>",
    ],
    "recipients": ['>>>all\nSaid.>>>get_weather\n{"days": 1}'],
    "bare": ["<|tool_call>call:get_weather{fields:[<|q|>a, b}<|q|>],days:-1,hourly:true}<tool_call|>"],
}


@pytest.fixture(scope="module")
def formats(renderer: TemplateRenderer) -> dict[str, ChatFormat]:
    return {name: read_format(text, renderer, bos=BOS, eos=EOS) for name, text in styles.STYLES.items()}


@pytest.mark.parametrize("style", ODD)
def test_cut_anywhere_an_answer_is_the_same(
    style: str, formats: dict[str, ChatFormat], renderer: TemplateRenderer
) -> None:
    world = World(renderer, formats[style])
    for answer in ODD[style]:
        assert world.cut(answer, parse(answer, world.chat, TOOLS), tools=TOOLS) == "", answer


@pytest.mark.parametrize("style", styles.STYLES)
def test_random_soups_of_marks_are_the_same_cut_anywhere(
    style: str, formats: dict[str, ChatFormat], renderer: TemplateRenderer
) -> None:
    chat = formats[style]
    world, chance = World(renderer, chat), random.Random(style)
    assert chat.calls is not None
    texts = [piece for piece in chat.calls.pieces if isinstance(piece, str)]
    parts = [*texts, chat.calls.section.before, chat.calls.section.after, *chat.ends, chat.content.before]
    parts += [chat.thinking.marks.before, chat.thinking.marks.after] if chat.thinking else []
    parts += [
        "get_weather",
        '{"city": "x"}',
        '{"name": "get_weather", "arguments": {}}',
        " ",
        "\n",
        "said",
        "<",
        "{",
        "city",
    ]
    for _ in range(25):
        answer = "".join(chance.choices(parts, k=chance.randint(1, 9)))
        assert world.cut(answer, parse(answer, chat, TOOLS), tools=TOOLS) == "", answer


def test_what_models_write_otherwise_is_understood(formats: dict[str, ChatFormat]) -> None:
    def calls(style: str, n: int) -> list[tuple[str, dict[str, object]]]:
        return [(call.name, call.arguments) for call in parse(ODD[style][n], formats[style], TOOLS).calls]

    assert calls("objects", 0) == [("get_weather", {"city": "a</tool_call>b"})]
    assert calls("objects", 1) == [("get_weather", {})]
    assert calls("parameters", 0) == [("get_weather", {"days": 7})]
    assert calls("parameters", 1) == [("get_weather", {"city": "  indented\n\nlines"})]
    assert calls("parameters", 2) == [("get_weather", {})]
    assert calls("python", 0) == [("get_weather", {"city": "it's", "hourly": True, "fields": []})]
    assert calls("behind-marks", 0) == [("get_weather", {"days": 1}), ("find_place", {})]
    assert calls("channels", 0) == [("get_weather", {"days": 1})]
    assert calls("recipients", 0) == [("get_weather", {"days": 1})]
    assert calls("bare", 0) == [("get_weather", {"fields": ["a, b}"], "days": -1, "hourly": True})]
    assert calls("unmarked", 0) == [("get_weather", {"days": 2})]


def test_what_is_said_has_no_marks(formats: dict[str, ChatFormat]) -> None:
    def said(style: str, n: int) -> tuple[str, str]:
        parsed = parse(ODD[style][n], formats[style], TOOLS)
        return parsed.content, parsed.thinking

    assert said("objects", 0) == ("I look.", "")
    assert said("objects", 3) == (ODD["objects"][3], "")
    assert said("objects", 4) == ("", "never ended")
    assert said("objects", 5) == ("b", "a")
    assert said("parameters", 2) == ("Done.", "")
    assert said("unmarked", 1) == (ODD["unmarked"][1], "")
    assert said("channels", 0) == ("", "Hm.")
    assert said("channels", 1) == (ODD["channels"][1], "")
    assert said("channels", 2) == ("I look.Rain.", "")
    assert said("recipients", 0) == ("Said.", "")


def test_a_broken_call_is_told_to_the_letter(formats: dict[str, ChatFormat]) -> None:
    parsed = parse(ODD["objects"][2], formats["objects"], TOOLS)
    assert parsed == Parsed("and on", "", [], ['<tool_call>{"name": "get_weather", "arguments": nothing}</tool_call>'])
    assert parse(ODD["parameters"][3], formats["parameters"], TOOLS).problems == [ODD["parameters"][3]]


def test_text_and_calls_are_told_as_soon_as_they_are_sure(formats: dict[str, ChatFormat]) -> None:
    reader = AnswerReader(formats["objects"], TOOLS)
    assert [event.text for event in reader.push("Hello <")] == ["Hello"]
    assert [event.text for event in reader.push("b>.")] == [" <b>."]
    assert reader.push('\n<tool_call>\n{"name": "get_weather", "arguments": {"days": 1}}\n') == []
    (event,) = reader.push("</tool_call>")
    assert event.call == Call("get_weather", {"days": 1}, written='{"days": 1}')
    assert reader.finish() == []


def test_a_prompt_that_opened_thinking_is_gone_on_from(formats: dict[str, ChatFormat]) -> None:
    chat = formats["pairs"]
    opening = chat.opening_of("<|user|>Hi<|assistant|><think>")
    parsed = parse("Hm.</think>Yes.", chat, opening=opening)
    assert (parsed.thinking, parsed.content) == ("Hm.", "Yes.")
    assert parse("Yes.", chat, opening=chat.opening_of("<|assistant|></think>")).content == "Yes."


def test_arguments_are_kept_to_the_letter(formats: dict[str, ChatFormat]) -> None:
    arguments = '{"a": 1.10, "b": 12345678901234567890, "c": {"d": 1e2}}'
    answers = {
        "objects": f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>',
        "keyed": f'<|calls|>[{{"f": {arguments}}}]<|/calls|>',
        "behind-marks": f"[TOOL_CALLS]f[CALL_ID]a[ARGS]{arguments}",
        "unmarked": f'{{"name": "f", "parameters": {arguments}}}',
    }
    for style, answer in answers.items():
        (call,) = parse(answer, formats[style], TOOLS).calls
        assert call.as_json == arguments
    (call,) = parse("<|call_start|>[f(a='ž')]<|call_end|>", formats["python"], TOOLS).calls
    assert call.as_json == '{"a": "ž"}'


def test_calls_that_a_template_never_writes_are_read_by_how_it_shows_tools(renderer: TemplateRenderer) -> None:
    plain = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    chat = read_format(
        "{% if tools %}List of tools: {{ tools | tojson }}{% endif %}" + plain, renderer, bos=BOS, eos=EOS
    )
    assert chat.calls is not None
    assert not chat.calls.written
    parsed = parse("I look.<|tool_call_start|>[get_weather(days=2)]<|tool_call_end|>", chat, TOOLS)
    assert (parsed.content, [(call.name, call.arguments) for call in parsed.calls]) == (
        "I look.",
        [("get_weather", {"days": 2})],
    )


@pytest.mark.slow
def test_a_long_call_is_not_read_again_with_each_piece(
    formats: dict[str, ChatFormat], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0
    once = written.read_call

    def counted(*arguments: Any, **more: Any) -> tuple[Call, int]:
        nonlocal tried
        tried += 1
        return once(*arguments, **more)

    monkeypatch.setattr(answers, "read_call", counted)
    reader, parsed = AnswerReader(formats["objects"], TOOLS), Parsed()
    for piece in [
        '<tool_call>{"name": "get_weather", "arguments": {"city": "',
        *["x"] * 30_000,
        '"}}</tool_call>',
        " Done.",
    ]:
        parsed.add(reader.push(piece))
    parsed.add(reader.finish())
    assert (len(parsed.calls[0].arguments["city"]), parsed.content, tried < 6000) == (30_000, "Done.", True)


@pytest.mark.parametrize("style", ODD)
def test_behind_a_beginning_that_was_given_comes_what_the_whole_answer_has_more(
    style: str, formats: dict[str, ChatFormat]
) -> None:
    chat = formats[style]
    for answer in ODD[style]:
        whole = parse(answer, chat, TOOLS)
        for cut in range(len(answer) + 1):
            begun = AnswerReader(chat, TOOLS)
            before = Parsed()
            before.add(begun.push(answer[:cut]))
            found = parse(answer[cut:], chat, TOOLS, opening=answer[:cut])
            place = answer[:cut], answer[cut:]
            assert before.calls + found.calls == whole.calls, place
            for kind in ("content", "thinking"):
                all_of_it, first, rest = (getattr(one, kind) for one in (whole, before, found))
                # Blanks that the beginning ended with are no part of what comes then; a mark that it ended within is none.
                assert all_of_it.startswith(first), place
                assert all_of_it.endswith(rest), place
                middle = all_of_it[len(first) : len(all_of_it) - len(rest)]
                assert len(first) + len(rest) <= len(all_of_it), place
                assert answer[:cut].rstrip().endswith(middle.rstrip()), place


def test_thinking_and_calls_that_were_begun_go_on(formats: dict[str, ChatFormat]) -> None:
    chat = formats["objects"]
    thought = parse("see.</think>\n\nIt rains.", chat, TOOLS, opening="<think>\nLet me ")
    assert (thought.thinking, thought.content) == ("see.", "It rains.")
    called = parse(
        ' "get_weather", "arguments": {}}\n</tool_call>', chat, TOOLS, opening='Look.\n<tool_call>\n{"name":'
    )
    assert ([call.name for call in called.calls], called.content) == (["get_weather"], "")
    broken = parse(" nothing}</tool_call>", chat, TOOLS, opening='<tool_call>{"name":')
    assert (broken.problems, broken.content) == ([" nothing}</tool_call>"], "")
    half = parse('ll>{"name": "get_weather", "arguments": {}}</tool_call>', chat, TOOLS, opening="<tool_ca")
    assert [call.name for call in half.calls] == ["get_weather"]
