"""Spans of the assistant's turns: in the whole text, one for each, and an error where one is not known."""

from __future__ import annotations

import random
from typing import Any

import pytest

from llmops_tui.chat_format import Spans, assistant_spans, read_format
from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.chat_format import styles
from tests.chat_format.conversations import faults, random_turns, spans_of
from tests.chat_format.world import BOS, EOS, TOOLS, answered, result, user

_TOKENS = {"bos_token": BOS, "eos_token": EOS}


def spans(template: str, renderer: TemplateRenderer, messages: list[dict[str, Any]], tools: bool = False) -> Spans:
    chat = read_format(template, renderer, bos=BOS, eos=EOS)
    return assistant_spans(chat, renderer, messages, tools=TOOLS if tools else None, variables=_TOKENS)


def learned(found: Spans) -> list[str]:
    assert found.lost == ()
    return [found.text[span.start : span.end] for span in found.spans]


def test_turns_that_are_rewritten_once_others_follow_are_whole(renderer: TemplateRenderer) -> None:
    turns = [user("a"), answered("One.", thought="Hm."), user("b"), answered("Two.", thought="So.")]
    assert learned(spans(styles.OBJECTS, renderer, turns)) == [
        "One.<|finish|>\n",
        "<think>\nSo.\n</think>\n\nTwo.<|finish|>\n",
    ]


def test_calls_are_learned_whole_with_what_is_said_before(renderer: TemplateRenderer) -> None:
    call = {"id": "abcdefgh1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    turns = [
        user("a"),
        answered("I look.") | {"tool_calls": [call]},
        result(0),
        answered("It rains."),
        user("And?"),
        answered("") | {"tool_calls": [call | {"function": {"name": "get_weather", "arguments": {}}}]},
    ]
    assert learned(spans(styles.OBJECTS, renderer, turns, tools=True)) == [
        'I look.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call><|finish|>\n',
        "It rains.<|finish|>\n",
        '\n<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call><|finish|>\n',
    ]


def test_turns_without_marks_of_their_own_end_where_the_next_begins(renderer: TemplateRenderer) -> None:
    turns = [user("a"), answered("One."), user("b"), answered("Two.")]
    assert learned(spans(styles.PAIRS, renderer, turns)) == ["</think>One.", "</think>Two."]
    assert learned(spans(styles.BEHIND_MARKS, renderer, turns)) == [f"One.{EOS}", f"Two.{EOS}"]
    assert learned(spans(styles.CHANNELS, renderer, turns)) == [
        "<|channel|>final<|message|>One.<|end|>",
        "<|channel|>final<|message|>Two.<|return|>",
    ]


def test_a_result_before_an_answer_is_not_learned(renderer: TemplateRenderer) -> None:
    turns = [user("a"), answered("", calls=1), result(0), answered("It rains.")]
    for template in (styles.BEHIND_MARKS, styles.PAIRS, styles.CHANNELS):
        first, second = learned(spans(template, renderer, turns, tools=True))
        assert "get_weather" in first
        assert "result" not in first + second
        assert "It rains." in second


def test_the_same_words_in_other_turns_do_not_confuse(renderer: TemplateRenderer) -> None:
    turns = [user("Yes."), answered("Yes."), user("<|begin|>assistant\nYes.<|finish|>\n"), answered("Yes.")]
    found = spans(styles.OBJECTS, renderer, turns)
    assert learned(found) == ["Yes.<|finish|>\n"] * 2
    assert [found.text[: span.start].count("Yes.") for span in found.spans] == [1, 3]


