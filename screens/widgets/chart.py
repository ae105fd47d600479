"""Line charts in braille: several series, linear or logarithmic, smoothed, zoomed; drawn from numbers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.widget import Widget

# The dot of each pixel of a braille cell, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LABEL = 8
_SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
# Beyond it the arithmetic of axes overflows; a loss that large is drawn at the edge.
_LARGEST = 1e250


@dataclass(frozen=True)
class Series:
    """One line: its name, its colour, and its points in the order of x."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    dotted: bool = False


def smooth(points: Sequence[tuple[float, float]], weight: float) -> list[tuple[float, float]]:
    """The exponential moving average of a line, corrected for its beginning (Kingma and Ba 2015); gaps are left out."""
    found = []
    average, seen = 0.0, 0.0
    for x, y in points:
        if not math.isfinite(y):
            continue
        average = weight * average + (1 - weight) * min(_LARGEST, max(-_LARGEST, y))
        seen = weight * seen + (1 - weight)
        found.append((x, average / seen))
    return found


def short_number(value: float) -> str:
    """A number in at most eight characters."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-3:
        return f"{value:.0e}"
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.0f}{unit}" if abs(scaled) >= 100 else f"{scaled:.3g}{unit}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"


class LineChart(Widget):
    """A chart of series; ``zoom`` shows the last part of them."""

    DEFAULT_CSS = "LineChart { height: 1fr; min-height: 5; }"

    def __init__(self, *, utf8: bool, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._utf8 = utf8
        self._series: list[Series] = []
        self.logarithmic = False
        self.smoothing = 0
        self.zoom = 1.0

    def show(self, series: list[Series]) -> None:
        """Draw these series from now on."""
        if series != self._series:
            self._series = series
            self.refresh()

    def cycle_smoothing(self) -> float:
        """The next of a few smoothings; returns its weight."""
        self.smoothing = (self.smoothing + 1) % len(_SMOOTHINGS)
        self.refresh()
        return _SMOOTHINGS[self.smoothing]

    def toggle_logarithmic(self) -> bool:
        """Switch between a linear and a logarithmic scale."""
        self.logarithmic = not self.logarithmic
        self.refresh()
        return self.logarithmic

    def change_zoom(self, factor: float) -> float:
        """Show more or less of the beginning; returns the share that is shown."""
        self.zoom = min(1.0, max(0.02, self.zoom * factor))
        self.refresh()
        return self.zoom

    def render(self) -> Content:
        """Axes and lines."""
        width, height = self.size.width, self.size.height
        lines = draw(
            self._series, width, height, weight=_SMOOTHINGS[self.smoothing], logarithmic=self.logarithmic, zoom=self.zoom,
            utf8=self._utf8,
        )  # fmt: skip
        return Content("\n").join(lines)


def draw(
    series: list[Series], width: int, height: int, *, weight: float, logarithmic: bool, zoom: float, utf8: bool
) -> list[Content]:
    """The lines of a chart of so many cells."""
    columns, rows = width - _LABEL - 1, height - 1
    kept = _visible(series, weight, zoom, logarithmic=logarithmic)
    values = [y for one in kept for _, y in one.points]
    if columns < 4 or rows < 2 or not values:
        return [Content.styled("nothing to draw yet", "$muted")]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - abs(low or 1) * 0.05, high + abs(high or 1) * 0.05
    xs = [x for one in kept for x, _ in one.points]
    first, last = min(xs), max(xs)
    cells: list[list[tuple[int, str]]] = [[(0, "")] * columns for _ in range(rows)]
    for one in kept:
        _trace(one, cells, (first, last), (low, high))
    return _with_axes(cells, (first, last), (low, high), logarithmic=logarithmic, utf8=utf8)


def _visible(series: list[Series], weight: float, zoom: float, *, logarithmic: bool) -> list[Series]:
    ends = [one.points[-1][0] for one in series if one.points]
    begins = [one.points[0][0] for one in series if one.points]
    if not ends:
        return []
    start = max(ends) - (max(ends) - min(begins)) * zoom
    kept = []
    for one in series:
        points = [(x, y) for x, y in smooth(one.points, weight) if x >= start]
        if logarithmic:
            points = [(x, math.log10(y)) for x, y in points if y > 0]
        if points:
            kept.append(Series(one.name, one.style, points, one.dotted))
    return kept


def _trace(one: Series, cells: list[list[tuple[int, str]]], xs: tuple[float, float], ys: tuple[float, float]) -> None:
    across, down = len(cells[0]) * 2, len(cells) * 4
    span_x, span_y = (xs[1] - xs[0]) or 1.0, (ys[1] - ys[0]) or 1.0

    def place(point: tuple[float, float]) -> tuple[int, int]:
        x = round((point[0] - xs[0]) / span_x * (across - 1))
        return x, round((ys[1] - point[1]) / span_y * (down - 1))

    before: tuple[int, int] | None = None
    for point in one.points:
        x, y = place(point)
        steps = max(1, abs(x - before[0]), abs(y - before[1])) if before is not None else 1
        for step in range(1, steps + 1):
            if one.dotted and (x + step) % 4 in {2, 3}:
                continue
            px = x if before is None else before[0] + round((x - before[0]) * step / steps)
            py = y if before is None else before[1] + round((y - before[1]) * step / steps)
            row, column = min(len(cells) - 1, py // 4), min(len(cells[0]) - 1, px // 2)
            cells[row][column] = (cells[row][column][0] | _DOTS[py % 4][px % 2], one.style)
        before = (x, y)


def _with_axes(
    cells: list[list[tuple[int, str]]],
    xs: tuple[float, float],
    ys: tuple[float, float],
    *,
    logarithmic: bool,
    utf8: bool,
) -> list[Content]:
    lines = []
    rows = len(cells)
    marked = {round(i * (rows - 1) / max(1, min(4, rows - 1))) for i in range(5)}
    for row, line in enumerate(cells):
        value = ys[1] - (ys[1] - ys[0]) * row / max(1, rows - 1)
        label = short_number(10**value if logarithmic else value) if row in marked else ""
        parts: list[tuple[str, str] | str] = [
            (f"{label:>{_LABEL}}", "$muted"),
            ("┤" if utf8 and label else "│" if utf8 else "|", "$line"),
        ]
        for dots, style in line:
            text = " " if not dots else chr(0x2800 + dots) if utf8 else "*"
            parts.append((text, style) if style else text)
        lines.append(Content.assemble(*parts))
    left, right = short_number(xs[0]), short_number(xs[1])
    lines.append(Content.styled(" " * (_LABEL + 1) + left + right.rjust(len(cells[0]) - len(left)), "$muted"))
    return lines
