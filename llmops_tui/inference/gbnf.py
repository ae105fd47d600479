"""llama.cpp's grammars (GBNF), turned into the Lark dialect that llguidance reads.

What does not refer to itself becomes one regular expression, and means exactly what it meant. Rules that refer to
themselves stay rules, and the stretches between such references become expressions that are read as far as they go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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


@dataclass
class _Node:
    """One of ``text`` (an expression), ``ref`` (a name), ``all`` or ``any`` of ``parts``, or ``times``: the one part, counted."""

    kind: str
    text: str = ""
    parts: list[_Node] = field(default_factory=list)
    low: int = 0
    high: int | None = None


def gbnf_to_lark(text: str) -> str:
    """The same grammar in Lark's syntax, without options.

    Raises:
        InputRefusedError: ``grammar_invalid``; the message names the line.
    """
    rules = _Reader(text).rules()
    if "root" not in rules:
        raise _refused("it has no rule named root")
    for name, rule in rules.items():
        missing = next((n for n in _references(rule) if n not in rules), None)
        if missing is not None:
            raise _refused(f"the rule {name[:40]!r} names {missing[:40]!r}, which there is not")
    return _Writer(rules).lark()


def _refused(reason: str) -> InputRefusedError:
    return InputRefusedError(
        "grammar_invalid", f"the grammar cannot be held to: {reason}", "It must be GBNF with a rule named root."
    )


def _references(node: _Node) -> Iterator[str]:
    if node.kind == "ref":
        yield node.text
    for part in node.parts:
        yield from _references(part)


class _Reader:
    """Reads GBNF as llama.cpp does, and alternatives that go on in the next line beside that."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def rules(self) -> dict[str, _Node]:
        found: dict[str, _Node] = {}
        self._skip(lines=True)
        while self._at < len(self._text):
            name = self._name("a rule begins with its name")
            self._skip(lines=False)
            self._expect("::=")
            self._skip(lines=True)
            if name in found:
                raise self._wrong(f"a second rule {name[:40]!r}")
            found[name] = self._alternatives(nested=False)
            if self._at < len(self._text) and self._text[self._at] not in "\r\n":
                raise self._wrong("this is not understood")
            self._skip(lines=True)
        return found

    def _alternatives(self, *, nested: bool) -> _Node:
        parts = [self._sequence(nested=nested)]
        while self._another(nested=nested):
            self._at += 1
            self._skip(lines=True)
            parts.append(self._sequence(nested=nested))
        return parts[0] if len(parts) == 1 else _Node("any", parts=parts)

    def _another(self, *, nested: bool) -> bool:
        if not nested:
            # No rule begins with a bar, so one in the next line belongs to this rule.
            after = _LINES.match(self._text, self._at)
            assert after is not None
            if self._text.startswith("|", after.end()):
                self._at = after.end()
        return self._text.startswith("|", self._at)

    def _sequence(self, *, nested: bool) -> _Node:
        parts: list[_Node] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in "*+?{":
                if not parts:
                    raise self._wrong("there is nothing to repeat")
                parts[-1] = self._times(parts[-1], character)
            elif (part := self._item(character)) is not None:
                parts.append(part)
            else:
                break
            self._skip(lines=nested)
        return parts[0] if len(parts) == 1 else _Node("all", parts=parts)

    def _item(self, character: str) -> _Node | None:
        if character == '"':
            return self._literal()
        if character == "[":
            return self._class()
        if character == "(":
            return self._group()
        if character == ".":
            self._at += 1
            return _Node("text", _ANY)
        if character in "<!":
            raise self._wrong("tokens are not taken, only text is")
        return _Node("ref", self._name("")) if _NAME.match(character) else None

    def _group(self) -> _Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._wrong(f"parentheses nest deeper than {_MAX_DEPTH}")
        self._at += 1
        self._skip(lines=True)
        inside = self._alternatives(nested=True)
        self._expect(")")
        self._depth -= 1
        return inside

    def _times(self, node: _Node, sign: str) -> _Node:
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
            raise self._wrong(f"more than {_MAX_COUNT:,} times are not counted")
        if high is not None and low > high:
            raise self._wrong(f"nothing is there at least {low} and at most {high} times")
        return _Node("times", parts=[node], low=low, high=high)

    def _literal(self) -> _Node:
        self._at += 1
        points = []
        while not self._text.startswith('"', self._at):
            points.append(self._point())
        self._at += 1
        return _Node("text", f"/{''.join(map(_escaped, points))}/" if points else '""')

    def _class(self) -> _Node:
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
                raise self._wrong("a range of characters ends before it begins")
            ranges.append(_escaped(low) + (f"-{_escaped(high)}" if high > low else ""))
        self._at += 1
        if not ranges and not negated:
            raise self._wrong("[] allows no character")
        return _Node("text", f"/[{'^' * negated}{''.join(ranges)}]/" if ranges else _ANY)

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
            raise self._wrong(f"the escape \\{sign} is not known or not whole")
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
        return _refused(f"line {line}, at {self._text[self._at : self._at + 20]!r}: {what}")


