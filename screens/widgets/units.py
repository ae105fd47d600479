"""Figures of tables, which stand below a unit: the same digits in each row, thousands apart, a dash where none is known."""

from __future__ import annotations

import time

from llmops_tui.moments import moment_words
from screens.widgets.columns import Part

_DAY = 86_400.0
_COUNTS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def whole(value: float | None) -> Part:
    """A number without a fraction, such as milliseconds or tokens."""
    return ("–", "muted") if value is None else (f"{value:,.0f}", "plain")


def count(value: float | None) -> Part:
    """A number that may be very large, in three digits."""
    if value is None:
        return "–", "muted"
    return next((f"{value / least:.3g}{unit}" for least, unit in _COUNTS if value >= least), f"{value:,.0f}"), "plain"


def share(value: float) -> str:
    """A part of one as percent, for a column whose unit is that."""
    return f"{value * 100:.0f}"


def bar(value: float, cells: int) -> str:
    """A part of one as a bar of so many cells."""
    full = round(min(1.0, max(0.0, value)) * cells)
    return "━" * full + "─" * (cells - full)


def size(value: float) -> str:
    """Bytes; with their unit, since rows may differ by a million."""
    return next((f"{value / least:,.1f} {unit}" for least, unit in _SIZES if value >= least), f"{value:,.0f} B ")


def duration(seconds: float) -> str:
    """A length of time in one number, whose unit says how exact it is."""
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s " if seconds < 10 else f"{seconds:.0f} s "
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h "


def clock_time(seconds: float) -> str:
    """A length of time as a clock has it, minutes and seconds or hours too: all rows of a column in one unit."""
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{left:02}" if seconds >= 0.5 or not seconds else "<0:01"
    return f"{minutes // 60:,}:{minutes % 60:02}:{left:02}"


def measured(figure: str, unit: str) -> str:
    """A figure with its unit: percent stands at the figure, as everywhere here, and other units stand apart."""
    return f"{figure}{'' if unit == '%' else ' '}{unit}" if unit else figure


def moment(at: float, now: float | None = None) -> Part:
    """When something was: the time of today, or the day."""
    form = "%H:%M:%S" if (time.time() if now is None else now) - at < _DAY else "%d %b %H:%M"
    return moment_words(at, form), "muted"
