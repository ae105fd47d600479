"""A text as it reads once entities, percent signs and letters that stand apart are undone, beside the text as it is written.

Entities are those of HTML (``&#105;``, ``&#x69;``, ``&amp;``), percent signs those of addresses (``%69``, in UTF-8); both may be
written of what was written so, twice at most. Letters stand apart where four or more follow each other one by one with the same
signs between them (``i.g.n.o.r.e``). Every place has its place in the text.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from html.entities import html5

from llmops_tui.inference.guardrails.canonical import APART, CODED, canonical_character, characters_of, shown_character

_ROUNDS = 2
_LETTER = r"[^\W\d_]"
# What may be one of these when the text goes on: the end of it, of at most so many characters.
_BEGUN = re.compile(
    rf"&(?:#?[0-9A-Za-z]{{0,33}})?\Z|(?:%[0-9a-fA-F]{{2}})*%[0-9a-fA-F]?\Z|(?:%[0-9a-fA-F]{{2}})+\Z"
    rf"|(?<![^\W_])(?:{_LETTER}[\W_]{{1,3}}){{1,3}}{_LETTER}?\Z"
)
_LONGEST_BEGUN = 48
LONGEST = 16
"""So many characters of a text stand for one at most, but for what is not seen."""
NOT_YET_TOGETHER = 12
"""So long are letters that stand apart and are too few to be put together."""


@dataclass(frozen=True)
class Undone:
    """A text with its disguises undone; ``at`` and ``to`` are where in the text each character comes from."""

    form: str
    at: list[int]
    to: list[int]

    @classmethod
    def of(cls, raw: str) -> Undone:
        """Its form, as :class:`~llmops_tui.inference.guardrails.canonical.CanonicalText` has that of a text as it is written."""
        text, at, to = _decoded(raw)
        parts: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        for character, begin, end in zip(text, at, to, strict=True):
            said = canonical_character(character)
            parts.append(said)
            begins += [begin] * len(said)
            ends += [end] * len(said)
        return cls(*_together("".join(parts), begins, ends))

    @classmethod
    def shown(cls, raw: str) -> Undone:
        """It as it is read, as :class:`~llmops_tui.inference.guardrails.canonical.ShownText`; letters apart stay apart."""
        text, at, to = _decoded(raw)
        parts: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        for character, begin, end in zip(text, at, to, strict=True):
            said = shown_character(character)
            parts.append(said)
            begins += [begin] * len(said)
            ends += [end] * len(said)
        return cls("".join(parts), begins, ends)

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text a part of the form stands."""
        return self.at[start], self.to[end - 1]


def is_disguised(raw: str) -> bool:
    """Whether a text has anything to undo but letters that stand apart."""
    return ("&" in raw or "%" in raw) and CODED.search(raw) is not None


def begun(raw: str) -> int:
    """From where on the end of a text may be something else when it goes on."""
    found = _BEGUN.search(raw, max(0, len(raw) - _LONGEST_BEGUN))
    return len(raw) if found is None else found.start()


def _decoded(raw: str) -> tuple[str, list[int], list[int]]:
    found = list(characters_of(raw))
    text, at, to = "".join(one for one, _, _ in found), [one for _, one, _ in found], [one for _, _, one in found]
    for _ in range(_ROUNDS):
        fresh: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        place = 0
        for match in CODED.finditer(text):
            fresh.append(text[place : match.start()])
            begins += at[place : match.start()]
            ends += to[place : match.start()]
            place = match.end()
            for said, begin, end in _meant(match):
                fresh.append(said)
                begins += [at[begin]] * len(said)
                ends += [to[end - 1]] * len(said)
        if not place:
            break
        text, at, to = "".join((*fresh, text[place:])), begins + at[place:], ends + to[place:]
    return text, at, to


def _meant(match: re.Match[str]) -> list[tuple[str, int, int]]:
    """What stands for what in a match: the characters, and where each of them is written."""
    start, end = match.span()
    as_written = [(one, start + n, start + n + 1) for n, one in enumerate(match[0])]
    if match["entity"]:
        name = match[0][1:]
        # Of a name that is none, its beginning may be one.
        said = html.unescape(match[0]) if name.startswith("#") else html5.get(name, "")
        return [(said, start, end)] if said else as_written
    try:
        text = bytes.fromhex(match[0].replace("%", "")).decode()
    except UnicodeDecodeError:
        return as_written
    found: list[tuple[str, int, int]] = []
    for one in text:
        after = start + 3 * len(one.encode())
        found.append((one, start, after))
        start = after
    return found


def _together(form: str, at: list[int], to: list[int]) -> tuple[str, list[int], list[int]]:
    """The form with letters that stand apart put together."""
    kept: list[int] = []
    place = 0
    for match in APART.finditer(form):
        kept += range(place, match.start())
        kept += range(match.start(), match.end(), 1 + len(match["sign"]))
        place = match.end()
    if not place:
        return form, at, to
    kept += range(place, len(form))
    return "".join(form[n] for n in kept), [at[n] for n in kept], [to[n] for n in kept]
