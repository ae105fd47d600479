"""Digits of figures that are read together: a mean, its interval and its quantiles have the same number of decimals."""

from __future__ import annotations

import math

# Of a share from 0 to 1.
SHARE = 3
_SIGNIFICANT = 3


def places(*values: float | None) -> int:
    """The decimals with which the greatest of some figures has three digits, for all of them; without any, none."""
    known = [abs(value) for value in values if value is not None and math.isfinite(value)]
    greatest = max(known, default=0.0)
    return max(0, _SIGNIFICANT - 1 - math.floor(math.log10(greatest))) if greatest > 0 else 0


def fixed(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """A figure in so many decimals, thousands apart, or a dash; what is rounded to nothing has no sign."""
    if value is None or not math.isfinite(value):
        return "–"
    told = f"{value:{'+' if signed else ''},.{decimals}f}"
    return told.lstrip("+-") if not told.strip("+-0.,") else told


def interval(low: float | None, high: float | None, decimals: int, *, signed: bool = False) -> str:
    """Both ends of an interval, or nothing where there is none."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{fixed(low, decimals, signed=signed)}, {fixed(high, decimals, signed=signed)}]"
