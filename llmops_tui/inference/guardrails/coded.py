"""Entities of HTML and percent signs as what they stand for, in a text that grows: each part of it is looked at once.

What is written so of what was written so is undone, too, twice at most. What stands for no text is as it is, but for bytes that
are none: each is the sign that browsers show there.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from html.entities import html5

_ROUNDS = 2
CODED = re.compile(
    r"(?P<entity>&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)|(?P<percent>(?:%[0-9a-fA-F]{2})+)"
)
"""Entities of HTML, and what addresses write by percent signs."""
# What may be one of these when the text goes on, at its end: an entity, or the bytes of one character.
_BEGUN = re.compile(
    r"&(?:#?[0-9A-Za-z]{0,33})?\Z"
    r"|%[c-fC-F][0-9a-fA-F](?:%[89abAB][0-9a-fA-F]){0,2}(?:%[0-9a-fA-F]?)?\Z|%[0-9a-fA-F]?\Z"
)
_LONGEST_BEGUN = 48
_NO_TEXT = "\ufffd"


@dataclass
class CodedText:
    """Decodes what it is given part by part; ``last`` is where in the text the last ends that stood for something else."""

    rounds: list[_Round] = field(default_factory=lambda: [_Round() for _ in range(_ROUNDS)])

    @property
    def last(self) -> int:
        """Behind what was decoded last; -1 where nothing was."""
        return max(one.last for one in self.rounds)

    @property
    def begun(self) -> int | None:
        """From where on the text is not decided; none where all of it is."""
        return min((one.at[0] for one in self.rounds if one.at), default=None)

    def passes(self, text: str) -> bool:
        """Whether this is given back as it is, with nothing before it."""
        return "&" not in text and "%" not in text and not any(one.text for one in self.rounds)

    def add(self, text: str, at: list[int], to: list[int], *, whole: bool) -> tuple[str, list[int], list[int]]:
        """What is decided now, with where each character begins and ends; all of it where nothing follows."""
        for one in self.rounds:
            text, at, to = one.add(text, at, to, whole=whole)
        return text, at, to


@dataclass
class _Round:
    """Decodes once; its text is the end, which is not decided."""

    text: str = ""
    at: list[int] = field(default_factory=list)
    to: list[int] = field(default_factory=list)
    last: int = -1

    def add(self, text: str, at: list[int], to: list[int], *, whole: bool) -> tuple[str, list[int], list[int]]:
        text, at, to = self.text + text, self.at + at, self.to + to
        begun = None if whole else _BEGUN.search(text, max(0, len(text) - _LONGEST_BEGUN))
        end = len(text) if begun is None else begun.start()
        self.text, self.at, self.to = text[end:], at[end:], to[end:]
        said: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        place = 0
        for match in CODED.finditer(text, 0, end):
            said.append(text[place : match.start()])
            begins += at[place : match.start()]
            ends += to[place : match.start()]
            place = match.end()
            self.last = to[place - 1]
            for one, begin, after in _meant(match):
                said.append(one)
                begins += [at[begin]] * len(one)
                ends += [to[after - 1]] * len(one)
        said.append(text[place:end])
        return "".join(said), begins + at[place:end], ends + to[place:end]


def _meant(match: re.Match[str]) -> list[tuple[str, int, int]]:
    """What stands for what in a match: the characters, and where each of them is written."""
    start, end = match.span()
    if match["entity"]:
        name = match[0][1:]
        # Of a name that is none, its beginning may be one.
        said = html.unescape(match[0]) if name.startswith("#") else html5.get(name, "")
        return [(said, start, end)] if said else [(one, start + n, start + n + 1) for n, one in enumerate(match[0])]
    found: list[tuple[str, int, int]] = []
    raw = bytes.fromhex(match[0].replace("%", ""))
    place = 0
    while place < len(raw):
        length = _length(raw[place])
        try:
            one = raw[place : place + length].decode()
        except UnicodeDecodeError:
            one, length = _NO_TEXT, 1
        found.append((one, start + 3 * place, start + 3 * (place + length)))
        place += length
    return found


def _length(lead: int) -> int:
    """How many bytes a character of UTF-8 has that begins with this one."""
    return 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
