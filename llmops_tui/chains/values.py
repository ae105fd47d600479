"""Values that steps hand on: only those that a run's journal can keep, so that a run that was killed has the same ones."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import orjson

from llmops_tui.chains.yaml_lines import Place
from llmops_tui.errors import InputRefusedError

_NO_JSON = " is nothing that JSON has"
# A number of so many bits has at most 39 digits.
_WRITTEN_BITS = 128


def kept(value: Any, what: str) -> Any:
    """A value as it is.

    Raises:
        InputRefusedError: ``bad_value``: no journal can keep it: a number beyond 64 bits or none at all, half of a character.
    """
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise InputRefusedError(
            "bad_value",
            f"{what} cannot be kept: {error}"[:300],
            "Steps take texts, numbers of at most 64 bits, lists and objects.",
        ) from error
    if (odd := _endless(value)) is not None:
        raise InputRefusedError("bad_value", f"{what} has {odd}, which JSON does not have", "Give a number that ends.")
    return value


def _endless(value: Any) -> float | None:
    """A number that is infinite or none, somewhere in a value."""
    found = [value]
    while found:
        one = found.pop()
        if isinstance(one, float) and not math.isfinite(one):
            return one
        found += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return None


def foreign(value: object, place: Place = ()) -> tuple[Place, str] | None:
    """Where in what was read of YAML the first value stands that no step can take, and what is wrong with it."""
    if isinstance(value, dict):
        for key, one in value.items():
            if isinstance(key, (date, bytes, tuple)):
                return place, f"the key {str(key)[:40]}{_NO_JSON}"
            if (found := foreign(one, (*place, key if isinstance(key, str) else str(key).lower()))) is not None:
                return found
        return None
    if isinstance(value, list):
        return next((found for n, one in enumerate(value) if (found := foreign(one, (*place, n))) is not None), None)
    return None if (odd := _odd(value)) is None else (place, odd)


def _odd(value: object) -> str | None:
    """What is wrong with a value that has no others in it."""
    if isinstance(value, date):
        return f"the date {value}{_NO_JSON}"
    if not (value is None or isinstance(value, (str, bool, int, float))):
        return f"a value of the type {type(value).__name__}{_NO_JSON}"
    try:
        kept(value, "it")
    except InputRefusedError:
        if isinstance(value, int):
            # Python refuses to write one of thousands of digits.
            told = f"the number {value}" if value.bit_length() <= _WRITTEN_BITS else "a number"
            return f"{told} has {value.bit_length():,} bits, more than the 64 that a number may have"
        return f"{'a text with half of a character' if isinstance(value, str) else repr(value)}{_NO_JSON}"
    return None