def _escaped(point: int) -> str:
    return chr(point) if chr(point).isascii() and chr(point).isalnum() else f"\\x{{{point:x}}}"


class _Writer:
    """Writes rules as Lark: terminals (upper case) for what is regular, rules for what refers to itself."""

    def __init__(self, rules: dict[str, _Node]) -> None:
        self._rules = rules
        self._numbers = {name: n for n, name in enumerate(rules)}
        self._regular = _regular(rules)
        self._stretches: list[str] = []

    def lark(self) -> str:
        lines = []
        for name in _reached(self._rules):
            rule = self._rules[name]
            lines.append(f"{self._called(name)}: {self._expression(rule)}")
        terminals = [f"S{n}: {body}" for n, body in enumerate(self._stretches)]
        return "\n".join([f"start: {self._called('root')}", *lines, *terminals]) + "\n"

    def _called(self, name: str) -> str:
        # Neither the case nor the signs of a name mean anything here.
        return f"{'T' if name in self._regular else 'r'}{self._numbers[name]}"

    def _is_regular(self, node: _Node) -> bool:
        return all(name in self._regular for name in _references(node))

    def _expression(self, node: _Node) -> str:
        if node.kind == "text":
            return node.text
        if node.kind == "ref":
            return self._called(node.text)
        if node.kind == "any":
            return f"({' | '.join(map(self._expression, node.parts))})"
        if node.kind == "times":
            return self._repeated(node)
        if self._is_regular(node):
            return f"({' '.join(map(self._expression, node.parts))})" if node.parts else '""'
        return f"({' '.join(self._stretched(node.parts))})"

    def _repeated(self, node: _Node) -> str:
        if node.high == 0:
            return '""'
        return f"({self._expression(node.parts[0])}){{{node.low},{'' if node.high is None else node.high}}}"

    def _stretched(self, parts: list[_Node]) -> Iterator[str]:
        """The parts of a sequence; neighbours that are regular become one terminal."""
        stretch: list[str] = []
        for part in parts:
            if self._is_regular(part):
                stretch.append(self._expression(part))
                continue
            if stretch:
                yield self._terminal(" ".join(stretch))
                stretch = []
            yield self._expression(part)
        if stretch:
            yield self._terminal(" ".join(stretch))

    def _terminal(self, body: str) -> str:
        self._stretches.append(body)
        return f"S{len(self._stretches) - 1}"


def _regular(rules: dict[str, _Node]) -> set[str]:
    """The rules from which no way leads back to themselves or to another that refers to itself."""
    waiting = {name: set(_references(rule)) for name, rule in rules.items()}
    users: dict[str, list[str]] = {name: [] for name in rules}
    for name, used in waiting.items():
        for other in used:
            users[other].append(name)
    ready = [name for name, used in waiting.items() if not used]
    found: set[str] = set()
    while ready:
        name = ready.pop()
        found.add(name)
        for user in users[name]:
            waiting[user].discard(name)
            if not waiting[user]:
                ready.append(user)
    return found


def _reached(rules: dict[str, _Node]) -> list[str]:
    """The rules that are used, from the root on."""
    found = ["root"]
    seen = {"root"}
    for name in found:
        for other in _references(rules[name]):
            if other not in seen:
                seen.add(other)
                found.append(other)
    return found
