"""Which characters of a whole rendered conversation are an assistant's turns: what a model has to learn to write.

Each turn is found by rendering the whole conversation again with other words in that turn alone: what changes is the
turn's. Nothing is concluded from the beginning of a conversation, since templates write turns differently once others follow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_tui.chat_format import own_variables
from llmops_tui.chat_format.json_names import Turn
from llmops_tui.chat_format.marks import is_mark, shared_end, shared_start, tokens
from llmops_tui.chat_format.probes import Renderer
from llmops_tui.chat_format.record import ChatFormat
from llmops_tui.chat_format.turns import as_wanted
from llmops_tui.errors import InputRefusedError

# Two words that share neither their first nor their last character, so that one of them differs from any text there.
_WORDS = ("qxzaltword", "wvkothrtxtk")
_THOUGHTS = ("reasoning_content", "thinking", "reasoning")


@dataclass(frozen=True)
class Span:
    """The characters of one turn of an assistant, from its first word to its end mark, and which turn it is."""

    turn: int
    start: int
    end: int


@dataclass(frozen=True)
class Lost:
    """A turn whose characters are not known, and why."""

    turn: int
    why: str


@dataclass(frozen=True)
class Spans:
    """A rendered conversation, the spans of its assistant's turns in order, and the turns that could not be placed."""

    text: str
    spans: tuple[Span, ...]
    lost: tuple[Lost, ...]


