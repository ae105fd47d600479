"""Calls that are held to the format that a template writes: its own rendering is allowed, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.constraints import enforced
from llmops_tui.inference.server.conversation import answer_constraint, tool_constraint
from llmops_tui.inference.server.served_format import format_of
from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.chat_format.styles import CHANNELS, KEYED, PAIRS, RECIPIENTS, STYLES, UNMARKED
from tests.chat_format.world import EOS, TOOLS, World, answered, user
from tests.engine.engines import Bench
from tests.engine.test_grammars import allows

# Calls begin here with no mark that could be told from text, or with what the prompt has written.
_UNTOLD = (CHANNELS, RECIPIENTS, UNMARKED)


@pytest.fixture(scope="module")
def bench() -> Bench:
    # A control token of this model, which marks begin with.
    return Bench(parallel=2, visible=("<|",))


@pytest.fixture(scope="module")
def renderer() -> Iterator[TemplateRenderer]:
    found = TemplateRenderer()
    yield found
    found.close()


def form_of(style: str, prompt: str, demanded: str | None, *, several: bool = True) -> dict[str, Any]:
    chat = format_of(STYLES[style])
    return cast("Any", tool_constraint(chat, cast("Any", TOOLS), demanded, several=several, prompt=prompt))


def calling(renderer: TemplateRenderer, style: str, many: int, said: str = "") -> tuple[str, str]:
    """Calls as the template writes them, and the prompt."""
    world = World(renderer, format_of(STYLES[style]).answers)
    prompt = world.render([user("Hi")], tools=True, prompt=True)
    if STYLES[style] == PAIRS:
        prompt = f"{prompt}hm</think>"
    text, _ = world.answer([user("Hi"), answered(said, calls=many)], tools=True)
    for end in (EOS, *world.chat.ends):
        text = text.strip("\n").removesuffix(end)
    return text.removeprefix("</think>").strip("\n"), prompt


@pytest.mark.parametrize("style", STYLES)
def test_a_required_call_is_held_to_the_family_s_own_format(
    bench: Bench, renderer: TemplateRenderer, style: str
) -> None:
    call, prompt = calling(renderer, style, 1)
    assert allows(bench, form_of(style, prompt, ""), call)
    assert allows(bench, form_of(style, prompt, "get_weather"), call)
    assert not allows(bench, form_of(style, prompt, "find_place"), call)
    for wrong in (
        "",
        "It rains.",
        call.replace("get_weather", "get_whether"),
        call.replace("city", "town"),
        f"{call}!",
    ):
        assert not allows(bench, form_of(style, prompt, ""), wrong), wrong
    assert not allows(bench, form_of(style, prompt, ""), call.replace("3", "three"))


@pytest.mark.parametrize("style", [name for name, template in STYLES.items() if template not in (CHANNELS, UNMARKED)])
def test_several_calls_are_allowed_where_they_may_be(bench: Bench, renderer: TemplateRenderer, style: str) -> None:
    calls, prompt = calling(renderer, style, 2)
    assert allows(bench, form_of(style, prompt, ""), calls)
    assert not allows(bench, form_of(style, prompt, "", several=False), calls)


@pytest.mark.parametrize("style", [name for name, template in STYLES.items() if template not in _UNTOLD])
def test_without_a_demand_the_form_holds_from_a_call_s_mark_on(
    bench: Bench, renderer: TemplateRenderer, style: str
) -> None:
    call, prompt = calling(renderer, style, 1, "I look.")
    form = form_of(style, prompt, None)
    for text in ("", "It rains, {not} <b>so</b>.", call):
        assert allows(bench, form, text), text
    assert not allows(bench, form, call.replace("get_weather", "get_whether"))


def test_thinking_may_come_before_a_required_call_and_has_to_end_where_the_prompt_began_it(
    bench: Bench, renderer: TemplateRenderer
) -> None:
    call, prompt = calling(renderer, "objects", 1)
    assert allows(bench, form_of("objects", prompt, ""), f"<think>\nhm <tool_call>\n</think>\n\n{call}")
    closed = f"{prompt}<think>\n\n</think>\n\n"
    assert allows(bench, form_of("objects", closed, ""), call)
    assert not allows(bench, form_of("objects", closed, ""), f"<think>\nhm\n</think>\n\n{call}")
    opened = format_of(PAIRS).answers.prompts[0]
    pairs, _ = calling(renderer, "pairs", 1)
    assert allows(bench, form_of("pairs", opened, ""), f"hm</think>{pairs}")
    assert not allows(bench, form_of("pairs", opened, ""), pairs)
    # What is thought of a call is none.
    assert allows(bench, form_of("pairs", opened, None), "<call>no</think>It rains.")
    channels, prompt = calling(renderer, "channels", 1)
    thought = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
    assert allows(bench, form_of("channels", prompt, ""), f"{thought}{channels}")


def test_blanks_behind_the_last_of_several_calls_may_be_there_or_not(bench: Bench, renderer: TemplateRenderer) -> None:
    written = '{"{{ c.function.name }}": {{ c.function.arguments | tojson }}}{{ "" if loop.last else ", " }}'
    named = '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n'
    template = KEYED.replace("<|calls|>[", "<|calls|>\n").replace("]<|/calls|>", "<|/calls|>").replace(written, named)
    chat = format_of(template)
    text, _ = World(renderer, chat.answers).answer([user("Hi"), answered("", calls=2)], tools=True)
    text = text.partition("<|finish|>")[0]
    form = cast("Any", tool_constraint(chat, cast("Any", TOOLS), "", several=True, prompt=""))
    assert "}\n<|/calls|>" in text
    assert allows(bench, form, text)
    assert allows(bench, form, text.replace("\n<|/calls|>", "<|/calls|>"))
    assert not allows(bench, form, text.replace("<|/calls|>", ""))


def test_what_is_true_may_be_written_as_python_does(bench: Bench, renderer: TemplateRenderer) -> None:
    for style in ("python", "parameters", "pairs"):
        call, prompt = calling(renderer, style, 1)
        plain = call.replace("True", "true")
        assert allows(bench, form_of(style, prompt, ""), plain)
        assert allows(bench, form_of(style, prompt, ""), plain.replace("true", "True"))
        assert not allows(bench, form_of(style, prompt, ""), plain.replace("true", "yes"))


def test_what_a_format_cannot_hold_is_left_free() -> None:
    anything = [{"type": "function", "function": {"name": "f", "parameters": {"anyOf": [{"type": "object"}]}}}]
    for style, held in (("pairs", False), ("python", False), ("objects", True)):
        form = tool_constraint(format_of(STYLES[style]), cast("Any", anything), "", several=False, prompt="")
        assert bool(enforced(form).grammar) is held


REPORT: Any = {
    "type": "json_schema",
    "json_schema": {"schema": {"type": "object", "properties": {"rain": {"type": "boolean"}}, "required": ["rain"]}},
}
RAINS = '{"rain": true}'


@pytest.mark.parametrize("style", STYLES)
def test_an_answer_in_a_form_may_come_instead_of_calls(bench: Bench, renderer: TemplateRenderer, style: str) -> None:
    call, prompt = calling(renderer, style, 1)
    chat = format_of(STYLES[style])
    for demanded, answered_too in ((None, True), ("", False)):
        form = cast(
            "Any", tool_constraint(chat, cast("Any", TOOLS), demanded, several=True, prompt=prompt, answer=REPORT)
        )
        assert allows(bench, form, call)
        content = chat.answers.content.before.removeprefix(chat.opening_of(prompt))
        assert allows(bench, form, content + RAINS) == answered_too
        for wrong in ("It rains.", '{"rain": 1}', call.replace("get_weather", "get_whether"), f"{RAINS} {call}"):
            assert not allows(bench, form, wrong), wrong


def test_thinking_stays_outside_of_a_form(bench: Bench, renderer: TemplateRenderer) -> None:
    _, prompt = calling(renderer, "objects", 1)
    free = cast("Any", answer_constraint(format_of(STYLES["objects"]), REPORT, prompt))
    assert allows(bench, free, RAINS)
    assert allows(bench, free, "<think>\nIt {may} be.\n</think>\n\n" + RAINS)
    assert not allows(bench, free, "<think>\nIt {may} be.\n</think>\n\nIt rains.")
    # Where the prompt began to think, what is not thinking comes behind its end.
    opened = cast("Any", answer_constraint(format_of(PAIRS), REPORT, format_of(PAIRS).answers.prompts[0]))
    assert allows(bench, opened, "hm</think>" + RAINS)
    assert not allows(bench, opened, RAINS)


def test_a_form_beside_calls_that_cannot_be_held_is_refused() -> None:
    anything: Any = [{"type": "function", "function": {"name": "f", "parameters": {"anyOf": [{"type": "object"}]}}}]
    form = tool_constraint(format_of(PAIRS), anything, None, several=False, prompt="", answer=REPORT)
    with pytest.raises(InputRefusedError, match="response_format: the parameters of these tools"):
        enforced(form)


def calls_of(*parameters: Any, demanded: str | None = "") -> Any:
    functions = [{"name": name, "parameters": schema} for name, schema in zip("fgh", parameters, strict=False)]
    tools: Any = [{"type": "function", "function": function} for function in functions]
    return tool_constraint(format_of(STYLES["objects"]), tools, demanded, several=False, prompt="")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"type": ["string", "null"]},
        {"enum": [1, "a"]},
        {"const": []},
        {"anyOf": [{"type": "string"}, {"enum": [None]}]},
        {"allOf": [{"type": "string"}, {}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"oneOf": [{"type": "number"}, False]}}},
    ],
)
@pytest.mark.parametrize("demanded", ["", None])
def test_parameters_that_allow_no_object_are_refused(schema: Any, demanded: str | None) -> None:
    with pytest.raises(InputRefusedError, match="allows no object, and the arguments of a call are one") as refused:
        enforced(calls_of({"type": "object"}, schema, demanded=demanded))
    assert refused.value.code == "schema_invalid"


@pytest.mark.parametrize(
    "schema",
    [
        {"description": "any"},
        {"type": ["object", "string"]},
        {"properties": {"a": {"type": "string"}}},
        {"anyOf": [{"type": "object"}, {"type": "string"}]},
        {"enum": ["x", {"a": "b"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"a": {"type": "string"}}}}},
        {"allOf": [{"properties": {"a": {"type": "string"}}}, {"$ref": "#/allOf/0"}]},
    ],
)
def test_arguments_are_an_object_whatever_else_their_schema_allows(bench: Bench, schema: Any) -> None:
    written = '<tool_call>\n{"name": "f", "arguments": %s}\n</tool_call>'
    assert allows(bench, calls_of(schema), written % '{"a": "b"}')
    assert not allows(bench, calls_of(schema), written % '"x"')
