"""The dialog in which the columns of a table are chosen and put into an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Static

from screens.widgets.keys_line import KeysLine
from screens.widgets.line_list import Line, LineList
from screens.widgets.modal import Modal

# Lines of the dialog around its list.
_ROWS_AROUND = 8


class ColumnsDialog(Modal[list[str] | None]):
    """All columns, those that are shown first; gives their names in the order chosen."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("space", "show_or_hide", "Show", priority=True),
        Binding("right_square_bracket,shift+down", "shift(1)", "Down", priority=True),
        Binding("left_square_bracket,shift+up", "shift(-1)", "Up", priority=True),
        Binding("r", "reset", "As they were meant"),
        Binding("enter", "done", "Done", priority=True),
        Binding("escape", "give_up", "Cancel"),
    ]

    def __init__(self, heads: Sequence[str], names: Sequence[str], shown: Sequence[str]) -> None:
        super().__init__()
        self._heads = dict(zip(names, heads, strict=True))
        self._names = [*shown, *(name for name in names if name not in shown)]
        self._shown = set(shown)

    def compose(self) -> ComposeResult:
        """The columns, and the keys."""
        with Vertical(classes="dialog"):
            yield Static("Columns", classes="dialog-title")
            yield LineList(id="columns-chosen")
            yield KeysLine(
                ("space", "show or hide"), ("[ ]", "move"), ("r", "reset"), ("enter", "done"), ("esc", "leave")
            )

    def on_mount(self) -> None:
        """Show them."""
        self._draw()
        self.query_one(LineList).focus()
        self.on_resize()

    def on_resize(self) -> None:
        """As tall as the columns are many, where the terminal is."""
        self.query_one(LineList).styles.height = min(len(self._names), self.lines_beside(_ROWS_AROUND))

    def _draw(self) -> None:
        lines: list[Line] = [
            [("[x] " if name in self._shown else "[ ] ", "accent"), (self._heads[name], "plain")]
            for name in self._names
        ]
        self.query_one(LineList).show_lines(lines)

    def action_show_or_hide(self) -> None:
        """Show or hide the column; one stays."""
        name = self._names[self.query_one(LineList).cursor]
        if self._shown != {name}:
            self._shown ^= {name}
            self._draw()

    def action_shift(self, step: int) -> None:
        """Move the column among the others."""
        rows = self.query_one(LineList)
        at, to = rows.cursor, rows.cursor + step
        if 0 <= to < len(self._names):
            self._names[at], self._names[to] = self._names[to], self._names[at]
            rows.cursor = to
            self._draw()
            rows.refresh()

    def action_reset(self) -> None:
        """The columns as they are before anybody chose."""
        self.dismiss([])

    def action_done(self) -> None:
        """Close with those that are shown."""
        self.dismiss([name for name in self._names if name in self._shown])

    def action_give_up(self) -> None:
        """Close without a change."""
        self.dismiss(None)
