"""A virtual table: it renders the visible rows only, and never waits for the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from llmops_tui.safe_text import safe_line
from screens.widgets.cursor_scroll import CursorScroll

if TYPE_CHECKING:
    from llmops_tui.datasets.window import RowWindow

_LOOKED_AT = 60
_NARROWEST, _WIDEST = 4, 60


class RowTable(CursorScroll):
    """The rows of a window. Up and down move the row, left and right the column; space flags a row."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "row-table--head",
        "row-table--head-current",
        "row-table--row",
        "row-table--cursor",
        "row-table--blurred",
        "row-table--number",
        "row-table--flag",
    }
    DEFAULT_CSS = """
    RowTable { height: 1fr; scrollbar-size-horizontal: 0; scrollbar-size-vertical: 1; background: $background;
      & > .row-table--head { color: $muted; text-style: bold; }
      & > .row-table--head-current { color: $accent; text-style: bold underline; }
      & > .row-table--row { color: $foreground; }
      & > .row-table--cursor { background: $accent 20%; color: $foreground; text-style: bold; }
      & > .row-table--blurred { background: $panel; color: $foreground; }
      & > .row-table--number { color: $muted; }
      & > .row-table--flag { color: $warning; }
    }
    """
    BINDINGS: ClassVar[list[Binding]] = [
        Binding("left,h", "column(-1)", show=False),
        Binding("right", "column(1)", show=False),
        Binding("enter", "choose", show=False),
    ]
    head_lines: ClassVar[int] = 1

    class Arrived(Message):
        """Rows were read."""

    class Chosen(Message):
        """Enter was pressed on a row."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  the name every widget has
        super().__init__(id=id)
        self.window: RowWindow | None = None
        self.column = 0
        self.flagged: set[int] = set()
        # Rows that repeat another one, which stands above them.
        self.repeats: dict[int, int] = {}
        self.placeholder = ""
        self._widths: list[int] = []
        self._styles: dict[str, Style] = {}

    @property
    def length(self) -> int:
        """The number of rows of the window."""
        return self.window.count if self.window is not None else 0

    def about_to_show(self, index: int) -> None:
        """Have the rows around it read."""
        if self.window is not None:
            self.window.prefetch(index, self._arrived)

    # ── what is shown ──

    def show(self, window: RowWindow | None, cursor: int = 0) -> None:
        """Show the rows of a window from now on."""
        self.window = window
        self.cursor = max(0, min(cursor, window.count - 1)) if window is not None else 0
        self._widths = []
        if window is not None:
            self.column = min(self.column, max(0, len(window.columns) - 1))
            self.virtual_size = Size(self.size.width, window.count + 1)
            window.prefetch(self.cursor, self._arrived)
        else:
            self.virtual_size = Size(0, 0)
        self.keep_in_sight()
        self.refresh()

    def _arrived(self) -> None:
        """Called in a thread when rows were read; a message does not wait, so that closing cannot either."""
        self.post_message(self.Arrived())

    def on_row_table_arrived(self, event: Arrived) -> None:
        """Draw what was read."""
        event.stop()
        if not self._widths:
            self._measure()
        self.refresh()
        self.post_message(self.Moved())

    @property
    def row(self) -> int | None:
        """The number of the row under the cursor."""
        if self.window is None or not 0 <= self.cursor < self.window.count:
            return None
        return self.window.row_at(self.cursor)

    @property
    def original(self) -> int | None:
        """The number of the row that the row under the cursor repeats; none where it repeats none that is known."""
        return self.repeats.get(self.row) if self.row is not None else None

    @property
    def column_name(self) -> str:
        """The column under the cursor."""
        if self.window is None or not self.window.columns:
            return ""
        return self.window.columns[self.column]

    def _measure(self) -> None:
        """Widths by the first rows: as wide as their cells, the longest column taking what is left."""
        window = self.window
        if window is None or not window.columns:
            return
        lines = [
            line for i in range(_LOOKED_AT) if (line := window.remembered(max(0, self.cursor - 10) + i)) is not None
        ]
        if not lines:
            return
        room = max(20, self.size.width - self._number_width - 2)
        wanted = [
            max([cell_len(safe_line(name, 40)), *(cell_len(safe_line(line.cells[i], _WIDEST)) for line in lines)])
            for i, name in enumerate(window.columns)
        ]
        widths = [max(_NARROWEST, min(w, _WIDEST)) for w in wanted]
        gaps = 2 * (len(widths) - 1)
        while sum(widths) + gaps > room and max(widths) > 12:
            widths[widths.index(max(widths))] -= 1
        last = max(range(len(widths)), key=lambda i: wanted[i])
        widths[last] += max(0, room - sum(widths) - gaps)
        self._widths = widths

    @property
    def _number_width(self) -> int:
        return len(f"{self.window.version.rows:,}") + 2 if self.window is not None else 0

    # ── drawing ──

    def on_resize(self) -> None:
        """Widths follow the room there is."""
        self._widths = []
        if self.window is not None:
            self.virtual_size = Size(self.size.width, self.window.count + 1)
            self._measure()
        self.keep_in_sight()

    def notify_style_update(self) -> None:
        """Colours changed."""
        super().notify_style_update()
        self._styles.clear()

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.get_component_rich_style(f"row-table--{name}")
        return self._styles[name]

    def render_line(self, y: int) -> Strip:
        """The header at the top, which stays, and a row for each other line."""
        width = self.size.width
        window = self.window
        if window is None or window.count == 0:
            lines = self.placeholder.splitlines()
            text = lines[y] if y < len(lines) else ""
            return Strip([Segment(text, self._style("number"))]).adjust_cell_length(width, self._style("row"))
        if y == 0:
            return self._head().adjust_cell_length(width, self._style("head"))
        index = self.scroll_offset.y + y - 1
        if index >= window.count:
            return Strip.blank(width, self._style("row"))
        line = window.remembered(index)
        if line is None:
            window.prefetch(index, self._arrived)
            return Strip([Segment("…", self._style("number"))]).adjust_cell_length(width, self._style("row"))
        if not self._widths:
            self._measure()
        base = self._style("row")
        if index == self.cursor:
            base = self._style("cursor" if self.has_focus else "blurred")
        flag = "⚑" if line.row in self.flagged else "↳" if line.row in self.repeats else " "
        segments = [
            Segment(
                f"{line.row:>{self._number_width - 2},}", base + Style(bold=False, color=self._style("number").color)
            ),
            Segment(flag + " ", base + Style(color=self._style("flag").color)),
        ]
        segments += [
            Segment(set_cell_size(_cell(cell, w), w) + "  ", base)
            for cell, w in zip(line.cells, self._widths, strict=False)
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _head(self) -> Strip:
        assert self.window is not None
        view = self.window.view
        segments = [Segment(" " * self._number_width, self._style("head"))]
        for index, (name, width) in enumerate(zip(self.window.columns, self._widths, strict=False)):
            mark = (" ▾" if view.descending else " ▴") if view.sort == name else ""
            style = self._style("head-current" if index == self.column and self.has_focus else "head")
            segments.append(Segment(set_cell_size(_cell(name, width - len(mark)) + mark, width) + "  ", style))
        return Strip(segments)

    # ── moving ──

    def action_column(self, step: int) -> None:
        """One column left or right."""
        if self.window is not None and self.window.columns:
            self.column = (self.column + step) % len(self.window.columns)
            self.refresh(Region(0, 0, self.size.width, 1))
            self.post_message(self.Moved())

    def action_choose(self) -> None:
        """Enter."""
        self.post_message(self.Chosen())

    def flag(self) -> bool:
        """Flag the row under the cursor, or take the flag away; true where it is flagged now."""
        row = self.row
        if row is None:
            return False
        self.flagged ^= {row}
        self.refresh()
        return row in self.flagged


def _cell(text: str, width: int) -> str:
    shown = safe_line(text, width * 2 + 8)
    if cell_len(shown) <= width:
        return shown
    return set_cell_size(shown, max(1, width - 1)).rstrip() + "…"
