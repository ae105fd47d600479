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

from screens.widgets import units
from screens.widgets.canvas import Canvas
from screens.widgets.chart import LABEL, axis, axis_labels, short_number

if TYPE_CHECKING:
    from llmops_tui.monitoring.resolutions import Curve
    from screens.widgets.chart_file import ChartFile

_DAY = 86_400.0
# Seconds between two labels of time.
_STEPS = (
    10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
    _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY,
)  # fmt: skip
# Points of a line in a file.
_MOST = 2000
# Of the first four no two are alike in any theme: what is good has the accent's colour where red and green are not told apart.
STYLES = ("$accent", "$warning", "$foreground", "$error", "$success")


@dataclass(frozen=True)
class TimeSeries:
    """One line: what it is called, its unit, and its values. ``top`` is the end of a fixed scale, such as 100 of percents."""

    name: str
    unit: str
    curve: Curve
    top: float | None = None


_PERCENT, _FEW_ROWS = (0.0, 100.0), 4


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

    def as_file(self, title: str) -> ChartFile:
        """What is shown, to be saved: of each stretch of time the largest value, as it is drawn."""
        from screens.widgets.chart_file import ChartFile, ChartLine

        return ChartFile(
            title,
            "time",
            [
                ChartLine(f"{one.name} {one.unit}".strip(), _points(one.curve, self._span, _MOST))
                for one in self._series
            ],
        )

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
        if ys == _PERCENT and rows > _FEW_ROWS:
            # The half stands in the middle; of four rows one would be a quarter of the chart.
            rows -= (rows - 1) % 2
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
        text = " " * (LABEL + 1 + self.columns)
        for place, label in time_labels(begin, end, self.columns):
            at = LABEL + 1 + place
            text = text[:at] + label + text[at + len(label) :]
        return Content.styled(text, "$muted")

    def legend(self) -> Content:
        """What each line is, with its newest value."""
        parts: list[tuple[str, str] | str] = []
        for place, one in enumerate(self._series):
            known = one.curve.mean[np.isfinite(one.curve.mean)]
            value = f" {units.measured(_newest(float(known[-1]), one.unit), one.unit)}" if known.size else " –"
            parts += [("━ " if self._utf8 else "- ", STYLES[place % len(STYLES)]), one.name, (value, "$muted"), "   "]
        return Content.assemble(*parts)


def _newest(value: float, unit: str) -> str:
    """A load in percent moves by more than a tenth from one second to the next."""
    return f"{value:.0f}" if unit == "%" and value >= 1 else short_number(value)


def time_labels(begin: float, end: float, columns: int) -> list[tuple[int, str]]:
    """Round moments between two, each with the column in which its label begins, and the end itself at the right.

    A label stands in the middle of its moment, and keeps away from the next one. The distance is the least that leaves room:
    whole minutes and hours of the clock here, then days.
    """
    length = max(end - begin, 1.0)
    widest = len(time.strftime(_form(length)))
    step = next((one for one in _STEPS if one / length * columns >= widest + 4), _STEPS[-1])
    form = _form(length, step)
    last = time.strftime(_form(length), time.localtime(end))
    found = []
    free, most = 0, columns - len(last)
    # Midnight and full hours are those of the clock on the wall.
    here = time.localtime(begin)
    moment = begin - (here.tm_hour * 3600 + here.tm_min * 60 + here.tm_sec + begin % 1) % step
    while moment <= end:
        label = time.strftime(form, time.localtime(moment))
        place = round((moment - begin) / length * columns) - len(label) // 2
        if moment >= begin and place >= free and place + len(label) + 2 <= most:
            found.append((place, label))
            free = place + len(label) + 2
        moment += step
    return [*found, (max(0, most), last[: max(0, columns)])]


def _form(length: float, step: float = 1.0) -> str:
    if length < 1200 and step % 60:
        return "%H:%M:%S"
    if length < _DAY or step < _DAY:
        return "%H:%M" if length <= _DAY else "%b %d %H:%M"
    return "%b %d"


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
