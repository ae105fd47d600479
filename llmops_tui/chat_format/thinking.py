"""How a template writes what a model thinks, read off renderings with a thought and without."""

from __future__ import annotations

from dataclasses import replace

from llmops_tui.chat_format import probes
from llmops_tui.chat_format.json_names import Arguments, Turn
from llmops_tui.chat_format.marks import first_mark, is_mark, shared_start, tokens
from llmops_tui.chat_format.probes import ANSWER, FUNCTIONS, THOUGHT, THOUGHT_FIELDS, USER, Probe, between
from llmops_tui.chat_format.record import Marks, Thinking

# With these a template that can be turned writes thoughts of earlier turns too.
_TURNED: tuple[Arguments, ...] = ({}, {"enable_thinking": True}, {"thinking": True}, {"preserve_thinking": True})
PARTS = "content"


def _turn(field: str, n: int = 1, *, calls: bool = False) -> Turn:
    turn = probes.answer(n)
    if calls:
        turn["tool_calls"] = [probes.call(0, probes.TEXTS)]
    if field == PARTS:
        turn["content"] = [{"type": "thinking", "thinking": f"{THOUGHT}{n}"}, {"type": "text", "text": f"{ANSWER}{n}"}]
    else:
        turn[field] = f"{THOUGHT}{n}"
    return turn


def _written(probe: Probe, field: str, n: int = 1) -> str:
    """A text in which a thought is written, last; nothing where it never is."""
    for calls in (False, True):
        for variables in _TURNED:
            tools = probes.tools(probes.TEXTS) if calls else probe.no_tools
            last = [probes.user(n), _turn(field, n, calls=calls)]
            for turns in (last, [probes.user(n + 1), probes.answer(n + 1), *last]):
                text = probe.one(turns, tools=tools, **variables)
                if isinstance(text, str) and f"{THOUGHT}{n}" in text:
                    return text
    return ""


def read(probe: Probe, prompts: list[str], plain: str) -> Thinking | None:
    """How thinking is written; none where no field of a message is written as such."""
    for field in (*THOUGHT_FIELDS, PARTS):
        text = _written(probe, field)
        if not text:
            continue
        end = _end(text)
        begin = _begin(between(text, f"{USER}1", f"{THOUGHT}1") or "", prompts, plain)
        if not end:
            continue
        past = probe.text([probes.user(1), _turn(field, 1), probes.user(2), _turn(field, 2)])
        return Thinking(field, Marks(begin, end), f"{THOUGHT}1" in past)
    return None


def _end(text: str) -> str:
    """From behind the thought to the end of the first mark there."""
    inner = _behind_thought(text)
    mark, rest = first_mark(inner)
    return inner[: len(inner) - len(rest)].strip() if mark else ""


def _behind_thought(text: str) -> str:
    places = [text.find(word, text.rfind(f"{THOUGHT}1")) for word in (f"{ANSWER}1", FUNCTIONS[0])]
    places = [place for place in places if place >= 0]
    start = text.rfind(f"{THOUGHT}1") + len(THOUGHT) + 1
    return text[start : min(places)] if places else text[start:]


def _begin(before: str, prompts: list[str], plain: str) -> str:
    """The marks right before a thought: what the shortest prompt and a plain answer do not have."""
    for prompt in sorted(prompts, key=len):
        at = before.find(prompt) if prompt else -1
        if at >= 0 and before[at + len(prompt) :].strip():
            return before[at + len(prompt) :].strip()
    shared = shared_start(before, plain)
    rest = before[len(shared) :].strip()
    if rest or shared.rstrip() == plain.rstrip():
        return rest
    parts = tokens(before.rstrip())
    last = max((n for n, part in enumerate(parts) if is_mark(part)), default=None)
    return "".join(parts[last:]).strip() if last is not None else ""


def inline(probe: Probe, prompts: list[str], end: str) -> Thinking | None:
    """Thinking that is a part of the content, between a mark that prompts end with and its counterpart."""
    for prompt in sorted(prompts, key=len):
        for mark in reversed([token for token in tokens(prompt) if is_mark(token)]):
            close = f"</{mark[1:]}"
            if mark.startswith("</") or not mark.startswith("<") or close not in probe.template or close in end:
                continue
            text = f"{mark}{THOUGHT}1{close}{ANSWER}1"
            past = probe.text([probes.user(1), probes.answer(1, content=text), probes.user(2)])
            return Thinking("", Marks(mark, close), f"{THOUGHT}1" in past)
    return None


def with_opening(thought: Thinking | None, openings: tuple[str, ...]) -> Thinking | None:
    """The same, with what begins thinking where prompts alone write that."""
    if thought is not None and not thought.marks.before and openings:
        return replace(thought, marks=Marks(min(openings, key=len).strip(), thought.marks.after))
    return thought


def cut(begin: str, thought: Thinking | None) -> str:
    """What begins a turn, without what begins thinking within it."""
    if thought is None:
        return begin
    for mark in (thought.marks.before, thought.marks.after):
        if mark and mark in begin:
            begin = begin[: begin.index(mark)]
    return begin


def content_begin(probe: Probe, thought: Thinking | None) -> str:
    """What stands between what ends a thought and the answer."""
    if thought is None or not thought.field:
        return ""
    text = _written(probe, thought.field)
    inner = between(text, f"{THOUGHT}1", f"{ANSWER}1") or ""
    return inner.partition(thought.marks.after)[2] if FUNCTIONS[0] not in inner else ""


def without(text: str, thought: Thinking | None) -> str:
    """A text without marks of thinking at its beginning, and the blanks around them."""
    marks = [thought.marks.before, thought.marks.after] if thought is not None else []
    cut = True
    while cut:
        cut = False
        text = text.lstrip()
        for mark in marks:
            if mark and text.startswith(mark):
                text, cut = text[len(mark) :], True
    return text
