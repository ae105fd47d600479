"""What each template's rendering is read back as: a row of cells, which say `read`, why not, or what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmops_tui.chat_format import assistant_spans, parse, read_format
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.chat_format.world import BOS, EOS, TOOLS, Expected, World, answered, result, user

COLUMNS = ("plain", "system", "multi-turn", "tools", "parallel", "results", "thinking")
READ = "read"
_ANSWER = "An answer.\n\nOf two lines."
_THOUGHT = "First this.\nThen that."
_TURNED = {"enable_thinking": True, "thinking": True}


def row(template: str, renderer: TemplateRenderer) -> dict[str, str]:
    """The cells of one template."""
    try:
        world = World(renderer, read_format(template, renderer, bos=BOS, eos=EOS))
    except InputRefusedError as error:
        return dict.fromkeys(COLUMNS, f"refused: {_reason(error.message)}")
    cells: dict[str, Callable[[World], str]] = {
        "plain": _plain,
        "system": _system,
        "multi-turn": _turns,
        "tools": _tools,
        "parallel": _parallel,
        "results": _results,
        "thinking": _thinking,
    }
    found = {}
    for column, cell in cells.items():
        try:
            found[column] = cell(world)
        except InputRefusedError as error:
            found[column] = f"refused: {_reason(error.message)}"
    return found


def _reason(message: str) -> str:
    return message.partition("cannot be rendered: ")[2] or message


def _checked(
    world: World, messages: list[dict[str, Any]], expected: Expected, *, tools: bool = False, **more: Any
) -> str:
    """Whether the last turn is read back, however it is cut, and every turn of an assistant has its span."""
    answer, opening = world.answer(messages, tools=tools, **more)
    given = TOOLS if tools else None
    parsed = parse(answer, world.chat, given, opening=opening)
    wrong = expected.differs(parsed) or world.cut(answer, parsed, opening=opening, tools=given)
    if wrong:
        return f"wrong: {wrong}"
    spans = assistant_spans(
        world.chat, world.renderer, messages, tools=given, variables={"bos_token": BOS, "eos_token": EOS} | more
    )
    if spans.lost:
        return f"wrong: turn {spans.lost[0].turn + 1} has no span: {spans.lost[0].why}"
    for span, turn in zip(spans.spans, [m for m in messages if m["role"] == "assistant"], strict=True):
        if str(turn["content"]) not in spans.text[span.start : span.end]:
            return f"wrong: the span of turn {span.turn + 1} lacks its answer"
    return READ


def _plain(world: World) -> str:
    return _checked(world, [user("Hi"), answered(_ANSWER)], Expected(_ANSWER))


def _turns(world: World) -> str:
    turns = [user("Hi"), answered("First one."), user("And?"), answered("Second\none."), user("Bye"), answered(_ANSWER)]
    return _checked(world, turns, Expected(_ANSWER))


def _system(world: World) -> str:
    if world.chat.system_as in {"refused", "dropped"}:
        return f"{world.chat.system_as}: {_reason(dict(world.chat.refused)['system'])}"
    messages = [{"role": "system", "content": "Be kind, always."}, user("Hi"), answered(_ANSWER)]
    if "Be kind, always." not in world.render(messages[:-1], prompt=True):
        return "wrong: it is not written"
    cell = _checked(world, messages, Expected(_ANSWER))
    if cell == READ and "Be kind, always." not in world.render(messages):
        return "read (not written once the question is answered)"
    return cell


def _without(world: World, what: str) -> str:
    """Why there is none: the template's own refusal, or what it does instead."""
    message = dict(world.chat.refused).get(what, "")
    reason = _reason(message)
    return f"refused: {reason}" if reason != message else f"– {reason}".strip()


def _tools(world: World) -> str:
    if world.chat.calls is None:
        return _without(world, "tools")
    if not world.chat.calls.written:
        return f"{_without(world, 'tools')}; of answers they are read"
    return _checked(world, [user("W?"), answered("", calls=1)], Expected(calls=1), tools=True)


def _parallel(world: World) -> str:
    if world.chat.calls is None or not world.chat.calls.written:
        return _without(world, "tools")
    if not world.chat.calls.parallel:
        return _without(world, "parallel")
    return _checked(world, [user("W?"), answered("", calls=2)], Expected(calls=2), tools=True)


def _results(world: World) -> str:
    if world.chat.calls is None or not world.chat.calls.written:
        return _without(world, "tools")
    if world.chat.tool is None:
        return _without(world, "results")
    turns = [user("W?"), answered("", calls=1), result(0), answered("It rains.")]
    if "result number 0" not in world.render(turns, tools=True):
        return "wrong: the result is not written"
    return _checked(world, turns, Expected("It rains."), tools=True)


def _thinking(world: World) -> str:
    thinking = world.chat.thinking
    if thinking is None:
        return "–"
    turns = [user("Hi"), answered("Done so.", thought=_THOUGHT)]
    tried: list[tuple[list[dict[str, Any]], Expected, bool]] = [
        (turns, Expected("Done so.", _THOUGHT), False),
        ([user("Before"), answered("Was."), *turns], Expected("Done so.", _THOUGHT), False),
    ]
    if (
        world.chat.calls is not None
        and world.chat.calls.written
        and not (world.chat.calls.null_content and not thinking.field)
    ):
        tried.append(([user("W?"), answered("", thought=_THOUGHT, calls=1)], Expected("", _THOUGHT, 1), True))
    cells = [
        _checked(world, messages, expected, tools=tools, **_TURNED)
        for messages, expected, tools in tried
        if _THOUGHT in world.render(messages, tools=tools, **_TURNED)
    ]
    if cells:
        return next((cell for cell in cells if cell != READ), READ)
    # What a template takes out of what it is given, models write all the same.
    written = f"{thinking.marks.before}\n{_THOUGHT}\n{thinking.marks.after}\n\nDone so."
    wrong = Expected("Done so.", _THOUGHT).differs(parse(written, world.chat))
    return f"wrong: {wrong}" if wrong else "read (answers; past thinking is not written)"
