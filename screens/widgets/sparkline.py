"""Values as bars in a line or several: how a figure came about, beside the figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"
_EIGHTHS = 8


def resampled(values: Sequence[float], width: int) -> list[float]:
    """At most ``width`` means of neighbours; what is not a number counts for none of them."""
    if len(values) <= width:
        return list(values)
    step = len(values) / width
    out = []
    for place in range(width):
        part = [
            v
            for v in values[int(place * step) : max(int(place * step) + 1, int((place + 1) * step))]
            if not math.isnan(v)
        ]
        out.append(sum(part) / len(part) if part else math.nan)
    return out


def sparkline(values: Sequence[float], width: int, rows: int = 1, *, utf8: bool, from_zero: bool = False) -> list[str]:
    """Rows of bars, the highest first; nothing for what is not a number.

    The lowest value has the lowest bar that is seen; with ``from_zero`` heights are shares of the highest value, and
    zero has no bar.
    """
    shown = resampled(values, width)
    known = [v for v in shown if not math.isnan(v)]
    if not known:
        return [""] * rows
    low, high = (0.0 if from_zero else min(known)), max(known)
    span = high - low
    marks = _BLOCKS if utf8 else _ASCII
    steps = _EIGHTHS * rows

    def height(value: float) -> int:
        if math.isnan(value) or (from_zero and value <= 0):
            return 0
        return 1 + round((value - low) / span * (steps - 1)) if span > 0 else max(1, steps // 2)

    heights = [height(value) for value in shown]
    return [
        "".join(marks[max(0, min(_EIGHTHS, h - _EIGHTHS * row))] for h in heights) for row in range(rows - 1, -1, -1)
    ]
