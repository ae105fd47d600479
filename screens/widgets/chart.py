"""Line charts: several series, linear or logarithmic, smoothed, zoomed; drawn from numbers alone, in braille or as a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.widget import Widget

from screens.widgets.canvas import Canvas, Drawn
from screens.widgets.chart_scales import round_ends, round_powers, round_ticks, step_of
from screens.widgets.pixel_canvas import PixelCanvas, shown_by

LABEL = 8
# A number below a chart for so many columns of it.
# Below it a round power of ten may be none any more, and the same is drawn of 0: nothing.
_NEAR_ZERO = 1e-250
_TICK_COLUMNS = 12
_SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
# So few rows have no room for round numbers between their ends.
_FEW_ROWS = 6
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
    """A chart of series; ``zoom`` shows the last part of them, and ``across`` names what is told from left to right."""

    DEFAULT_CSS = "LineChart { height: 1fr; min-height: 5; }"

    def __init__(self, *, utf8: bool, id: str, across: str = "") -> None:  # noqa: A002
        super().__init__(id=id)
        self._utf8 = utf8
        self._across = across
        self._series: list[Series] = []
        self.logarithmic = False
        self.smoothing = 0
        self.zoom = 1.0
        self._picture = ("", 0)

    def show(self, series: list[Series]) -> None:
        """Draw these series from now on."""
        if series != self._series:
            self._series = series
            self.refresh()

    @property
    def series(self) -> list[Series]:
        """What is drawn, before it is smoothed and zoomed."""
        return self._series

    @property
    def weight(self) -> float:
        """How strongly lines are smoothed; 0: not at all."""
        return _SMOOTHINGS[self.smoothing]

    def cycle_smoothing(self) -> float:
        """The next of a few smoothings; returns its weight."""
        self.smoothing = (self.smoothing + 1) % len(_SMOOTHINGS)
        self.refresh()
        return self.weight

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
        """Axes and lines; the lines are a picture where the terminal shows some."""
        width, height = self.size.width, self.size.height
        pixels: list[PixelCanvas] = []
        terminal = shown_by(self.app)

        def made(columns: int, rows: int) -> Drawn:
            if terminal is None or rows > PixelCanvas.MOST_ROWS:
                return Canvas(columns, rows)
            pixels.append(PixelCanvas(columns, rows, terminal.colours, self.id or ""))
            return pixels[-1]

        lines = draw(
            self._series,
            width,
            height,
            weight=self.weight,
            logarithmic=self.logarithmic,
            zoom=self.zoom,
            utf8=self._utf8,
            canvas=made,
            across=self._across,
        )
        if terminal is not None and pixels:
            picture = pixels[-1].sent(), terminal.drawn_anew
            if picture != self._picture:
                self._picture = picture
                terminal.write(picture[0])
        return Content("\n").join(lines)


def draw(
    series: list[Series],
    width: int,
    height: int,
    *,
    weight: float,
    logarithmic: bool,
    zoom: float,
    utf8: bool,
    canvas: Callable[[int, int], Drawn] = Canvas,
    across: str = "",
) -> list[Content]:
    """The lines of a chart of so many cells."""
    columns, rows = width - LABEL - 1, height - 1
    kept = _visible(series, weight, zoom, logarithmic=logarithmic)
    values = [y for one in kept for _, y in one.points]
    if columns < 4 or rows < 2 or not values:
        return [Content.styled("Nothing to draw yet.", "$muted")]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - abs(low or 1) * 0.05, high + abs(high or 1) * 0.05
    if rows <= _FEW_ROWS:
        low, high = round_powers(low, high) if logarithmic else round_ends(low, high)
    xs = [x for one in kept for x, _ in one.points]
    first, last = min(xs), max(xs)
    drawn = canvas(columns, rows)
    for one in kept:
        drawn.trace(one.points, (first, last), (low, high), one.style, dotted=one.dotted)
    return _with_axes(drawn, (first, last), (low, high), logarithmic=logarithmic, utf8=utf8, across=across)


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
            points = [(x, math.log10(y)) for x, y in points if y > _NEAR_ZERO]
        if points:
            kept.append(Series(one.name, one.style, points, one.dotted))
    return kept


def _with_axes(
    canvas: Drawn,
    xs: tuple[float, float],
    ys: tuple[float, float],
    *,
    logarithmic: bool,
    utf8: bool,
    across: str,
) -> list[Content]:
    labels = axis_labels(canvas.rows, ys, logarithmic=logarithmic)
    lines = [axis(label, utf8=utf8) + canvas.row(row, utf8=utf8) for row, label in enumerate(labels)]
    lines.append(Content.styled(f"{across[:LABEL]:>{LABEL}} " + _below(xs, canvas.columns), "$muted"))
    return lines


def _below(xs: tuple[float, float], columns: int) -> str:
    """The numbers below a chart: its ends, and round ones between them where there is room."""
    left, right = short_number(xs[0]), short_number(xs[1])
    line = left + right.rjust(columns - len(left))
    if xs[0] >= xs[1]:
        return line
    for value in round_ticks(*xs, max(1, columns // _TICK_COLUMNS)):
        text = short_number(value)
        begin = round((value - xs[0]) / (xs[1] - xs[0]) * (columns - 1)) - len(text) // 2
        end = begin + len(text)
        # Steps are whole where their ends are.
        whole = value == int(value) or any(x != int(x) for x in xs)
        if whole and begin > 1 and not line[begin - 2 : end + 2].strip():
            line = line[:begin] + text + line[end:]
    return line


def axis_labels(rows: int, ys: tuple[float, float], *, logarithmic: bool = False) -> list[str]:
    """The number beside each row of a chart; empty beside most. Round ones: steps of 1, 2 or 5 of a power of ten.

    From 0 to 100 the quarters are marked, or where they would stand unevenly the halves; where no two round ones fit, the ends.
    With ``logarithmic``, ``ys`` are powers of ten.
    """
    if ys == (0.0, 100.0) and rows > 4:
        quarters = (rows - 1) % 4 == 0
        ticks = [(float(value), str(value)) for value in ((0, 25, 50, 75, 100) if quarters else (0, 50, 100))]
    else:
        ticks = _powers(ys, rows) if logarithmic else _ticks(ys, rows)
    labels = [""] * rows
    low, high = ys
    for value, text in ticks:
        labels[round((high - value) / ((high - low) or 1.0) * (rows - 1))] = text
    if sum(map(bool, labels)) < 2 <= rows and low < high:
        # One number is no scale: then the ends have theirs, however crooked.
        labels = [""] * rows
        labels[0], labels[-1] = (short_number(10.0**end if logarithmic else end) for end in (high, low))
    return labels


def _ticks(ys: tuple[float, float], rows: int) -> list[tuple[float, str]]:
    """Round numbers between two, at most five and no more than every second row."""
    low, high = ys
    most = max(1, min(4, (rows - 1) // 2))
    step = step_of(low, high, most)
    places = max(0, -math.floor(math.log10(step)))
    found = round_ticks(low, high, most)
    # Large and tiny numbers are short in another way, which keeps no places.
    short = step >= 1e-3 and max(abs(low), abs(high)) < 1e4
    return [(value, f"{value:,.{places}f}" if short else short_number(value)) for value in found]


def _powers(ys: tuple[float, float], rows: int) -> list[tuple[float, str]]:
    """Powers of ten between two of them, with their double and their half where there are few."""
    low, high = ys
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [
            (math.log10(factor * 10.0**power), factor * 10.0**power)
            for power in range(math.floor(low), math.ceil(high) + 1)
            for factor in factors
        ]
        kept = [(place, short_number(value)) for place, value in found if low - 1e-9 <= place <= high + 1e-9]
        if len(kept) <= max(2, rows // 2):
            break
    # A narrow stretch may have none of them: then as on a linear scale.
    return kept if len(kept) > 1 else [(math.log10(v), text) for v, text in _ticks((10**low, 10**high), rows) if v > 0]


def axis(label: str, *, utf8: bool) -> Content:
    """The left edge of a row: its number, and the axis."""
    return Content.assemble((f"{label:>{LABEL}}", "$muted"), ("┤" if utf8 and label else "│" if utf8 else "|", "$line"))
