"""The horizontal scroll bar: a thin line. One of whole cells is taken for a line that is selected."""

from __future__ import annotations

from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment, Segments
from rich.style import Style
from textual.scrollbar import ScrollBarRender

LINE = "▂"


class ScrollLine(ScrollBarRender):
    """As Textual's, but that of a horizontal one only the lowest part of the cells is drawn."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The bar, with what the mouse does on it."""
        for drawn in super().__rich_console__(console, options):
            if self.vertical or not isinstance(drawn, Segments):
                yield drawn
            else:
                colours = console.get_style(self.style)
                yield Segments([_thin(segment, colours) for segment in drawn.segments])


def _thin(segment: Segment, colours: Style) -> Segment:
    meta: dict[str, Any] = segment.style.meta if segment.style is not None else {}
    if meta.get("@mouse.down") != "grab":
        return segment
    return Segment(LINE, Style(color=colours.color, bgcolor=colours.bgcolor, meta=meta))
