"""Lines in the cells of a chart, in braille: four dots high and two wide each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from textual.content import Content

# The dot of each pixel of a braille cell, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Drawn(Protocol):
    """What lines are drawn into, cell by cell."""

    columns: int
    rows: int

    def trace(
        self,
        points: Sequence[tuple[float, float]],
        xs: tuple[float, float],
        ys: tuple[float, float],
        style: str,
        *,
        dotted: bool = False,
    ) -> None:
        """Draw a line through points, given the range of both axes; a point whose y is no number breaks it."""

    def row(self, row: int, *, utf8: bool, cross: int | None = None) -> Content:
        """One row of cells; ``cross`` is the column of a vertical line through it."""


class Canvas:
    """Cells that lines are drawn into, two dots wide and four high each."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._cells: list[list[tuple[int, str]]] = [[(0, "")] * columns for _ in range(rows)]

    def trace(
        self,
        points: Sequence[tuple[float, float]],
        xs: tuple[float, float],
        ys: tuple[float, float],
        style: str,
        *,
        dotted: bool = False,
    ) -> None:
        """Draw a line through points, given the range of both axes; a point whose y is no number breaks it."""
        across, down = self.columns * 2, self.rows * 4
        span_x, span_y = (xs[1] - xs[0]) or 1.0, (ys[1] - ys[0]) or 1.0
        before: tuple[int, int] | None = None
        for point in points:
            if math.isnan(point[1]):
                before = None
                continue
            x = round((point[0] - xs[0]) / span_x * (across - 1))
            y = round((ys[1] - point[1]) / span_y * (down - 1))
            steps = max(1, abs(x - before[0]), abs(y - before[1])) if before is not None else 1
            for step in range(1, steps + 1):
                if dotted and (x + step) % 4 in {2, 3}:
                    continue
                px = x if before is None else before[0] + round((x - before[0]) * step / steps)
                py = y if before is None else before[1] + round((y - before[1]) * step / steps)
                row, column = min(self.rows - 1, max(0, py // 4)), min(self.columns - 1, max(0, px // 2))
                self._cells[row][column] = (self._cells[row][column][0] | _DOTS[py % 4][px % 2], style)
            before = (x, y)

    def row(self, row: int, *, utf8: bool, cross: int | None = None) -> Content:
        """One row of cells; ``cross`` is the column of a vertical line through it."""
        parts: list[tuple[str, str] | str] = []
        for column, (dots, style) in enumerate(self._cells[row]):
            text = " " if not dots else chr(0x2800 + dots) if utf8 else "*"
            if column == cross:
                parts.append((text if dots else "│" if utf8 else "|", "reverse $accent" if dots else "$accent"))
            elif parts and isinstance(parts[-1], tuple) and parts[-1][1] == style:
                parts[-1] = (parts[-1][0] + text, style)
            else:
                parts.append((text, style))
        return Content.assemble(*(part if part[1] else part[0] for part in parts))
