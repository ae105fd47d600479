"""Results of a size that an agent can read: long texts are cut and long lists end early, and what was left out is told."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from llmops_tui.datasets.sources.databases import plain
from llmops_tui.foreign_text import JsonObject

# Characters of JSON, about a third as many tokens.
MOST = 60_000
_LONGEST = 20_000
_SHORTER = 4
_LEFT_OUT = "left_out"
_MOST_NOTES = 50
_LONGEST_PLACE = 200
_NO_NUMBERS = {math.inf: "infinity", -math.inf: "-infinity"}


class _Notes:
    """What was cut, or has no word in JSON: for all items of a list, one note of each kind."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}

    def add(self, where: str, what: str, kind: str = "") -> None:
        self._found.setdefault((where[:_LONGEST_PLACE], kind), []).append(what)

    def told(self) -> list[str]:
        """The notes; of more than a reader wants, their number."""
        notes = [
            f"{where}: {what[0]}" + (f", and {len(what) - 1:,} more like it" if len(what) > 1 else "")
            for (where, _), what in self._found.items()
        ]
        rest = len(notes) - _MOST_NOTES
        return [*notes[:_MOST_NOTES], f"the same in {rest:,} other places"] if rest > 0 else notes


def bounded(result: Mapping[str, object], most: int = MOST) -> JsonObject:
    """A result as JSON of at most about ``most`` characters; ``left_out`` says what is missing of it, and where.

    Texts are cut first, then the last items of lists. What is no JSON, such as a date of a query, becomes its text; bytes
    become what they are in datasets: text, or base64 where they are none. NaN and infinity become null, which
    ``left_out`` tells.
    """
    longest, items = _LONGEST, 1_000_000
    while True:
        notes = _Notes()
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


def _cut(value: object, where: str, longest: int, items: int, notes: _Notes) -> object:
    value = _as_json(value, where, notes)
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


def _as_json(value: object, where: str, notes: _Notes) -> object:
    """A value that JSON has, though what stands in it may be none."""
    if value is None or isinstance(value, (str, bool, int, Mapping, list, tuple)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        notes.add(where, f"{_NO_NUMBERS.get(value, 'NaN')} is null here, for JSON has no such number", repr(value))
        return None
    return plain(value) if isinstance(value, (bytes, bytearray, memoryview)) else str(value)
