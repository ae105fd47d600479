"""Grades and votes as words: ``ITEM=4``, ``ITEM=tie``."""

from __future__ import annotations

from collections.abc import Iterable

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.grading.sheets import FIRST, SECOND, TIE, GradeSheet, VoteSheet

_VOTES = {"1": FIRST, FIRST: FIRST, "2": SECOND, SECOND: SECOND, "t": TIE, TIE: TIE}


def value_of(sheet: GradeSheet | VoteSheet, item: str, text: str) -> str:
    """A grade, or a vote by the places of the answers as this person sees them, as it is kept.

    Raises:
        InputRefusedError: ``unknown_item``, ``bad_grade``.
    """
    if item not in sheet.items:
        raise InputRefusedError("unknown_item", f"{item!r} is not an item of these runs", "--list shows the items.")
    if not isinstance(sheet, VoteSheet):
        return str(sheet.criterion.grade(text))
    meant = _VOTES.get(text.strip().lower())
    if meant is None:
        raise InputRefusedError("bad_grade", f"{text!r} is not a vote", "Write 1 (or first), 2 (or second), or tie.")
    return sheet.as_kept(item, meant)


def read_words(sheet: GradeSheet | VoteSheet, words: Iterable[str]) -> dict[str, str]:
    """What ``ITEM=VALUE`` says, by item.

    Raises:
        InputRefusedError: ``bad_grade``, ``unknown_item``; an item stands twice.
    """
    found: dict[str, str] = {}
    for word in words:
        item, equals, text = word.partition("=")
        if not equals:
            raise InputRefusedError("bad_grade", f"{word!r} says no value", "Write ITEM=VALUE.")
        if item in found:
            raise InputRefusedError("bad_grade", f"item {item} stands twice", "Nothing was saved.")
        found[item] = value_of(sheet, item, text)
    return found
