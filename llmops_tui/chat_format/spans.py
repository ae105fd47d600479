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
_UNWRITTEN = "the template does not write it"


@dataclass(frozen=True)
class Span:
    """The characters of one turn of an assistant, from its first word to its end mark, and which turn it is."""

    turn: int
    start: int
    end: int


@dataclass(frozen=True)
class Lost:
    """A turn whose characters are not known, or a part of it that is not there, and why."""

    turn: int
    why: str


@dataclass(frozen=True)
class Spans:
    """A rendered conversation, and where its turns are.

    Attributes:
        text: what the template writes.
        spans: the assistant's turns, in order.
        lost: those that could not be placed, or are not there whole.
        left_out: what the template leaves out beside: turns of others, and thinking.
        tools_written: whether the tools that there are change the text.
    """

    text: str
    spans: tuple[Span, ...]
    lost: tuple[Lost, ...]
    left_out: tuple[Lost, ...] = ()
    tools_written: bool = True


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
        contexts = [self._base | {"messages": turns}]
        for n, turn in enumerate(turns):
            others = [[*turns[:n], _other(turn, word), *turns[n + 1 :]] for word in _WORDS]
            contexts += [self._base | {"messages": one} for one in others]
        if self._base["tools"]:
            contexts.append(contexts[0] | {"tools": [] if self._chat.needs_tools else None})
        texts = self._renderer.render_each(self._chat.template, contexts, "chat")
        whole = texts[0]
        if not isinstance(whole, str):
            raise whole
        regions = [_region(whole, texts[1 + 2 * n : 3 + 2 * n]) for n in range(len(turns))]
        spans: list[Span] = []
        lost: list[Lost] = []
        left_out: list[Lost] = []
        for n, turn in enumerate(turns):
            if turn.get("role") == "assistant":
                found = self._span(whole, turns, regions, n, spans)
                if isinstance(found, Span):
                    spans.append(found)
                    if why := self._unthought(turn, whole[found.start : found.end]):
                        left_out.append(Lost(n, why))
                else:
                    lost.append(Lost(n, found))
            elif regions[n] == _UNWRITTEN:
                left_out.append(Lost(n, _UNWRITTEN))
        written = not self._base["tools"] or texts[-1] != whole
        return Spans(whole, tuple(spans), tuple(lost), tuple(left_out), written)

    def _unthought(self, turn: Turn, text: str) -> str:
        """What is wrong with the thinking that is written; nothing where all is well."""
        if any(thought not in text for thought in self._thoughts(turn)):
            return "the template does not write its thinking"
        marks = self._chat.thinking.marks if self._chat.thinking is not None else None
        if marks is not None and marks.before and text.startswith(marks.before) and marks.after not in text:
            return f"the template writes {marks.before.strip()} before its answer, and nothing that ends the thinking"
        return ""

    def _thoughts(self, turn: Turn) -> set[str]:
        """What a turn thinks, in a field of its own or in its content."""
        found = {turn[name].strip() for name in _THOUGHTS if isinstance(turn.get(name), str)}
        content, thinking = turn.get("content"), self._chat.thinking
        if isinstance(content, str) and thinking is not None and thinking.marks.before:
            before, mark, behind = content.partition(thinking.marks.before)
            if mark and not before.strip():
                found.add(behind.partition(thinking.marks.after)[0].strip())
        return found - {""}

    def _span(
        self, whole: str, turns: list[Turn], regions: list[tuple[int, int] | str], n: int, before: list[Span]
    ) -> Span | str:
        region, turn = regions[n], turns[n]
        thoughts = self._thoughts(turn)
        if not thoughts and not turn.get("tool_calls") and not any(_said(turn)):
            return "it is empty, and only its end could be learned"
        if isinstance(region, str):
            return region
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
        # A space would be a part of the next turn's first token.
        if blanks.strip("\n") == "" and whole.startswith(blanks, end):
            end = min(end + len(blanks), ceiling)
        return self._unwritten(turn, whole[start:end], thoughts) or Span(n, start, end)

    def _unwritten(self, turn: Turn, text: str, thoughts: set[str]) -> str:
        """What of a turn a template has left out, as many do with calls and what is beside; nothing where all is there."""
        calls = turn.get("tool_calls") or []
        names = [str(call.get("function", call).get("name")) for call in calls if isinstance(call, dict)]
        if any(name not in text for name in names):
            return "the template does not write its calls"
        said = [one for one in _said(turn) if one]
        after = self._chat.thinking.marks.after if self._chat.thinking is not None else ""
        for one in said:
            # A template may take thinking out of the content.
            forms = {one, one.rpartition(after)[2].strip() if after else one}
            forms |= {json.dumps(form, ensure_ascii=escaped)[1:-1] for form in forms for escaped in (True, False)}
            if not any(form in text for form in forms):
                return f"the template does not write {'what it says beside its calls' if calls else 'all that it says'}"
        if not said and not calls and not any(thought in text for thought in thoughts):
            return "it only thinks, and the template does not write that"
        return ""

    def _start(self, whole: str, floor: int, at: int, *, told: bool) -> int | None:
        """Behind what begins the turn; where the template writes no such thing, behind what ends the turn before."""
        gap = whole[floor:at]
        begin = self._chat.assistant.before
        for one in (begin, begin.rstrip()):
            # Blanks alone begin nothing.
            if one.strip() and one in gap:
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


def _said(turn: Turn) -> list[str]:
    """The texts of a turn's content, without the blanks around them."""
    content = turn.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return [text.strip() for text in texts if isinstance(text, str)]


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
        return _UNWRITTEN
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
