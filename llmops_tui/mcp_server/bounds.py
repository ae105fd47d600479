"""Results of a size that an agent can read: long texts are cut and long lists end early, and what was left out is told."""

from __future__ import annotations

import json
from collections.abc import Mapping

from llmops_tui.foreign_text import JsonObject
from llmops_tui.json_values import Notes, word_of

# Characters of JSON, about a third as many tokens.
MOST = 60_000
_LONGEST = 20_000
_SHORTER = 4
_LEFT_OUT = "left_out"


def bounded(result: Mapping[str, object], most: int = MOST) -> JsonObject:
    """A result as JSON of at most about ``most`` characters; ``left_out`` says what is missing of it, and where.

    Texts are cut first, then the last items of lists. What is no JSON is written as everywhere (:mod:`llmops_tui.json_values`);
    that NaN and infinity became null is told in ``left_out``, too.
    """
    longest, items = _LONGEST, 1_000_000
    while True:
        notes = Notes()
        cut = {name: _cut(value, name, longest, items, notes) for name, value in result.items()}
        if len(json.dumps(cut, ensure_ascii=False)) <= most or (longest <= _SHORTER and items <= 1):
            return {**cut, _LEFT_OUT: notes.told()}
        longest, items = _less(longest, items, result)


def _less(longest: int, items: int, result: Mapping[str, object]) -> tuple[int, int]:
    """The next smaller limits: texts down to a paragraph, then lists, and texts again where that is not enough."""
    if longest > 500:
        return longest // 2, items
    if items > 1:
        return longest, min(items, _longest_list(result)) // 2 or 1
    return longest // 2, items


def _longest_list(value: object) -> int:
    if isinstance(value, Mapping):
        return max((_longest_list(one) for one in value.values()), default=0)
    if isinstance(value, (list, tuple)):
        return max([len(value), *(_longest_list(one) for one in value)])
    return 0


def _cut(value: object, where: str, longest: int, items: int, notes: Notes) -> object:
    value = word_of(value, where, notes)
    if isinstance(value, str) and len(value) > longest:
        notes.add(where, f"{len(value) - longest:,} of {len(value):,} characters")
        return value[:longest] + "…"
    if isinstance(value, Mapping):
        return {str(name): _cut(one, f"{where}.{name}", longest, items, notes) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        if len(value) > items:
            notes.add(where, f"{len(value) - items:,} of {len(value):,} items")
        return [_cut(one, f"{where}[]", longest, items, notes) for one in value[:items]]
    return value
