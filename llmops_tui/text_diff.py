"""Differences between two texts, by words or by a model's tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

_WORDS = re.compile(r"\s+|\w+|[^\w\s]", re.UNICODE)
# Matching is quadratic at worst; longer texts are compared line by line.
_MAX_PIECES = 6_000

Change = Literal["same", "removed", "added"]


@dataclass(frozen=True)
class DiffPart:
    """A run of text that both have, or only the first (removed) or only the second (added)."""

    change: Change
    text: str


def split_words(text: str) -> list[str]:
    """Words, runs of blanks, and single punctuation marks; joined they are the text again."""
    return _WORDS.findall(text)


def diff_words(before: str, after: str) -> list[DiffPart]:
    """Differences in words, or in lines where the texts are long."""
    first, second = split_words(before), split_words(after)
    if len(first) + len(second) > _MAX_PIECES:
        first, second = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return diff_pieces(first, second)


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
