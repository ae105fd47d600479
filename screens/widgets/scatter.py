"""A cloud of points in braille, of which some are lit; a million of them are drawn in a blink."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

# The bit of each dot of a braille cell, by row and column.
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
Cells = npt.NDArray[np.int64]


class Scatter(Widget):
    """Points from 0 to 1, rows × 2, upwards; those of the groups that are lit are drawn over the others.

    ``points`` may have NaN, and ``groups`` negative numbers, where a row has no place.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"scatter--all", "scatter--lit", "scatter--marked"}
    DEFAULT_CSS = """
    Scatter { height: 1fr; width: 1fr;
      & > .scatter--all { color: $muted; }
      & > .scatter--lit { color: $accent; text-style: bold; }
      & > .scatter--marked { color: $warning; }
    }
    """

    def __init__(self, points: npt.NDArray[np.floating], groups: npt.NDArray[np.integer], *, id: str) -> None:  # noqa: A002  the name every widget has
        super().__init__(id=id)
        self._points = points
        self._groups = groups
        self._lit: int | None = None
        self._marked: frozenset[int] = frozenset()
        self._all: tuple[tuple[int, int], Cells] | None = None
        self._rows: list[Strip] = []

    def light(self, group: int | None, marked: frozenset[int] = frozenset()) -> None:
        """Light a group, and those that are marked in another colour."""
        self._lit, self._marked = group, marked
        self._rows = []
        self.refresh()

    def notify_style_update(self) -> None:
        """Colours changed."""
        super().notify_style_update()
        self._rows = []

    def render_line(self, y: int) -> Strip:
        """One line of the cloud."""
        if len(self._rows) != self.size.height or self._all is None or self._all[0] != self.size:
            self._rows = self._drawn(self.size.width, self.size.height)
        return self._rows[y] if y < len(self._rows) else Strip.blank(self.size.width)

    def _drawn(self, width: int, height: int) -> list[Strip]:
        if not width or not height:
            return []
        if self._all is None or self._all[0] != (width, height):
            self._all = (width, height), cells_of(self._points, width, height)
        everything = self._all[1]
        lit = np.zeros_like(everything)
        marked = np.zeros_like(everything)
        if self._lit is not None:
            lit = cells_of(self._points[self._groups == self._lit], width, height)
        if self._marked:
            marked = cells_of(self._points[np.isin(self._groups, list(self._marked))], width, height)
        names = np.where(lit > 0, 2, np.where(marked > 0, 1, 0))
        drawn = np.where(lit > 0, lit, np.where(marked > 0, marked, everything))
        styles = [self.get_component_rich_style(f"scatter--{name}") for name in ("all", "marked", "lit")]
        return [_strip(drawn[y], names[y], styles) for y in range(height)]


def cells_of(points: npt.NDArray[np.floating], width: int, height: int) -> Cells:
    """The braille patterns, 0 to 255, of points from 0 to 1 in so many cells: height × width."""
    dots = np.zeros((height * 4, width * 2), bool)
    there = points[np.isfinite(points).all(axis=1)]
    if len(there):
        columns = np.clip((there[:, 0] * (width * 2 - 1)).round().astype(np.int64), 0, width * 2 - 1)
        rows = np.clip(((1 - there[:, 1]) * (height * 4 - 1)).round().astype(np.int64), 0, height * 4 - 1)
        dots[rows, columns] = True
    blocks = dots.reshape(height, 4, width, 2)
    found: Cells = np.einsum("hrwc,rc->hw", blocks.astype(np.int64), _BITS)
    return found


def _strip(cells: Cells, names: Cells, styles: list[Style]) -> Strip:
    """One line; neighbours of one colour are one segment."""
    changes = np.flatnonzero(np.diff(names)) + 1
    begins = [0, *changes.tolist()]
    ends = [*changes.tolist(), len(cells)]
    return Strip(
        [
            Segment("".join(chr(0x2800 + int(c)) if c else " " for c in cells[b:e]), styles[int(names[b])])
            for b, e in zip(begins, ends, strict=True)
        ],
        len(cells),
    )
