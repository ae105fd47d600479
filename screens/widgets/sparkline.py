"""Values as bars in a line or several: how a figure came about, beside the figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"
_EIGHTHS = 8
# Cells of a bar that has more room than it needs.
_WIDEST, _BAR_WITH_GAP = 4, 2


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


def bars(values: Sequence[float], width: int, rows: int = 1, *, utf8: bool, widest: int = _WIDEST) -> list[str]:
    """As :func:`sparkline` from zero, with a gap between two values where there is room for it: each is seen by itself.

    Zero has the lowest bar: it is known, as what is not a number is not. They take the whole width, so that some are a cell
    wider than others, as far as none is to be wider than ``widest``.
    """
    lines = sparkline(values, width, rows, utf8=utf8, from_zero=True)
    least = _BLOCKS[1] if utf8 else _ASCII[1]
    last = zip(lines[-1], resampled(values, width), strict=False)
    lines[-1] = "".join(least if mark == " " and value == 0 else mark for mark, value in last)
    count = len(values)
    if not count or (width + 1) // count < _BAR_WITH_GAP:
        return lines
    room = min(width + 1, count * (widest + 1))
    wide = [(place + 1) * room // count - place * room // count - 1 for place in range(count)]
    return [" ".join(mark * cells for mark, cells in zip(line, wide, strict=True)) for line in lines]
