"""What is read off templates of each style, and what is told of templates that refuse things."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llmops_tui.chat_format import ChatFormat, Marks, as_wanted, own_variables, read_format
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.kept_formats import KeptFormats
from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.chat_format import styles
from tests.chat_format.table import READ, row
from tests.chat_format.world import BOS, EOS, TOOLS


def read(template: str, renderer: TemplateRenderer) -> ChatFormat:
    return read_format(template, renderer, bos=BOS, eos=EOS)


@pytest.mark.parametrize("style", styles.STYLES)
def test_what_a_template_writes_is_read_back(style: str, renderer: TemplateRenderer) -> None:
    cells = row(styles.STYLES[style], renderer)
    absent = {column for column, cell in cells.items() if cell != READ}
    assert all(cell.startswith(("–", "refused")) for cell in cells.values() if cell != READ)
    assert absent <= {"thinking", "parallel"}
    assert ("parallel" in absent) == (style in {"channels", "unmarked"})
    assert ("thinking" in absent) == (style not in {"objects", "pairs", "channels"})


@pytest.mark.parametrize(
    ("style", "written"),
    [
        ("objects", "object"),
        ("keyed", "object"),
        ("parameters", "parameters"),
        ("pairs", "parameters"),
        ("behind-marks", "json"),
        ("python", "python"),
        ("bare", "bare"),
        ("channels", "json"),
        ("recipients", "json"),
        ("unmarked", "object"),
    ],
)
def test_the_style_of_calls_is_recognised(style: str, written: str, renderer: TemplateRenderer) -> None:
    calls = read(styles.STYLES[style], renderer).calls
    assert calls is not None
    assert calls.style == written


def test_marks_of_turns_are_whole_and_nothing_more(renderer: TemplateRenderer) -> None:
    found = read(styles.OBJECTS, renderer)
    assert found.user == Marks("<|begin|>user\n", "<|finish|>\n")
    assert found.assistant == Marks("<|begin|>assistant\n", "<|finish|>\n")
    assert found.system == Marks("<|begin|>system\n", "<|finish|>\n")
    assert found.tool == Marks("<|begin|>tool\n", "<|finish|>\n")
    assert found.ends == ("<|finish|>",)
    assert not found.writes_bos


def test_thinking_and_its_switch_are_found(renderer: TemplateRenderer) -> None:
    found = read(styles.OBJECTS, renderer)
    assert found.thinking is not None
    assert (found.thinking.field, found.thinking.marks, found.thinking.past) == (
        "reasoning_content",
        Marks("<think>", "</think>"),
        False,
    )
    (switch,) = found.switches
    assert switch.variable == "enable_thinking"
    assert dict(switch.prompts)["false"].endswith("<think>\n\n</think>\n\n")
    pairs = read(styles.PAIRS, renderer)
    assert pairs.thinking is not None
    assert pairs.thinking.past
    assert pairs.opening_of("…<|assistant|><think>") == "<think>"


def test_a_template_without_an_end_names_what_follows(renderer: TemplateRenderer) -> None:
    assert read(styles.PAIRS, renderer).ends[0].startswith("<|")
    assert read(styles.BEHIND_MARKS, renderer).writes_bos
    assert read(styles.BEHIND_MARKS, renderer).ends == (EOS,)


def test_arguments_go_in_as_the_template_takes_them(renderer: TemplateRenderer) -> None:
    def given(template: str, arguments: object) -> object:
        call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        (turn,) = as_wanted(read(template, renderer), [message])
        return turn["tool_calls"][0]["function"]["arguments"]

    assert given(styles.OBJECTS, '{"a": [1, 2]}') == {"a": [1, 2]}
    assert given(styles.OBJECTS, {"a": 1}) == {"a": 1}
    assert given(styles.OBJECTS, "no JSON") == "no JSON"
    assert json.loads(str(given(styles.RECIPIENTS, {"a": "ž"}))) == {"a": "ž"}
    assert given(styles.RECIPIENTS, '{"a": 1}') == '{"a": 1}'


def test_what_a_template_refuses_is_told_in_its_words(renderer: TemplateRenderer) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + styles.UNMARKED
    )
    found = read(template, renderer)
    assert found.system_as == "refused"
    reasons = dict(found.refused)
    assert "no system here" in reasons["system"]
    assert "one call at a time" in reasons["parallel"]


def test_a_template_that_drops_calls_says_so(renderer: TemplateRenderer) -> None:
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    found = read(template, renderer)
    assert found.calls is None
    assert "does not write calls" in dict(found.refused)["tools"]


@pytest.mark.parametrize(
    "template", ["nothing of it", "{{ raise_exception('never') }}", "{% for %}", "{{ 'x' * 300000 }}" + styles.OBJECTS]
)
def test_a_template_that_renders_no_answer_is_refused(template: str, renderer: TemplateRenderer) -> None:
    with pytest.raises(InputRefusedError) as error:
        read(template, renderer)
    assert error.value.code == "template_unread"


def test_tools_that_a_template_must_have_are_an_empty_list(renderer: TemplateRenderer) -> None:
    assert read("{% for t in tools %}{% endfor %}" + styles.OBJECTS, renderer).needs_tools
    assert not read(styles.OBJECTS, renderer).needs_tools


FIREFUNCTION = (
    "{% set rules = 'Functions: ' + functions + '\\nToday is ' + datetime %}{{ bos_token }}<|system|>{{ rules }}<|end|>"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content or '' }}{% if m.tool_calls %} functools[{% for c in m.tool_calls %}"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}{{ "" if loop.last else ", " }}'
    "{% endfor %}]{% endif %}<|end|>{% endfor %}<|assistant|>"
)
NINE = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]{% elif m.role == 'tool' %}"
    "{% if m.tool_call_id | length != 9 %}{{ raise_exception('nine') }}{% endif %}"
    "[TOOL_RESULTS]{{ m.tool_call_id }} {{ m.content }}[/TOOL_RESULTS]{% elif m.tool_calls %}"
    "{% if m.tool_calls[0].id | length != 9 %}{{ raise_exception('nine') }}{% endif %}[TOOL_CALLS]"
    "{{ m.tool_calls[0].function.name }}[CALL_ID]{{ m.tool_calls[0].id }}[ARGS]"
    "{{ m.tool_calls[0].function.arguments | tojson }}{{ eos_token }}{% else %}{{ m.content }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)


def test_a_variable_of_the_familys_own_is_given(renderer: TemplateRenderer) -> None:
    found = read(FIREFUNCTION, renderer)
    assert set(found.own) == {"functions", "datetime"}
    assert found.calls is not None
    assert found.calls.begin.startswith("functools")
    assert json.loads(own_variables.values(found.own, TOOLS)["functions"]) == TOOLS
    assert json.loads(own_variables.values(found.own, None)["functions"]) == []
    assert own_variables.values(read(styles.OBJECTS, renderer).own, TOOLS) == {}


def test_ids_are_as_long_as_the_template_takes_them(renderer: TemplateRenderer) -> None:
    found = read(NINE, renderer)
    assert found.calls is not None
    assert found.calls.id_length == 9
    call = {"id": "call_0123456789", "type": "function", "function": {"name": "f", "arguments": {}}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_0123456789"},
    ]
    _, asked, answered = as_wanted(found, messages)
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"] != "call_0123456789"
    assert len(answered["tool_call_id"]) == 9
    assert as_wanted(found, [messages[2] | {"tool_call_id": "abcDEF123"}])[0]["tool_call_id"] == "abcDEF123"
    other = read(styles.BEHIND_MARKS, renderer)
    assert as_wanted(other, messages)[2]["tool_call_id"] == "call_0123456789"


def test_a_format_is_kept_as_it_was_read(renderer: TemplateRenderer, tmp_path: Path) -> None:
    kept = KeptFormats(tmp_path / "formats")
    for template in [*styles.STYLES.values(), FIREFUNCTION, NINE]:
        assert kept.find(template) is None
        found = read(template, renderer)
        kept.keep(found)
        assert kept.find(template) == found
    for path in (tmp_path / "formats").glob("*.json"):
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_text('{"user": 3}')
    assert kept.find(NINE) is None
    for n in range(70):
        kept.keep(replace(found, template=f"{n}"))
    assert len(list((tmp_path / "formats").glob("*.json"))) == 64