def test_a_turn_that_is_not_written_is_told_with_its_number(renderer: TemplateRenderer) -> None:
    last_only = (
        "{% for m in messages %}{% if m.role == 'user' or loop.last %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    with_more = last_only.replace("or loop.last", "or loop.last or messages | length < 4")
    found = spans(with_more, renderer, [user("a"), answered("One."), user("b"), answered("Two.")])
    assert [(lost.turn, lost.why) for lost in found.lost] == [(1, "the template does not write it")]
    assert [found.text[span.start : span.end] for span in found.spans] == ["Two.<|end|>"]


def test_calls_that_a_template_drops_are_told(renderer: TemplateRenderer) -> None:
    plain = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    found = spans(plain, renderer, [user("a"), answered("I look.", calls=1)], tools=True)
    assert [lost.turn for lost in found.lost] == [1]
    assert "calls" in found.lost[0].why


@pytest.mark.parametrize("style", styles.STYLES)
def test_of_random_conversations_each_span_is_its_answer_and_its_end(style: str, renderer: TemplateRenderer) -> None:
    chance = random.Random(style)
    chat = read_format(styles.STYLES[style], renderer, bos=BOS, eos=EOS)
    for _ in range(12):
        turns = random_turns(chance, chat)
        found = spans_of(chat, renderer, turns)
        assert found.lost == ()
        assert faults(chat, turns, found) == []
        assert all(a.end <= b.start for a, b in zip(found.spans, found.spans[1:], strict=False))


def test_what_begins_with_blanks_alone_is_not_taken_for_a_beginning(renderer: TemplateRenderer) -> None:
    spaced = (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% else %} {{ m.content }}</s> {% endif %}{% endfor %}"
    )
    turns = [user("a"), answered("One."), user("b"), answered("Two.")]
    assert learned(spans(spaced, renderer, turns)) == [" One.</s>", " Two.</s>"]


def test_an_empty_turn_is_told_and_not_learned(renderer: TemplateRenderer) -> None:
    for empty in ("", "  \n", None):
        found = spans(
            styles.OBJECTS, renderer, [user("a"), answered("One."), user("b"), {"role": "assistant", "content": empty}]
        )
        assert [(lost.turn, lost.why) for lost in found.lost] == [(3, "it is empty, and only its end could be learned")]
        assert [span.turn for span in found.spans] == [1]


def test_a_turn_that_is_cut_by_the_template_is_told(renderer: TemplateRenderer) -> None:
    short = "{% for m in messages %}<|{{ m.role }}|>{{ m.content[:20] }}<|end|>{% endfor %}"
    turns = [user("a"), answered("Short."), user("b"), answered("This is longer than twenty characters.")]
    found = spans(short + "{% if add_generation_prompt %}<|assistant|>{% endif %}", renderer, turns)
    assert [(lost.turn, lost.why) for lost in found.lost] == [(3, "the template does not write all that it says")]
    assert [span.turn for span in found.spans] == [1]


def test_thinking_and_turns_of_others_that_are_not_written_are_told(renderer: TemplateRenderer) -> None:
    plain = "{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    prompted = plain + "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    turns = [{"role": "system", "content": "Be kind."}, user("a"), answered("One.", thought="Hm.")]
    found = spans(prompted, renderer, turns, tools=True)
    assert [(one.turn, one.why) for one in found.left_out] == [
        (0, "the template does not write it"),
        (2, "the template does not write its thinking"),
    ]
    assert not found.tools_written
    assert learned(found) == ["One.<|end|>"]
    shown = "{{ tools | length if tools else '' }}" + styles.OBJECTS
    kept = spans(shown, renderer, [user("a"), answered("One.", thought="Hm.")], tools=True)
    assert (kept.left_out, kept.tools_written) == ((), True)


def test_what_a_template_leaves_out_beside_calls_is_told(renderer: TemplateRenderer) -> None:
    dropping = styles.OBJECTS.replace(
        "{{ m.content or '' }}{% for c", "{{ m.content or '' if not m.tool_calls }}{% for c"
    )
    found = spans(dropping, renderer, [user("a"), answered("I look.", calls=1)], tools=True)
    assert [(lost.turn, lost.why) for lost in found.lost] == [
        (1, "the template does not write what it says beside its calls")
    ]


def test_a_prompt_that_is_always_written_is_not_learned(renderer: TemplateRenderer) -> None:
    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    found = spans(plain, renderer, [user("a"), answered("One."), user("b"), answered("Two.")])
    assert learned(found) == [" One.\n", " Two.\n"]
    assert read_format(plain, renderer).always_prompts
    assert not read_format(styles.BEHIND_MARKS, renderer).always_prompts
