"""The cases of a run or of a comparison as a list that draws what is seen, whatever their number."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip

from screens.widgets.cursor_scroll import CursorScroll

# What a line says: texts with the name of their colour.
Line = list[tuple[str, str]]


class CaseList(CursorScroll):
    """Lines that are made when they are seen. Colours are good, bad, muted, or plain."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "case-list--plain", "case-list--good", "case-list--bad", "case-list--muted", "case-list--cursor",
        "case-list--blurred",
    }  # fmt: skip
    DEFAULT_CSS = """
    CaseList { height: 1fr; scrollbar-size-horizontal: 0; scrollbar-size-vertical: 1; background: $background;
      & > .case-list--plain { color: $foreground; }
      & > .case-list--good { color: $success; }
      & > .case-list--bad { color: $error; }
      & > .case-list--muted { color: $muted; }
      & > .case-list--cursor { background: $accent 30%; color: $foreground; text-style: bold; }
      & > .case-list--blurred { background: $panel; color: $foreground; }
    }
    """

    def __init__(self, *, id: str) -> None:  # noqa: A002  the name every widget has
        super().__init__(id=id)
        self.count = 0
        self.placeholder = ""
        self._line: Callable[[int, int], Line] = lambda _index, _width: []
        self._styles: dict[str, Style] = {}

    @property
    def length(self) -> int:
        """The number of lines."""
        return self.count

    def show(self, count: int, line: Callable[[int, int], Line], cursor: int = 0) -> None:
        """Show so many lines from now on; ``line`` makes one by its place and the width there is."""
        self.count, self._line = count, line
        self.cursor = max(0, min(cursor, count - 1))
        self.virtual_size = Size(self.size.width, count)
        self.keep_in_sight()
        self.refresh()

    def on_resize(self) -> None:
        """The width has changed."""
        self.virtual_size = Size(self.size.width, self.count)

    def notify_style_update(self) -> None:
        """Colours changed."""
        super().notify_style_update()
        self._styles.clear()

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.get_component_rich_style(f"case-list--{name}")
        return self._styles[name]

    def render_line(self, y: int) -> Strip:
        """One line of what is seen."""
        width = self.size.width
        index = self.scroll_offset.y + y
        if not self.count:
            lines = self.placeholder.splitlines()
            text = lines[y] if y < len(lines) else ""
            return Strip([Segment(text, self._style("muted"))]).adjust_cell_length(width, self._style("plain"))
        if index >= self.count:
            return Strip.blank(width, self._style("plain"))
        base = None
        if index == self.cursor:
            base = self._style("cursor" if self.has_focus else "blurred")
        segments = [
            Segment(text, self._style(style) if base is None else base + Style(color=self._colour(style)))
            for text, style in self._line(index, width)
        ]
        return Strip(segments).adjust_cell_length(width, base or self._style("plain"))

    def _colour(self, style: str) -> str | None:
        colour = self._style(style).color
        return None if colour is None or style == "plain" else colour.name


def cell(text: str, width: int) -> str:
    """A text in exactly so many cells."""
    return set_cell_size(text, max(0, width))
