"""An answer as its tokens, each shaded by its probability, with a cursor on one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llmops_tui.safe_text import safe_text


@dataclass(frozen=True)
class TokenCell:
    """A token as it is drawn. ``level`` goes from 0, as good as certain, to 3, unlikely."""

    text: str
    level: int


class TokenMap(ScrollView, can_focus=True):
    """Foreign text, made harmless. Colour never stands alone: what is unlikely is underlined as well."""

    COMPONENT_CLASSES = {  # noqa: RUF012  declared so by Textual
        "token-map--level-0", "token-map--level-1", "token-map--level-2", "token-map--level-3", "token-map--cursor",
    }  # fmt: skip
    DEFAULT_CSS = """
    TokenMap { height: 1fr; scrollbar-size-vertical: 1; }
    .token-map--level-1 { color: $accent; }
    .token-map--level-2 { color: $warning; }
    .token-map--level-3 { color: $error; text-style: underline; }
    .token-map--cursor { text-style: reverse bold; }
    """

    class Moved(Message):
        """The cursor is on another token."""

    def __init__(self, *, utf8: bool, id: str) -> None:  # noqa: A002  the name every widget has
        super().__init__(id=id)
        self._newline = "⏎" if utf8 else "\\n"
        self._cells: list[TokenCell] = []
        # Each line has pieces of tokens, with the numbers of these.
        self._lines: list[list[tuple[int, str]]] = [[]]
        self._at = 0
        self.cursor = 0

    def show(self, cells: Sequence[TokenCell]) -> None:
        """Show other tokens."""
        self._cells, self._lines, self._at, self.cursor = [], [[]], 0, 0
        self.scroll_to(y=0, animate=False, immediate=True)
        self.extend(cells)

    def extend(self, cells: Sequence[TokenCell]) -> None:
        """Add tokens at the end."""
        first = len(self._cells)
        self._cells += cells
        for number, cell in enumerate(cells, first):
            self._place(number, cell)
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()

    def on_resize(self, _event: events.Resize) -> None:
        """Lay out again."""
        cells, self._cells, cursor = self._cells, [], self.cursor
        self._lines, self._at = [[]], 0
        self.extend(cells)
        self.cursor = cursor

    def _place(self, number: int, cell: TokenCell) -> None:
        """Put a token behind the others; a line of the text is a line here, and long ones are broken."""
        width = max(8, self.size.width)
        lines = safe_text(cell.text).replace("\t", "    ").split("\n")
        for n, text in enumerate(lines):
            shown = text + (self._newline if n < len(lines) - 1 else "")
            if self._at and self._at + cell_len(shown) > width:
                self._break()
            for m, part in enumerate(chop_cells(shown, width) if cell_len(shown) > width else [shown]):
                if m:
                    self._break()
                self._lines[-1].append((number, part))
                self._at += cell_len(part)
            if n < len(lines) - 1:
                self._break()

    def _break(self) -> None:
        self._lines.append([])
        self._at = 0

    def render_line(self, y: int) -> Strip:
        """One line of the widget."""
        at = y + self.scroll_offset.y
        line = self._lines[at] if at < len(self._lines) else []
        segments = []
        for number, text in line:
            style = self.rich_style + self.get_component_rich_style(
                f"token-map--level-{self._cells[number].level}", partial=True
            )
            if number == self.cursor:
                style += self.get_component_rich_style("token-map--cursor", partial=True)
            segments.append(Segment(text, style))
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style).crop(0, self.size.width)

    def move(self, by: int) -> None:
        """Move the cursor by so many tokens."""
        self.move_to(self.cursor + by)

    def move_to(self, number: int) -> None:
        """Put the cursor on a token, and show it."""
        wanted = max(0, min(number, len(self._cells) - 1))
        if wanted == self.cursor or not self._cells:
            return
        self.cursor = wanted
        line = next((n for n, pieces in enumerate(self._lines) if any(one == wanted for one, _ in pieces)), 0)
        self.scroll_to_region(Region(0, line, 1, 1), animate=False, immediate=True)
        self.refresh()
        self.post_message(self.Moved())
