"""A tile of the home screen: what a stage of the lifecycle says in as many lines as there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from rich.cells import cell_len

from screens.widgets.line_list import Line, without_least
from screens.widgets.sparkline import bars, sparkline

READING = "Reading …"
# Lines of a tile with room for everything, and the most that bars have.
_ROOMY, _MOST_ROWS = 4, 2
# The edges of a tile, with the space inside them.
_EDGES = 4


@dataclass(frozen=True)
class Tile:
    """A stage: its state, its newest figure, what else is to be said, and how the figure came about.

    ``more`` are lines for where there is no course to be drawn. ``course`` are values, the oldest first, which ``label``
    tells with the first and the last of them, ``ends``; they are bars with gaps, or with ``curve`` a line from the least.
    """

    state: Line
    figure: Line
    detail: Line
    more: list[Line] = field(default_factory=list)
    course: tuple[float, ...] = ()
    label: str = ""
    ends: str = ""
    curve: bool = False

    def lines(self, width: int, rows: int, *, utf8: bool) -> list[Line]:
        """As many lines as there is room for: the state, the figure, then its course, then the rest."""
        drawn = self._is_drawn
        lines = [self.state, self.figure]
        if self.detail and (rows >= _ROOMY or not drawn):
            lines.append(self.detail)
        if drawn:
            lines += self._course(width, rows - len(lines), utf8=utf8)
        elif 0 < (over := len(lines) + len(self.more) - rows) < len(self.more):
            lines += [*self.more[: -over - 1], [(f"and {over + 1:,} more", "muted")]]
        else:
            lines += self.more
        return [without_least(line, width) for line in lines[:rows]]

    @property
    def _is_drawn(self) -> bool:
        known = [value for value in self.course if not math.isnan(value)]
        return len(known) > 1 and any(known)

    def _course(self, width: int, room: int, *, utf8: bool) -> list[Line]:
        """The values in so many lines, the last of which tells what they are; in one line it stands beside them."""
        if room < 1:
            return []
        draw = partial(_curve, utf8=utf8) if self.curve else partial(bars, utf8=utf8)
        if room == 1:
            told = f" {self.ends}" if self.ends else f" {self.label}"
            return [[(draw(self.course, max(4, width - len(told)))[0], "accent"), (told, "muted")]]
        drawn: list[Line] = [[(row, "accent")] for row in draw(self.course, width, min(room - 1, _MOST_ROWS))]
        return [*drawn, [(f"{self.label} ", "muted"), (self.ends, "plain")]]

    @property
    def needs(self) -> tuple[int, int]:
        """The cells that its lines take with the edges, and how many lines it has to say."""
        lines = [self.state, self.figure, self.detail, *self.more, [(f"{self.label} {self.ends}", "")]]
        below = 2 if self._is_drawn else len(self.more)
        return (
            max(sum(cell_len(text) for text, _ in line) for line in lines) + _EDGES,
            2 + bool(self.detail) + below,
        )


def _curve(values: Sequence[float], width: int, rows: int = 1, *, utf8: bool) -> list[str]:
    """As :func:`sparkline`, over the whole width also where there are fewer values."""
    wide = [values[place * len(values) // width] for place in range(width)] if 0 < len(values) < width else values
    return sparkline(wide, width, rows, utf8=utf8)


def reading() -> Tile:
    """A stage of which nothing is known yet: that is not that there is nothing."""
    return Tile([(READING, "muted")], [], [])