def assistant_spans(
    chat: ChatFormat,
    renderer: Renderer,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Spans:
    """Where the assistant's turns are in a whole rendered conversation.

    Args:
        chat: the template's format.
        renderer: what renders it.
        messages: the conversation.
        tools: the tools it may use.
        variables: further variables of the template, ``bos_token`` and ``eos_token`` among them.

    Raises:
        InputRefusedError: the template does not render the conversation.
        LlmopsError: as the renderer.
    """
    finder = _Finder(chat, renderer, tools, dict(variables or {}))
    return finder.find(as_wanted(chat, messages))


class _Finder:
    def __init__(
        self,
        chat: ChatFormat,
        renderer: Renderer,
        tools: Sequence[Mapping[str, Any]] | None,
        variables: Turn,
    ) -> None:
        self._chat = chat
        self._renderer = renderer
        none: list[Any] | None = [] if chat.needs_tools else None
        own = own_variables.values(chat.own, tools)
        self._base = own | {"tools": list(tools) if tools else none, "add_generation_prompt": False} | variables

    def find(self, turns: list[Turn]) -> Spans:
        contexts = [turns]
        for n, turn in enumerate(turns):
            contexts += [[*turns[:n], _other(turn, word), *turns[n + 1 :]] for word in _WORDS]
        texts = self._renderer.render_each(
            self._chat.template, [self._base | {"messages": one} for one in contexts], "chat"
        )
        whole = texts[0]
        if not isinstance(whole, str):
            raise whole
        regions = [_region(whole, texts[1 + 2 * n : 3 + 2 * n]) for n in range(len(turns))]
        spans: list[Span] = []
        lost: list[Lost] = []
        for n, turn in enumerate(turns):
            if turn.get("role") == "assistant":
                found = self._span(whole, turns, regions, n, spans)
                if isinstance(found, Span):
                    spans.append(found)
                else:
                    lost.append(Lost(n, found))
        return Spans(whole, tuple(spans), tuple(lost))

    def _span(
        self, whole: str, turns: list[Turn], regions: list[tuple[int, int] | str], n: int, before: list[Span]
    ) -> Span | str:
        region = regions[n]
        if isinstance(region, str):
            return region
        turn = turns[n]
        known = [one for one in regions[:n] + regions[n + 1 :] if isinstance(one, tuple)]
        floor = max([end for _, end in known if end <= region[0]] + [span.end for span in before], default=0)
        ceiling = min((start for start, _ in known if start >= region[1]), default=len(whole))
        if any(start < region[1] and end > region[0] for start, end in known):
            return "the template writes its words together with those of another turn"
        told = n > 0 and turns[n - 1].get("role") == "tool"
        start = self._start(whole, floor, region[0], told=told)
        end = self._end(whole, region[1], ceiling, last=n == len(turns) - 1)
        if start is None or end is None:
            return "what begins or ends it is not to be seen in what the template writes"
        # Blanks that the template writes with the mark are written by models too.
        after = self._chat.assistant.after
        blanks = after[len(after.rstrip()) :]
        if blanks and whole.startswith(blanks, end):
            end = min(end + len(blanks), ceiling)
        return _unwritten(turn, whole[start:end]) or Span(n, start, end)

    def _start(self, whole: str, floor: int, at: int, *, told: bool) -> int | None:
        """Behind what begins the turn; where the template writes no such thing, behind what ends the turn before."""
        gap = whole[floor:at]
        begin = self._chat.assistant.before
        for one in (begin, begin.rstrip()):
            if one and one in gap:
                return floor + gap.index(one) + len(one)
        mark = _last_mark(self._chat.tool.after) if told and self._chat.tool is not None else ""
        if mark and mark in gap:
            return floor + gap.rindex(mark) + len(mark)
        shared = max((shared_start(gap, prompt) for prompt in self._chat.prompts), key=len, default="")
        return None if gap.strip() and not shared.strip() else floor + len(shared)

    def _end(self, whole: str, at: int, ceiling: int, *, last: bool) -> int | None:
        """Behind the first mark that ends a turn, before any word of the next."""
        places = [(whole.find(end, at, ceiling), -len(end)) for end in self._chat.ends]
        found = [(place, size) for place, size in places if place >= 0]
        following = [self._chat.user.before, self._chat.tool.before if self._chat.tool else ""]
        ends_by_next = not self._chat.assistant.after.strip()
        if found:
            place, size = min(found)
            return (
                place
                if ends_by_next and whole[place : place - size] in {f.strip() for f in following}
                else place - size
            )
        if last:
            written = max((shared_end(whole[at:], prompt) for prompt in self._chat.prompts), key=len, default="")
            end = len(whole) - len(written) if self._chat.always_prompts else len(whole)
            return max(at, len(whole[:end].rstrip()))
        opener = next(iter(tokens(self._chat.user.before)), "")
        for mark in (opener if is_mark(opener) else "", *following):
            place = whole.find(mark.strip(), at, ceiling) if mark.strip() else -1
            if place >= 0:
                return at + len(whole[at:place].rstrip())
        return at if ceiling == at else None


def _unwritten(turn: Mapping[str, Any], text: str) -> str:
    """What of a turn with calls a template has left out, as many do; nothing where all is there."""
    calls = turn.get("tool_calls") or []
    names = [str(call.get("function", call).get("name")) for call in calls if isinstance(call, dict)]
    if any(name not in text for name in names):
        return "the template does not write its calls"
    content = turn.get("content")
    said = content.strip() if calls and isinstance(content, str) else ""
    # A template may take thinking out of the beginning; the end it does not change.
    ends = {said[-12:], json.dumps(said[-12:])[1:-1], json.dumps(said[-12:], ensure_ascii=False)[1:-1]}
    return "the template does not write what it says beside its calls" if all(e not in text for e in ends) else ""


def _last_mark(text: str) -> str:
    return next((token for token in reversed(tokens(text)) if is_mark(token)), "")


def _region(whole: str, others: Sequence[str | InputRefusedError]) -> tuple[int, int] | str:
    """The characters that differ when a turn's words do; or why they are not known."""
    texts = [text for text in others if isinstance(text, str)]
    if len(texts) < len(others):
        refused = next(text for text in others if not isinstance(text, str))
        return f"the template refuses it with other words: {refused.message}"
    start = min(_shared(whole, text) for text in texts)
    tail = min(_shared(whole[start:][::-1], text[start:][::-1]) for text in texts)
    if all(text == whole for text in texts):
        return "the template does not write it"
    return start, max(start, len(whole) - tail)


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with together."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _other(turn: Turn, word: str) -> Turn:
    """A turn with other words, of the same shape: what is empty stays so, but where nothing else could be changed."""
    changed = dict(turn)
    told = False
    for name in _THOUGHTS:
        if turn.get(name):
            changed[name] = word
    content = turn.get("content")
    if isinstance(content, str) and content.strip():
        changed["content"], told = word, True
    elif isinstance(content, list) and content:
        changed["content"] = [_part(part, word) for part in content]
        told = True
    calls = turn.get("tool_calls")
    if calls:
        changed["tool_calls"] = [_call(call, word) for call in calls]
        told = told or changed["tool_calls"] != calls
    if not told:
        changed["content"] = word
    return changed


def _part(part: Any, word: str) -> Any:
    if not isinstance(part, dict):
        return word if isinstance(part, str) else part
    return part | {name: word for name in ("text", "thinking") if isinstance(part.get(name), str)}


def _call(call: Turn, word: str) -> Turn:
    """A call with other values; its name stays, since results of other turns may be written with it."""
    function = call.get("function")
    if not isinstance(function, dict):
        return call
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        changed: Any = dict.fromkeys(arguments, word)
    else:
        changed = f'{{"{word}": 1}}' if arguments and arguments.strip("{} \n") else arguments
    return call | {"function": function | {"arguments": changed}}
