"""The dialog in which the columns of a table are chosen and put into an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from screens.widgets.line_list import Line, LineList
from screens.widgets.modal import Modal


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
        with Vertical(classes="dialog dialog-tall"):
            yield Static("Columns", classes="dialog-title")
            yield LineList(id="columns-chosen")
            keys = (
                ("space", "shows or hides"),
                ("[ ]", "moves"),
                ("r", "as at first"),
                ("enter", "done"),
                ("esc", "cancels"),
            )
            parts: list[tuple[str, str] | str] = []
            for key, does in keys:
                parts += [(key, "$accent bold"), f" {does}   "]
            yield Static(Content.assemble(*parts), classes="dialog-keys")

    def on_mount(self) -> None:
        """Show them."""
        self._draw()
        self.query_one(LineList).focus()

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
