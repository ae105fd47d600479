"""Regular expressions of JavaScript, as Python's that match the same; those that Python cannot match are refused by name."""

from __future__ import annotations

import re

from llmops_tui.inference.nunjucks_values import BLANKS

_DIGIT, _WORD = "0-9", "A-Za-z0-9_"
_SPACE = "".join(f"\\u{ord(c):04x}" for c in BLANKS)
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_PLAIN = {"n": "\\n", "r": "\\r", "t": "\\t", "v": "\\x0b", "f": "\\x0c"}
_LINE_END = r"\n\r\u2028\u2029"
# \b between letters and digits of ASCII, whatever stands beside them.
_EDGE = f"(?:(?<![{_WORD}])(?=[{_WORD}])|(?<=[{_WORD}])(?![{_WORD}]))"
_NO_EDGE = f"(?:(?<![{_WORD}])(?![{_WORD}])|(?<=[{_WORD}])(?=[{_WORD}]))"


class _Reader:
    """Goes through a pattern once and writes Python's."""

    def __init__(self, source: str, *, unicode: bool) -> None:
        self._source, self._at, self._unicode = source, 0, unicode
        self._names = re.findall(r"\(\?<([A-Za-z_$][\w$]*)>", source)
        self._groups = len(re.findall(r"(?<!\\)\((?!\?)", source)) + len(self._names)

    def read(self) -> str:
        """The whole."""
        parts = []
        while self._at < len(self._source):
            parts.append(self._next())
        return "".join(parts)

    def _next(self) -> str:
        character = self._source[self._at]
        if character == "\\":
            return self._escape(in_class=False)
        if character == "[":
            return self._set()
        if character == "(" and self._source.startswith("(?", self._at):
            return self._group()
        self._at += 1
        if character == ".":
            return f"[^{_LINE_END}]"
        if character == "$":
            return r"\Z"
        if character == "^":
            return r"\A"
        if character == "{" and not re.match(r"\d+(?:,\d*)?\}", self._source[self._at :]):
            return r"\{"
        if character in "*+?}" and self._source[self._at : self._at + 1] == "+":
            raise ValueError(f"{character}+ is no pattern of JavaScript")
        return character if character in "()|*+?{}^$" else re.escape(character)

    def _group(self) -> str:
        rest = self._source[self._at :]
        if named := re.match(r"\(\?<([A-Za-z_$][\w$]*)>", rest):
            self._at += named.end()
            return f"(?P<{named.group(1).replace('$', '_')}>"
        for opened in ("(?:", "(?=", "(?!", "(?<=", "(?<!"):
            if rest.startswith(opened):
                self._at += len(opened)
                return opened
        raise ValueError(f"{rest[:4]} is no group of JavaScript")

    def _escape(self, *, in_class: bool) -> str:
        following = self._source[self._at + 1 : self._at + 2]
        if not following:
            raise ValueError("it ends in a backslash")
        self._at += 2
        if following.lower() in _CLASSES:
            return _class(following, in_class=in_class)
        if following in "bB":
            return ("\\x08" if following == "b" else "B") if in_class else _EDGE if following == "b" else _NO_EDGE
        if following in "ux":
            return self._code(following)
        if following.isdigit():
            return self._number(following, in_class=in_class)
        if following == "k" and self._names:
            return self._named()
        if following in "cpP":
            raise ValueError(f"\\{following} is not known here")
        return _PLAIN.get(following, re.escape(following))

    def _named(self) -> str:
        name = re.match(r"<([\w$]+)>", self._source[self._at :])
        if name is None or name.group(1) not in self._names:
            raise ValueError("\\k names no group")
        self._at += name.end()
        return _again(name.group(1).replace("$", "_"))

    def _code(self, kind: str) -> str:
        rest = self._source[self._at :]
        long = re.match(r"\{([0-9a-fA-F]{1,6})\}", rest) if kind == "u" and self._unicode else None
        short = re.match(r"[0-9a-fA-F]{4}" if kind == "u" else r"[0-9a-fA-F]{2}", rest)
        found = long or short
        if found is None:
            if kind == "u" and self._unicode:
                raise ValueError("\\u stands before no code")
            return kind
        self._at += found.end()
        code = int(found.group(1) if long else found.group(), 16)
        return re.escape(chr(code))

    def _number(self, digit: str, *, in_class: bool) -> str:
        rest = re.match(r"\d*", self._source[self._at :])
        whole = digit + (rest.group() if rest else "")
        if whole == "0":
            return "\\x00"
        if in_class or digit == "0" or int(whole) > self._groups:
            raise ValueError(f"\\{whole} names no group")
        self._at += len(whole) - 1
        return _again(whole)

    def _set(self) -> str:
        self._at += 1
        inverted = self._source.startswith("^", self._at)
        self._at += inverted
        if self._source.startswith("]", self._at):
            self._at += 1
            return r"[\s\S]" if inverted else r"(?!)"
        parts = []
        while not self._source.startswith("]", self._at):
            if self._at >= len(self._source):
                raise ValueError("a bracket is not closed")
            character = self._source[self._at]
            if character == "\\":
                parts.append(self._escape(in_class=True))
                continue
            self._at += 1
            parts.append(character if character == "-" else re.escape(character))
        self._at += 1
        return f"[{'^' * inverted}{''.join(parts)}]"


def _again(group: str) -> str:
    """What a group matched; nothing where it took no part, over which Python's own reference fails."""
    return f"(?({group})(?P={group})|)" if not group.isdigit() else f"(?({group})\\{group}|)"


def _class(letter: str, *, in_class: bool) -> str:
    inner = _CLASSES[letter.lower()]
    if letter.islower():
        return inner if in_class else f"[{inner}]"
    if in_class:
        raise ValueError(f"\\{letter} within brackets cannot be written here")
    return f"[^{inner}]"


def python_pattern(source: str, *, unicode: bool = False) -> str:
    """The pattern of Python that matches what JavaScript's ``new RegExp(source)`` does.

    Raises:
        ValueError: JavaScript has no such pattern, or Python cannot match it.
    """
    made = _Reader(source, unicode=unicode).read()
    try:
        re.compile(made)
    except re.error as error:
        raise ValueError(f"not a regular expression that can be matched here: {error}") from error
    return made
