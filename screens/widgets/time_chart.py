"""Series over time in braille: a window that follows the clock or is paused, gaps for missing data, a crosshair."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from screens.widgets.chart import LABEL, Canvas, axis, axis_labels, short_number

if TYPE_CHECKING:
    from llmops_tui.monitoring.resolutions import Curve

STYLES = ("$accent", "$warning", "$success", "$error", "$foreground")


@dataclass(frozen=True)
class TimeSeries:
    """One line: what it is called, its unit, and its values. ``top`` is the end of a fixed scale, such as 100 of percents."""

    name: str
    unit: str
    curve: Curve
    top: float | None = None


class TimeChart(Widget, can_focus=True):
    """A chart of a window of time."""

    DEFAULT_CSS = "TimeChart { height: 1fr; min-height: 4; }"
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("left", "cross(-1)", show=False),
        Binding("right", "cross(1)", show=False),
        Binding("home", "cross(-10000)", show=False),
        Binding("end", "cross(10000)", show=False),
    ]

    class Crossed(Message):
        """The crosshair stands elsewhere, or is gone."""

    def __init__(self, *, utf8: bool, id: str) -> None:  # noqa: A002  the name every widget has
        super().__init__(id=id)
        self._utf8 = utf8
        self._series: list[TimeSeries] = []
        self._span = (0.0, 1.0)
        self._cross: int | None = None
        self.placeholder = ""

    def show(self, series: Sequence[TimeSeries], begin: float, end: float) -> None:
        """Show these series between two moments."""
        self._series, self._span = list(series), (begin, end)
        self.refresh()

    @property
    def columns(self) -> int:
        """How many columns the lines have."""
        return max(1, self.size.width - LABEL - 1)

    @property
    def crossed(self) -> tuple[float, float] | None:
        """The stretch of time under the crosshair."""
        if self._cross is None:
            return None
        width = (self._span[1] - self._span[0]) / self.columns
        begin = self._span[0] + min(self._cross, self.columns - 1) * width
        return begin, begin + width

    def values_at(self, moment: float) -> list[tuple[TimeSeries, float, float]]:
        """Each series with its mean and its largest value at a moment, where they are known."""
        found = []
        for one in self._series:
            place = int(np.searchsorted(one.curve.times, moment, side="right")) - 1
            if 0 <= place < len(one.curve.times) and np.isfinite(one.curve.mean[place]):
                found.append((one, float(one.curve.mean[place]), float(one.curve.largest[place])))
        return found

    def action_cross(self, step: int) -> None:
        """Move the crosshair; it begins at the newest."""
        last = self.columns - 1
        self._cross = max(
            0, min(last, (last if self._cross is None else self._cross) + (step if self._cross is not None else 0))
        )
        self.refresh()
        self.post_message(self.Crossed())

    def clear_cross(self) -> bool:
        """Take the crosshair away; false where there was none."""
        had = self._cross is not None
        self._cross = None
        if had:
            self.refresh()
            self.post_message(self.Crossed())
        return had

    def render(self) -> Content:
        """Axes and lines."""
        rows = self.size.height - 1
        kept = [(one, _points(one.curve, self._span, self.columns * 2)) for one in self._series]
        known = [y for _, points in kept for _, y in points if np.isfinite(y)]
        if self.columns < 8 or rows < 2 or not known:
            return Content.styled(self.placeholder, "$muted")
        tops = [one.top for one, _ in kept]
        fixed = None not in tops
        high = max(float(top) for top in tops if top is not None) if fixed else max(known)
        low = 0.0 if fixed or min(known) >= 0 else min(known)
        ys = (low, high if high > low else low + 1.0)
        canvas = Canvas(self.columns, rows)
        for place, (_, points) in enumerate(kept):
            canvas.trace(points, self._span, ys, STYLES[place % len(STYLES)])
        lines = [
            axis(label, utf8=self._utf8) + canvas.row(row, utf8=self._utf8, cross=self._cross)
            for row, label in enumerate(axis_labels(rows, ys))
        ]
        return Content("\n").join([*lines, self._times()])

    def _times(self) -> Content:
        """The line of times below."""
        begin, end = self._span
        form = "%H:%M:%S" if end - begin < 1200 else "%H:%M" if end - begin < 86_400 else "%b %d %H:%M"
        width = len(time.strftime(form, time.localtime(begin)))
        count = max(1, min(6, self.columns // (width + 6)))
        text = " " * (LABEL + 1 + self.columns)
        for n in range(count + 1):
            place = round(n * (self.columns - width) / count)
            label = time.strftime(form, time.localtime(begin + (end - begin) * (place + width / 2) / self.columns))
            if n in {0, count}:
                label = time.strftime(form, time.localtime(begin if n == 0 else end))
            at = LABEL + 1 + place
            text = text[:at] + label + text[at + width :]
        return Content.styled(text[: LABEL + 1 + self.columns], "$muted")

    def legend(self) -> Content:
        """What each line is, with its newest value."""
        parts: list[tuple[str, str] | str] = []
        for place, one in enumerate(self._series):
            known = one.curve.mean[np.isfinite(one.curve.mean)]
            value = f" {short_number(float(known[-1]))} {one.unit}" if known.size else " –"
            parts += [("━ " if self._utf8 else "- ", STYLES[place % len(STYLES)]), one.name, (value, "$muted"), "   "]
        return Content.assemble(*parts)


def _points(curve: Curve, span: tuple[float, float], most: int) -> list[tuple[float, float]]:
    """At most so many points of a curve: of each stretch the largest value, so that no spike is lost."""
    times, values = curve.times, curve.largest
    inside = (times >= span[0] - curve.resolution) & (times <= span[1])
    times, values = times[inside], values[inside]
    if len(times) > most:
        size = -(-len(times) // most)
        pad = size * -(-len(times) // size) - len(times)
        wide = np.append(values, np.full(pad, np.nan, dtype=values.dtype)).reshape(-1, size)
        known = np.isfinite(wide)
        values = np.where(known.any(axis=1), np.where(known, wide, -np.inf).max(axis=1), np.nan)
        times = times[::size]
    return list(zip(np.maximum(times, span[0]).tolist(), values.astype(float).tolist(), strict=True))
