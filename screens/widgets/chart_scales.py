"""Scales of charts: round steps and ends, and whether powers of ten tell more than a linear scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Steps of round ends in a stretch.
_END_STEPS = 20
# When a logarithmic scale tells more: with so many values, a fall this large, and half of them so near the foot.
_LEAST_VALUES, _LARGE_FALL, _FOOT = 8, 5.0, 0.1


def round_ends(low: float, high: float) -> tuple[float, float]:
    """A stretch a little longer, with round ends: few rows have room for the numbers of its ends alone."""
    step = step_of(low, high, _END_STEPS)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def round_powers(low: float, high: float) -> tuple[float, float]:
    """The same of powers of ten: their ends have one digit."""
    least, most = (10.0 ** math.floor(end) for end in (low, high))
    return math.log10(math.floor(10.0**low / least + 1e-9) * least), math.log10(
        math.ceil(10.0**high / most - 1e-9) * most
    )


def tells_more_by_powers(values: Sequence[float]) -> bool:
    """Whether most of a line would lie flat at the foot of a linear scale: half of it in the lowest tenth of a large fall."""
    known = sorted(value for value in values if math.isfinite(value))
    if len(known) < _LEAST_VALUES or known[0] <= 0 or known[-1] < known[0] * _LARGE_FALL:
        return False
    return known[len(known) // 2] - known[0] < (known[-1] - known[0]) * _FOOT


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from ``low`` to ``high``, steps of 1, 2 or 5 of a power of ten, at most one more than ``most``."""
    step = step_of(low, high, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def step_of(low: float, high: float, most: int) -> float:
    """The least step of 1, 2 or 5 of a power of ten of which at most so many are between two numbers."""
    power = 10.0 ** math.floor(math.log10((high - low) / most or 1.0))
    return next(times * power for times in (1, 2, 5, 10) if times * power * most >= (high - low) * (1 - 1e-9))
