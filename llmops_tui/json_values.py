"""Values as JSON: the one way for those that JSON has no word for, such as the bytes, dates and NaNs of a query."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping

_MOST_NOTES = 50
_LONGEST_PLACE = 200
_NO_NUMBERS = {math.inf: "infinity", -math.inf: "-infinity"}


class Notes:
    """What became of values, by their places: for all items of a list, one note of each kind."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}

    def add(self, where: str, what: str, kind: str = "") -> None:
        """Note something of a place; of one kind, the first is told and the others are counted."""
        self._found.setdefault((where[:_LONGEST_PLACE], kind), []).append(what)

    def told(self) -> list[str]:
        """The notes; of more than a reader wants, their number."""
        notes = [
            f"{where}: {what[0]}" + (f", and {len(what) - 1:,} more like it" if len(what) > 1 else "")
            for (where, _), what in self._found.items()
        ]
        rest = len(notes) - _MOST_NOTES
        return [*notes[:_MOST_NOTES], f"the same in {rest:,} other places"] if rest > 0 else notes


def word_of(value: object, where: str, notes: Notes) -> object:
    """A value that JSON has; what is within a list or an object is left as it is.

    Bytes become text, or ``{"base64": …}`` where they are none; dates, decimals and others their text; NaN and infinity
    null, which is noted.
    """
    if value is None or isinstance(value, (str, bool, int, Mapping, list, tuple)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        notes.add(where, f"{_NO_NUMBERS.get(value, 'NaN')} is null here, for JSON has no such number", repr(value))
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return of_bytes(bytes(value))
    return str(value)


def of_bytes(raw: bytes) -> str | dict[str, str]:
    """Bytes as the text that they are, or where they are none as an object that says how they are written."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def as_json(value: object, where: str, notes: Notes) -> object:
    """A value with all that is in it; names of objects are texts."""
    value = word_of(value, where, notes)
    if isinstance(value, Mapping):
        return {
            str(name): as_json(one, f"{where}.{name}" if where else str(name), notes) for name, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [as_json(one, f"{where}[]", notes) for one in value]
    return value
