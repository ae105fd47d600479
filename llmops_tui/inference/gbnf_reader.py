"""Reads GBNF, llama.cpp's notation of grammars, as llama.cpp does."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from llmops_tui.errors import InputRefusedError

_MAX_DEPTH = 40
_MAX_COUNT = 100_000
_HEX = {"x": 2, "u": 4, "U": 8}
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]", "-": "-"}
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_LINES = re.compile(r"(?:\s|#[^\r\n]*)*")
_COUNT = re.compile(r"\{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}")
_QUICK = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_ANY = r"/[\x{0}-\x{10ffff}]/"
# What may hold a # that begins no comment, by the sign that it opens with.
_OPENED = {'"': r'"(?:\\.|[^"\\])*"', "[": r"\[(?:\\.|[^\]\\])*\]"}


@dataclass
class Node:
    """One of ``text`` (an expression), ``ref`` (a name), ``all`` or ``any`` of ``parts``, or ``times``: the one part, counted."""

    kind: str
    text: str = ""
    parts: list[Node] = field(default_factory=list)
    low: int = 0
    high: int | None = None


def cannot_be_held(reason: str) -> InputRefusedError:
    """The refusal of a grammar, ``grammar_invalid``."""
    return InputRefusedError(
        "grammar_invalid", f"the grammar cannot be enforced: {reason}", "It must be GBNF with a rule named root."
    )


def without_comments(text: str) -> str:
    """A grammar without comments and blanks at the ends of lines: it means the same, and all places in it are the same.

    Takes time in proportion to the text, whatever it is: this runs before anything limits it.
    """
    kept: list[str] = []
    signs = "".join(_OPENED)
    at = 0
    while (found := _PIECES[signs].search(text, at)) is not None:
        kept.append(text[at : found.end() if found["kept"] else found.start()])
        at = found.end()
        # Where one is not closed, no later one is: behind both, the same characters are escaped. So none is looked for again.
        if found["open"]:
            signs = signs.replace(found["open"], "")
    kept.append(text[at:])
    return "".join(kept)


def _pieces(signs: str) -> re.Pattern[str]:
    """What is ``kept`` though it looks like a comment or a line's end, and these; of ``signs``, ``open`` is never closed.

    A run of blanks is read whole or not at all, so none is gone through again from each of its places.
    """
    opened = [_OPENED[sign] for sign in signs] + ([f"(?P<open>[{re.escape(signs)}])"] if signs else ["(?P<open>(?!))"])
    blanks = r"[ \t]++(?![#\r\n]|\Z)"
    return re.compile(rf"(?P<kept>{'|'.join([*opened, blanks])})|[ \t]*+#[^\r\n]*+|[ \t]++", re.DOTALL)


_PIECES = {signs: _pieces(signs) for signs in ('"[', '"', "[", "")}


class Reader:
    """Reads GBNF as llama.cpp does, and alternatives that go on in the next line beside that."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._places: dict[str, int] = {}

    def rules(self) -> dict[str, Node]:
        """All rules by name.

        Raises:
            InputRefusedError: ``grammar_invalid``; the message names the line and column.
        """
        found: dict[str, Node] = {}
        self._skip(lines=True)
        while self._at < len(self._text):
            place = self._at
            name = self._name("a rule begins with its name")
            self._skip(lines=False)
            self._expect("::=")
            self._skip(lines=True)
            if name in found:
                raise self._wrong(f"a second rule {name[:40]!r}")
            self._places[name] = place
            found[name] = self._alternatives(nested=False)
            if self._at < len(self._text) and self._text[self._at] not in "\r\n":
                raise self._wrong("this is not GBNF")
            self._skip(lines=True)
        return found

    def line_of(self, name: str) -> int:
        """The line that a rule begins in, counted from 1."""
        return self._text.count("\n", 0, self._places[name]) + 1

    def _alternatives(self, *, nested: bool) -> Node:
        parts = [self._sequence(nested=nested)]
        while self._another(nested=nested):
            self._at += 1
            self._skip(lines=True)
            parts.append(self._sequence(nested=nested))
        return parts[0] if len(parts) == 1 else Node("any", parts=parts)

    def _another(self, *, nested: bool) -> bool:
        if not nested:
            # No rule begins with a bar, so one in the next line belongs to this rule.
            after = _LINES.match(self._text, self._at)
            assert after is not None
            if self._text.startswith("|", after.end()):
                self._at = after.end()
        return self._text.startswith("|", self._at)

    def _sequence(self, *, nested: bool) -> Node:
        parts: list[Node] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in "*+?{":
                if not parts:
                    raise self._wrong("the repetition has no item before it")
                parts[-1] = self._times(parts[-1], character)
            elif (part := self._item(character)) is not None:
                parts.append(part)
            else:
                break
            self._skip(lines=nested)
        return parts[0] if len(parts) == 1 else Node("all", parts=parts)

    def _item(self, character: str) -> Node | None:
        if character == '"':
            return self._literal()
        if character == "[":
            return self._class()
        if character == "(":
            return self._group()
        if character == ".":
            self._at += 1
            return Node("text", _ANY)
        if character in "<!":
            raise self._wrong("tokens are not supported, only text")
        return Node("ref", self._name("")) if _NAME.match(character) else None

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._wrong(f"parentheses nest deeper than {_MAX_DEPTH}")
        self._at += 1
        self._skip(lines=True)
        inside = self._alternatives(nested=True)
        self._expect(")")
        self._depth -= 1
        return inside

    def _times(self, node: Node, sign: str) -> Node:
        if sign == "{":
            given = _COUNT.match(self._text, self._at)
            if given is None:
                raise self._wrong("a count is {m}, {m,} or {m,n}")
            self._at = given.end()
            low = int(given[1][:12])
            high = low if given[2] is None else int(given[3][:12]) if given[3] else None
        else:
            self._at += 1
            low, high = _QUICK[sign]
        if max(low, high or 0) > _MAX_COUNT:
            raise self._wrong(f"a count is at most {_MAX_COUNT:,}")
        if high is not None and low > high:
            raise self._wrong(f"the minimum {low} is larger than the maximum {high}")
        return Node("times", parts=[node], low=low, high=high)

    def _literal(self) -> Node:
        self._at += 1
        points = []
        while not self._text.startswith('"', self._at):
            points.append(self._point())
        self._at += 1
        return Node("text", f"/{''.join(map(_escaped, points))}/" if points else '""')

    def _class(self) -> Node:
        self._at += 1
        negated = self._text.startswith("^", self._at)
        self._at += negated
        ranges = []
        while not self._text.startswith("]", self._at):
            low = high = self._point()
            if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
                self._at += 1
                high = self._point()
            if low > high:
                raise self._wrong("the end of a character range is before its start")
            ranges.append(_escaped(low) + (f"-{_escaped(high)}" if high > low else ""))
        self._at += 1
        if not ranges and not negated:
            raise self._wrong("[] allows no character")
        return Node("text", f"/[{'^' * negated}{''.join(ranges)}]/" if ranges else _ANY)

    def _point(self) -> int:
        """The code point of one character, which may be escaped."""
        if self._at >= len(self._text):
            raise self._wrong("it ends within quotes or brackets")
        character = self._text[self._at]
        if character != "\\":
            self._at += 1
            return ord(character)
        sign = self._text[self._at + 1 : self._at + 2]
        if sign in _ESCAPES:
            self._at += 2
            return ord(_ESCAPES[sign])
        digits = self._text[self._at + 2 : self._at + 2 + _HEX.get(sign, 0)]
        if not re.fullmatch("[0-9a-fA-F]+", digits) or len(digits) != _HEX[sign]:
            raise self._wrong(f"the escape \\{sign} is unknown or incomplete")
        point = int(digits, 16)
        if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
            raise self._wrong("there is no such character")
        self._at += 2 + len(digits)
        return point

    def _name(self, wanted: str) -> str:
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._wrong(wanted)
        self._at = found.end()
        return found[0]

    def _expect(self, text: str) -> None:
        if not self._text.startswith(text, self._at):
            raise self._wrong(f"{text} is missing")
        self._at += len(text)

    def _skip(self, *, lines: bool) -> None:
        found = (_LINES if lines else _SPACE).match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _wrong(self, what: str) -> InputRefusedError:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - self._text.rfind("\n", 0, self._at)
        return cannot_be_held(f"line {line}, column {column}, at {self._text[self._at : self._at + 20]!r}: {what}")


def _escaped(point: int) -> str:
    return chr(point) if chr(point).isascii() and chr(point).isalnum() else f"\\x{{{point:x}}}"
