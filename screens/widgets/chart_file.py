"""A chart as a file: a picture as SVG or PNG, or its figures as CSV."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from llmops_tui.errors import InputRefusedError
from llmops_tui.safe_text import safe_line
from llmops_tui.spreadsheet_text import inert
from llmops_tui.workspace.files import write_atomic
from screens.widgets.chart import short_number
from screens.widgets.chart_png import as_png
from screens.widgets.chart_scales import round_ticks
from screens.widgets.chart_shapes import HEIGHT, USUAL_SIZE, WIDTH, Shape, Stroke, Words

SUFFIXES = (".svg", ".png", ".csv")
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 24, 48, 64
# Told apart without colour, too: by their dashes.
_COLOURS = ("#1f5fbf", "#a65e00", "#1d7a3a", "#b3261e", "#6a3fa0", "#00798c")
_DASHES = ("", "8 4", "2 3", "10 3 2 3", "5 2", "1 4")
_TICKS = 6


@dataclass(frozen=True)
class ChartLine:
    """A series: what it is called with its unit, and its points in the order of x; a y that is no number is a gap."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class ChartFile:
    """What is drawn: its title, what x is (``time`` in seconds since 1970, or such as ``step``), and the lines."""

    title: str
    x: str
    lines: Sequence[ChartLine]

    @property
    def is_time(self) -> bool:
        """Whether x is a moment."""
        return self.x == "time"


def write_chart(path: Path, chart: ChartFile, *, overwrite: bool = False) -> None:
    """Write the picture or the figures, as the suffix says.

    Raises:
        InputRefusedError: ``bad_suffix``; ``no_data``: nothing is drawn; ``file_exists``: and no ``overwrite``.
        OSError: it cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputRefusedError(
            "bad_suffix", f"{path.name} ends with none of {', '.join(SUFFIXES)}", "Choose one of these."
        )
    if not any(line.points for line in chart.lines):
        raise InputRefusedError("no_data", f"{chart.title} has no figures yet", "Wait for the first ones.")
    if path.exists() and not overwrite:
        raise InputRefusedError("file_exists", f"{path} already exists", "Choose another name.")
    if path.suffix.lower() == ".png":
        write_atomic(path, as_png(drawn(chart)))
        return
    text = io.StringIO(newline="")
    if path.suffix.lower() == ".svg":
        text.write(as_svg(chart))
    else:
        csv.writer(text).writerows(as_table(chart))
    # A file that is overwritten stays whole where the disk is full.
    write_atomic(path, text.getvalue())


def as_table(chart: ChartFile) -> list[list[str]]:
    """A head, and a row for each x: times as ISO 8601 with the zone; empty where a line has no value.

    A name that a spreadsheet would compute has an apostrophe before it.
    """
    by_line = [dict(line.points) for line in chart.lines]
    rows = [[inert(chart.x), *(inert(line.name) for line in chart.lines)]]
    for x in sorted({x for points in by_line for x in points}):
        values = [points.get(x, math.nan) for points in by_line]
        at = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(x)) if chart.is_time else repr(x).removesuffix(".0")
        rows.append([at, *("" if math.isnan(value) else repr(value) for value in values)])
    return rows


def drawn(chart: ChartFile) -> list[Shape]:
    """The picture, 960 by 480, readable in black and white; what is drawn later lies above."""
    known = [(x, y) for line in chart.lines for x, y in line.points if math.isfinite(y)]
    xs = _ends([x for x, _ in known], flat=1.0)
    ys = _ends([y for _, y in known], flat=abs(known[0][1]) * 0.05 if known and known[0][1] else 1.0)

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - xs[0]) / (xs[1] - xs[0]) * (WIDTH - _LEFT - _RIGHT)
        return across, _TOP + (ys[1] - y) / (ys[1] - ys[0]) * (HEIGHT - _TOP - _BOTTOM)

    shapes: list[Shape] = [Words(_LEFT, 24, _said(chart.title), size=16, bold=True)]
    for value in round_ticks(*ys, _TICKS):
        _, y = at(xs[0], value)
        shapes.append(Stroke(((_LEFT, y), (WIDTH - _RIGHT, y)), "#dddddd", 1.0))
        shapes.append(Words(_LEFT - 8, y + 4, short_number(value), anchor="end"))
    for value, text in _marks(chart, xs):
        x, _ = at(value, ys[0])
        shapes.append(Words(x, HEIGHT - _BOTTOM + 20, _said(text), anchor="middle"))
    place = float(_LEFT)
    for number, line in enumerate(chart.lines):
        colour, dashes = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
        for stretch in _stretches(line.points):
            # A point alone is a dot: a line of no length, with round ends.
            ends = stretch if len(stretch) > 1 else stretch * 2
            shapes.append(Stroke(tuple(at(*point) for point in ends), colour, 1.5, dashes, is_series=True))
        shapes.append(Stroke(((place, HEIGHT - 18), (place + 28, HEIGHT - 18)), colour, 2.0, dashes))
        shapes.append(Words(place + 34, HEIGHT - 14, _said(line.name)))
        place += 58 + 8 * len(line.name)
    return shapes


def as_svg(chart: ChartFile) -> str:
    """The picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for shape in drawn(chart):
        if isinstance(shape, Words):
            look = f' font-size="{shape.size}"' if shape.size != USUAL_SIZE else ""
            look += ' font-weight="bold"' if shape.bold else ""
            look += f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
            parts.append(f'<text x="{shape.x:.1f}" y="{shape.y:.1f}"{look}>{escape(shape.text)}</text>')
        else:
            look = f'stroke="{shape.colour}" stroke-width="{shape.width}"'
            look += f' stroke-dasharray="{shape.dashes}"' if shape.is_series or shape.dashes else ""
            corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
            if shape.is_series:
                parts.append(f'<polyline points="{corners}" fill="none" stroke-linecap="round" {look}/>')
            else:
                (x, y), (far, low) = shape.points
                parts.append(f'<line x1="{x:.1f}" x2="{far:.1f}" y1="{y:.1f}" y2="{low:.1f}" {look}/>')
    return "\n".join([*parts, "</svg>\n"])


def _said(text: str) -> str:
    return safe_line(text, 200)


def _ends(values: list[float], flat: float) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if low < high else (low - flat, high + flat)


def _marks(chart: ChartFile, xs: tuple[float, float]) -> list[tuple[float, str]]:
    if not chart.is_time:
        return [(value, short_number(value)) for value in round_ticks(*xs, _TICKS)]
    form = "%H:%M:%S" if xs[1] - xs[0] < 1200 else "%H:%M" if xs[1] - xs[0] < 86_400 else "%b %d %H:%M"
    moments = [xs[0] + (xs[1] - xs[0]) * n / (_TICKS - 1) for n in range(_TICKS)]
    return [(moment, time.strftime(form, time.localtime(moment))) for moment in moments]


def _stretches(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The parts of a line between its gaps."""
    found: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return [stretch for stretch in found if stretch]
