"""A virtual list: it renders only the visible lines, and redraws only those that changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip

from screens.widgets.cursor_scroll import CursorScroll
from screens.widgets.text_wrap import wrap_line

# What a line says: texts with the name of their colour.
Line = list[tuple[str, str]]


class LineList(CursorScroll):
    """Lines that are made when they are seen. Colours are good, bad, warn, accent, muted, or plain.

    With ``marks`` false no line is under a cursor: the list is only read.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line-list--plain",
        "line-list--good",
        "line-list--bad",
        "line-list--warn",
        "line-list--accent",
        "line-list--muted",
        "line-list--cursor",
        "line-list--blurred",
    }
    DEFAULT_CSS = """
    LineList { height: 1fr; scrollbar-size-horizontal: 0; scrollbar-size-vertical: 1; background: $background;
      & > .line-list--plain { color: $foreground; }
      & > .line-list--good { color: $success; }
      & > .line-list--bad { color: $error; }
      & > .line-list--warn { color: $warning; }
      & > .line-list--accent { color: $accent; }
      & > .line-list--muted { color: $muted; }
      & > .line-list--cursor { background: $accent 20%; color: $foreground; text-style: bold; }
      & > .line-list--blurred { background: $panel; color: $foreground; }
    }
    """

    def __init__(self, *, id: str, marks: bool = True) -> None:  # noqa: A002  the name every widget has
        super().__init__(id=id)
        self._marks = marks
        self._lines: list[Line] | None = None
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
        self.count, self._line, self._lines = count, line, None
        self.cursor = max(0, min(cursor, count - 1))
        self.virtual_size = self._needed()
        self.keep_in_sight()
        self.refresh()

    def show_lines(self, lines: list[Line]) -> None:
        """Show these lines, the cursor where it is; only those that differ from before are drawn again."""
        before, self._lines = self._lines, lines
        self.count, self._line = len(lines), lambda index, _width: lines[index]
        self.cursor = max(0, min(self.cursor, len(lines) - 1))
        if before is None or len(before) != len(lines):
            self.virtual_size = Size(self.size.width, len(lines))
            self.refresh()
            return
        for index, (old, new) in enumerate(zip(before, lines, strict=True)):
            if old != new:
                self.refresh(Region(0, index - self.scroll_offset.y, self.size.width, 1))

    def on_resize(self) -> None:
        """The width has changed."""
        self.virtual_size = self._needed()
        if self._marks:
            self.keep_in_sight()

    def _needed(self) -> Size:
        """The room for all lines with the head, or for what stands for none."""
        width = self.size.width
        if self.count or not self.placeholder or not width:
            return Size(width, self.count + self.head_lines)
        # With the scroll bar that it may come to have.
        lines = sum(len(wrap_line(line, max(1, width - 1))) for line in self.placeholder.splitlines())
        return Size(width, lines + (self.head_lines if self.has_head else 0))

    def notify_style_update(self) -> None:
        """Colours changed."""
        super().notify_style_update()
        self._styles.clear()

    @property
    def room(self) -> int:
        """Cells of a line of columns: figures at the right edge do not touch a scroll bar."""
        return self.scrollable_content_region.width - (1 if self.show_vertical_scrollbar else 0)

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.get_component_rich_style(f"line-list--{name}")
        return self._styles[name]

    def render_line(self, y: int) -> Strip:
        """One line of what is seen."""
        # Without the scroll bar, which stands inside the size.
        width = self.scrollable_content_region.width
        head = self.head_lines if self.has_head else 0
        if y < head:
            return self._fitted(self._head(width), width, self._style("plain"))
        index = self.scroll_offset.y + y - head
        if not self.count:
            lines = [part for line in self.placeholder.splitlines() for part in wrap_line(line, width)]
            text = lines[index] if 0 <= index < len(lines) else ""
            return Strip([Segment(text, self._style("muted"))]).adjust_cell_length(width, self._style("plain"))
        if index >= self.count:
            return Strip.blank(width, self._style("plain"))
        base = None
        if index == self.cursor and self._marks:
            base = self._style("cursor" if self.has_focus else "blurred")
        segments = [
            Segment(text, self._style(style) if base is None else base + Style(color=self._colour(style)))
            for text, style in self._line(index, width)
        ]
        return self._fitted(Strip(segments), width, base or self._style("plain"))

    @property
    def has_head(self) -> bool:
        """Whether the head is drawn now; without it what stands for no lines begins at the top."""
        return True

    def _head(self, width: int) -> Strip:  # noqa: ARG002  what a head is drawn in
        """What stands above the lines and does not scroll, where ``head_lines`` is not 0."""
        return Strip([])

    def _fitted(self, strip: Strip, width: int, style: Style) -> Strip:
        """The strip in the width there is; one that is cut says so, or two of one beginning would look the same."""
        if strip.cell_length <= width or width < 1:
            return strip.adjust_cell_length(width, style)
        cut = strip.crop(0, width - 1).adjust_cell_length(width - 1, style)
        parts = list(cut)
        return Strip([*parts, Segment("…", parts[-1].style if parts else style)])

    def _colour(self, style: str) -> str | None:
        colour = self._style(style).color
        return None if colour is None or style == "plain" else colour.name


def without_least(line: Line, width: int) -> Line:
    """A line without what is least in it where it is too long: a figure is worth more than what it is of."""
    line = list(line)
    while len(line) > 1 and sum(cell_len(text) for text, _ in line) > width:
        least = [place for place, (_, style) in enumerate(line) if style == "muted"]
        if not least:
            break
        del line[least[-1]]
    return line


def cell(text: str, width: int) -> str:
    """A text in exactly so many cells."""
    return set_cell_size(text, max(0, width))
