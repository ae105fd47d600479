"""A text as it reads once entities, percent signs and letters that stand apart are undone, beside the text as it is written.

Entities are those of HTML (``&#105;``, ``&#x69;``, ``&amp;``), percent signs those of addresses (``%69``, in UTF-8); both may be
written of what was written so, twice at most. Letters stand apart where four or more follow each other one by one with the same
signs between them (``i.g.n.o.r.e``). Every place has its place in the text.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass

from llmops_tui.inference.guardrails.canonical import APART, CanonicalText, characters_of, shown_character
from llmops_tui.inference.guardrails.coded import CODED, CodedText

_LETTER = r"[^\W\d_]"
# Letters at the end that may stand apart when the text goes on, of at most so many characters.
_BEGUN = re.compile(rf"(?<![^\W_])(?:{_LETTER}[\W_]{{1,3}}){{1,3}}{_LETTER}?\Z")
_LONGEST_BEGUN = 16
_APART = 4
"""So many characters of a form stand for one letter at most: itself and the signs behind it."""
_NOT_YET_TOGETHER = 12
"""So long are letters that stand apart and are too few to be put together."""


@dataclass(frozen=True)
class Undone:
    """A text, or the end of one, with its disguises undone; ``at`` and ``to`` are where in the text each character comes from."""

    form: str
    at: list[int]
    to: list[int]

    @classmethod
    def of(cls, raw: str) -> Undone:
        """The form of a whole text."""
        return cls.since(CanonicalText.of(raw), 0)

    @classmethod
    def since(cls, text: CanonicalText, place: int) -> Undone:
        """The form of a text that grows from a place in its decoded form on."""
        return cls(*_together(text.decoded[place:], text.decoded_at[place:], text.decoded_to[place:]))

    @classmethod
    def shown(cls, raw: str) -> Undone:
        """It as it is read, as :class:`~llmops_tui.inference.guardrails.canonical.ShownText`; letters apart stay apart."""
        text, at, to = CodedText().add(*_seen(raw), whole=True)
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
    return ("&" in raw or "%" in raw or "\\" in raw) and CODED.search(_seen(raw)[0]) is not None


def undone_near(text: CanonicalText, raw: int, reach: int) -> Undone | None:
    """What begins less than ``reach`` before a place in the text, and all behind it; none where that has nothing to undo."""
    start = max(0, bisect.bisect_left(text.decoded_at, raw) - _APART * reach - _LONGEST_BEGUN)
    begin = text.decoded_at[start] if start < len(text.decoded) else len(text.raw)
    if text.coded.last <= begin and text.apart <= start:
        return None
    return Undone.since(text, start)


def decided(text: CanonicalText, reach: int) -> int:
    """Up to where a text that goes on is decided with its disguises undone, for what reaches over so many characters."""
    form = text.decoded
    bound = len(text.raw) if text.coded.begun is None else text.coded.begun
    found = _BEGUN.search(form, max(0, len(form) - _LONGEST_BEGUN))
    end = len(form) if found is None else found.start()
    start = max(0, end - _APART * (reach + _NOT_YET_TOGETHER))
    if text.apart > start:
        view = Undone.since(text, start)
        last = text.decoded_at[end] if end < len(form) else len(text.raw)
        place = bisect.bisect_left(view.at, last) - reach - _NOT_YET_TOGETHER
        return min(bound, view.at[place] if place >= 0 else text.decoded_at[start])
    if found is None and text.coded.begun is None and text.coded.last <= (text.decoded_at[start] if form else 0):
        # As it is written, which is looked at for itself.
        return bound
    place = end - reach
    return min(bound, text.decoded_at[place] if place >= 0 and form else 0)


def _seen(raw: str) -> tuple[str, list[int], list[int]]:
    """The characters of a text that are seen, with where each begins and ends."""
    found = [one for one in characters_of(raw) if shown_character(one[0])]
    return "".join(one for one, _, _ in found), [one for _, one, _ in found], [one for _, _, one in found]


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
