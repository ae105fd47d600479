"""Finds numbers in a JSON schema that cannot be enforced exactly.

llguidance keeps all numbers in 64 bits of floating point, reads decimals of many digits one unit too high or too low,
counts multiples in 32 bits, and allows some bounds that are exclusive. It tells none of this: the answer simply has
another number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from llmops_tui.inference.schema_keywords import Schema, schemas_in, target_of

# Above this, whole numbers share their places in 64 bits of floating point with others.
_LARGEST = 2**53 - 1
# Powers of ten that are exact there, so that a decimal is read by one division and rightly rounded.
_POWERS = 22
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# So many digits of a decimal are exact.
_DIGITS = 15
# The remainder of a multiple so far, times ten, and what is put together of several, stay within 32 bits.
_MOST = 2**32 - 1


@dataclass(frozen=True)
class Inexact:
    """A number that is not enforced exactly: the place of its schema, the keyword, and why."""

    place: str
    word: str
    why: str


def inexact_numbers(schema: Schema) -> Iterator[Inexact]:
    """All such numbers."""
    steps = []
    for place, part in _reached(schema):
        for word in ("const", "enum", *BOUNDS):
            for at, number in _numbers(part.get(word), f"{place}/{word}"):
                if not _is_exact(number):
                    yield Inexact(
                        place,
                        word,
                        f"{at[:200]} is {str(number)[:60]}, which is not enforced exactly; whole numbers may go to"
                        f" ±{_LARGEST:,}, and decimals may have 15 digits",
                    )
        step = part.get("multipleOf")
        if isinstance(step, int | float) and not isinstance(step, bool):
            # A whole number may have more digits than floating point takes.
            if (isinstance(step, float) and not math.isfinite(step)) or not _counts([step]):
                told = f"{place[:200]}/multipleOf is {str(step)[:60]}, whose multiples are not counted exactly"
                yield Inexact(place, "multipleOf", told)
            else:
                steps.append((place, step))
    # Several are put together where they may say something of one value; alone, each is known to count.
    if len(steps) > 1 and _puts_together(schema) and not _counts([step for _, step in steps]):
        for place, _ in steps:
            told = f"{place[:200]}/multipleOf and the others have common multiples that are not counted exactly"
            yield Inexact(place, "multipleOf", told)


def close_bounds(part: Schema) -> None:
    """Write a whole exclusive bound as the next decimal of 15 digits, where llguidance would allow the bound itself.

    That is where the bounds have their whole part in common: above 0 and up to 0.5 it allows ``0``.
    """
    for sign, exclusive, bound, opposite in (
        (1, "exclusiveMinimum", "minimum", ("maximum", "exclusiveMaximum")),
        (-1, "exclusiveMaximum", "maximum", ("minimum", "exclusiveMinimum")),
    ):
        # Below zero all is as above it, of the amounts.
        start = _amount(part.get(exclusive), sign)
        ends = [end for word in opposite if (end := _amount(part.get(word), sign)) is not None]
        if part.get("type") == "integer" or start is None or not ends or start != int(start) or start < 0:
            continue
        next_to = start + Decimal(1).scaleb(len(str(int(start))) * (start != 0) - _DIGITS)
        if next_to < min(ends) < start + 1 and next_to < _LARGEST:
            del part[exclusive]
            given = _amount(part.get(bound), sign)
            part[bound] = float(sign * (next_to if given is None else max(given, next_to)))


def combines_exclusive_bounds(schema: Schema) -> bool:
    """Whether bounds of several schemas may be put together to some that :func:`close_bounds` would have to write."""
    bounded = any(
        _amount(part.get(word)) is not None
        for _, part in _reached(schema)
        for word in ("exclusiveMinimum", "exclusiveMaximum")
    )
    return bounded and _puts_together(schema)


def _amount(value: Any, sign: int = 1) -> Decimal | None:
    exact = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return sign * Decimal(repr(value)) if exact else None


def _reached(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """All schemas in one, and those that only a ``$ref`` makes to schemas."""
    left, passed = [("#", schema)], {"#"}
    seen: set[int] = set()
    while left:
        start, begun = left.pop()
        for place, part in schemas_in(begun, start):
            if id(part) in seen:
                continue
            seen.add(id(part))
            yield place, part
            ref = part.get("$ref")
            if isinstance(ref, str) and ref not in passed:
                passed.add(ref)
                left.append((ref, target_of(schema, ref)))


def _numbers(value: Any, place: str) -> Iterator[tuple[str, int | float]]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield place, value
    elif isinstance(value, list | dict):
        for name, part in enumerate(value) if isinstance(value, list) else value.items():
            yield from _numbers(part, f"{place}/{name}")


def _is_exact(number: float) -> bool:
    if isinstance(number, int) or not math.isfinite(number):
        return abs(number) <= _LARGEST
    if number.is_integer() and abs(number) > _LARGEST:
        return False
    # Its digits as one number, and the power of ten by which that is divided, as they are written to the grammar.
    written = Decimal(repr(number)).as_tuple()
    whole = int("".join(map(str, written.digits)))
    return int(float(whole)) == whole and abs(int(written.exponent)) <= _POWERS


def _counts(steps: list[int | float]) -> bool:
    """Whether common multiples of these are worked out in 32 bits, in whatever order."""
    exact = sorted({Fraction(repr(step)) for step in steps if step})
    # In units of their last digit, as the library has them; one of them may have to be whole.
    unit = 10 ** max((_places(step) for step in exact), default=0)
    counts = [unit, *(int(abs(step) * unit) for step in exact)]
    for n, count in enumerate(counts):
        others = math.lcm(*counts[:n], *counts[n + 1 :])
        if others * count > _MOST and len(counts) > 1:
            return False
    return math.lcm(*counts) * 10 <= _MOST


def _places(step: Fraction) -> int:
    return next(n for n in range(400) if (step * 10**n).denominator == 1)


def _puts_together(schema: Schema) -> bool:
    return any(word in part for _, part in _reached(schema) for word in ("$ref", "allOf", "anyOf", "oneOf"))
