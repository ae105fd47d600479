"""Texts of a conversation that come from outside, followed through the rendering: nothing in them is a control token.

A template writes control tokens as text, and messages may spell the same texts. Where they do, the places are rendered as
stand-ins, single letters that nobody writes, so that afterwards it is known which text is whose, whatever the template
trimmed, quoted or moved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_tui.chat_format.json_names import Turn

Span = tuple[int, int]
# Printable, so that no template escapes them; the end of a script of rare characters.
_FIRST_STAND_IN, _LAST_STAND_IN = 0x2A6DF, 0x20000
# Words that templates compare with, and nobody takes for a control token.
_WORDS = {
    "string", "number", "integer", "boolean", "object", "array", "null", "function", "text", "thinking",
}  # fmt: skip
_HEAD = 3


class ControlTexts:
    """The texts of a vocabulary's control tokens."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = {text for text in texts if text}
        self._lengths = sorted({len(text) for text in self._texts}, reverse=True)
        # Most texts have none of them: their beginnings are looked for first.
        heads = sorted({text[:_HEAD] for text in self._texts}, key=len, reverse=True)
        self._heads = re.compile("|".join(map(re.escape, heads))) if heads else None
        self._begins = {text[:n] for text in self._texts for n in range(1, len(text))}
        self._ends = {text[n:] for text in self._texts for n in range(1, len(text))}

    def __bool__(self) -> bool:
        return bool(self._texts)

    def within(self, text: str) -> set[str]:
        """Those that stand anywhere in a text."""
        if self._heads is None:
            return set()
        found: set[str] = set()
        at = 0
        while (head := self._heads.search(text, at)) is not None:
            at = head.start() + 1
            found |= {part for n in self._lengths if (part := text[head.start() : head.start() + n]) in self._texts}
        return found

    def places(self, text: str, own: Collection[str] = ()) -> list[Span]:
        """Where a text spells one, or begins or ends with a part of one, which its neighbours could complete.

        ``own`` are texts that may stand there.
        """
        spelled = sorted(self.within(text) - set(own), key=len, reverse=True)
        found = [match.span() for match in re.finditer("|".join(map(re.escape, spelled)), text)] if spelled else []
        longest = self._lengths[0] if self._lengths else 0
        head = any(text[:n] in self._ends for n in range(1, min(len(text), longest) + 1))
        tail = any(text[-n:] in self._begins for n in range(1, min(len(text), longest) + 1))
        if head and not (found and found[0][0] == 0):
            found.insert(0, (0, 1))
        if tail and not (found and found[-1][1] == len(text)):
            found.append((len(text) - 1, len(text)))
        return found


@dataclass(frozen=True)
class Rendered:
    """A rendered conversation.

    Attributes:
        text: all of it.
        plain: the characters that came from outside and could be taken for a control token, as spans in order.
    """

    text: str
    plain: tuple[Span, ...] = ()


class Foreign:
    """The texts of one conversation, with stand-ins for what could be taken for a control token.

    ``own`` are the marks that an assistant writes within its answers; in its turns they are what they are.
    """

    def __init__(self, controls: ControlTexts, own: Collection[str] = ()) -> None:
        self._controls = controls
        self._own = own
        self._stand_ins: dict[str, str] = {}
        self._used: set[str] = set()
        self._next = _FIRST_STAND_IN

    def messages(self, turns: Sequence[Turn]) -> list[Turn]:
        """The turns to render."""
        self._used |= _rare(turns)
        return [self._turn(turn) for turn in turns]

    def tools(self, tools: Any) -> Any:
        """The tools to render; none stay none."""
        self._used |= _rare(tools)
        return self._value(tools, ())

    def shown(self, text: str) -> Rendered:
        """What was rendered, with the texts where their stand-ins are."""
        if not self._stand_ins:
            return Rendered(text)
        texts = {letter: spelled for spelled, letter in self._stand_ins.items()}
        # Some templates write JSON in ASCII alone.
        texts |= {_escaped(letter): _escaped(spelled) for letter, spelled in texts.items()}
        parts: list[str] = []
        plain: list[Span] = []
        at = size = 0
        for match in re.finditer("|".join(map(re.escape, texts)), text):
            spelled = texts[match.group()]
            parts += [text[at : match.start()], spelled]
            size += match.start() - at + len(spelled)
            plain.append((size - len(spelled), size))
            at = match.end()
        return Rendered("".join([*parts, text[at:]]), tuple(plain))

    def _turn(self, turn: Turn) -> Turn:
        own = self._own if turn.get("role") == "assistant" else ()
        return {name: value if name == "role" else self._value(value, own, name) for name, value in turn.items()}

    def _value(self, value: Any, own: Collection[str], name: str = "") -> Any:
        if isinstance(value, str):
            return value if value in _WORDS else self._text(value, own, arguments=name == "arguments")
        if isinstance(value, Mapping):
            # What is called, and with what, is no place for marks.
            inner = () if name == "function" else own
            return {self._text(key, ()): self._value(one, inner, key) for key, one in value.items()}
        if isinstance(value, list):
            return [self._value(one, own, name) for one in value]
        return value

    def _text(self, text: str, own: Collection[str], *, arguments: bool = False) -> str:
        if arguments and "\\" in text:
            # A text of JSON may spell it in escapes, which templates read.
            try:
                read = json.loads(text)
            except ValueError:
                read = None
            if read is not None and (hidden := self._value(read, ())) != read:
                return json.dumps(hidden, ensure_ascii=False)
        parts: list[str] = []
        at = 0
        for start, end in self._controls.places(text, own):
            parts += [text[at:start], self._stand_in(text[start:end])]
            at = end
        return "".join([*parts, text[at:]]) if parts else text

    def _stand_in(self, spelled: str) -> str:
        if spelled not in self._stand_ins:
            while chr(self._next) in self._used and self._next > _LAST_STAND_IN:
                self._next -= 1
            self._stand_ins[spelled] = chr(self._next)
            self._next -= 1
        return self._stand_ins[spelled]


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _rare(value: Any) -> set[str]:
    """The letters of the stand-ins' script that occur in values."""
    found: set[str] = set()

    def look(one: Any) -> None:
        if isinstance(one, str):
            if not one.isascii():
                found.update(letter for letter in set(one) if ord(letter) >= _LAST_STAND_IN)
        elif isinstance(one, Mapping):
            for key, inner in one.items():
                look(key)
                look(inner)
        elif isinstance(one, list):
            for inner in one:
                look(inner)

    look(value)
    return found


def rendered(
    render: Callable[[Mapping[str, object]], str],
    context: Turn,
    controls: ControlTexts,
    own: Collection[str] = (),
) -> Rendered:
    """A conversation rendered with ``messages`` and ``tools`` of a context, and what of it came from outside."""
    if not controls:
        return Rendered(render(context))
    foreign = Foreign(controls, own)
    given = {"messages": foreign.messages(context["messages"]), "tools": foreign.tools(context.get("tools"))}
    return foreign.shown(render(dict(context) | given))
