"""Differences between two texts, by words or by a model's tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

_WORDS = re.compile(r"\s+|\w+|[^\w\s]", re.UNICODE)
# Matching is quadratic at worst; longer texts are compared line by line.
_MAX_PIECES = 6_000

# Of the words of the shorter text, the share that both must have in the same order for the changes to be read in one text.
_ALIKE = 1 / 3

Change = Literal["same", "removed", "added"]
# Colour never stands alone: the marks tell removed from added without it.
_MARKS: dict[Change, str] = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}


@dataclass(frozen=True)
class DiffPart:
    """A run of text that both have, or only the first (removed) or only the second (added)."""

    change: Change
    text: str


def split_words(text: str) -> list[str]:
    """Words, runs of blanks, and single punctuation marks; joined they are the text again."""
    return _WORDS.findall(text)


def diff_words(before: str, after: str) -> list[DiffPart]:
    """Differences in words, or in lines where the texts are long; of texts with little in common, the one and then the other."""
    first, second = split_words(before), split_words(after)
    if len(first) + len(second) > _MAX_PIECES:
        first, second = before.splitlines(keepends=True), after.splitlines(keepends=True)
    parts = diff_pieces(first, second)
    if before and after and not _alike(before, after, parts):
        return [DiffPart("removed", before), DiffPart("added", after)]
    return _joined(parts)


def _alike(before: str, after: str, parts: Iterable[DiffPart]) -> bool:
    """Whether enough words are in both; of texts without a word, whether anything is."""
    shorter = min(_words(before), _words(after))
    both = [part.text for part in parts if part.change == "same"]
    return sum(map(_words, both)) >= shorter * _ALIKE if shorter else bool(both)


def _words(text: str) -> int:
    return sum(1 for piece in split_words(text) if piece[0].isalnum() or piece[0] == "_")


def _joined(parts: Sequence[DiffPart]) -> list[DiffPart]:
    """Changes that only blanks of one line are between, as one change: phrases are read, not single words."""
    out: list[DiffPart] = []
    removed = added = ""
    for place, part in enumerate(parts):
        between = 0 < place < len(parts) - 1 and part.text.isspace() and "\n" not in part.text
        if part.change == "same" and not (between and removed and added and _both_change(parts[place + 1 :])):
            out += _changes(removed, added)
            removed = added = ""
            out.append(part)
            continue
        removed += part.text if part.change != "added" else ""
        added += part.text if part.change != "removed" else ""
    return out + _changes(removed, added)


def _both_change(following: Sequence[DiffPart]) -> bool:
    """Whether a text is replaced next, and neither added nor removed alone."""
    return [part.change for part in following[:2]] == ["removed", "added"]


def _changes(removed: str, added: str) -> list[DiffPart]:
    told = [DiffPart("removed", removed), DiffPart("added", added)]
    return [part for part in told if part.text]


def diff_pieces(before: Sequence[str], after: Sequence[str]) -> list[DiffPart]:
    """Differences between two sequences of pieces of text, such as tokens."""
    parts: list[DiffPart] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            parts.append(DiffPart("same", "".join(before[i1:i2])))
            continue
        if i2 > i1:
            parts.append(DiffPart("removed", "".join(before[i1:i2])))
        if j2 > j1:
            parts.append(DiffPart("added", "".join(after[j1:j2])))
    return parts


def apart(parts: Sequence[DiffPart]) -> bool:
    """Whether it is the one text and then the other, which have too little in common for more."""
    return [part.change for part in parts] == ["removed", "added"]


def marked(parts: Sequence[DiffPart]) -> list[tuple[Change, str]]:
    """The parts with marks around what only one of the texts has, ``[-removed-]`` and ``{+added+}``.

    Two texts that have nothing in common stand below each other.
    """
    shown = [(part.change, _MARKS[part.change].format(part.text)) for part in parts]
    below = apart(parts) and any(" " in part.text for part in parts)
    return [shown[0], ("same", "\n"), shown[1]] if below else shown


def marked_text(parts: Sequence[DiffPart]) -> str:
    """A difference as text, see :func:`marked`."""
    return "".join(text for _, text in marked(parts))
