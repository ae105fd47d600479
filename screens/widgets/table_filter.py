"""The line below a table in which its filter is written."""

from __future__ import annotations

import re
from typing import ClassVar

from textual import events, on
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input

from screens.widgets.fields import Field

_HINT = "words, ~regex, column:word, column>5"


class Filtered(Widget):
    """What has a filter below it."""

    def filter_by(self, said: str) -> None:
        """Show what matches.

        Raises:
            re.error: the regular expression is wrong; what is shown stays.
        """
        raise NotImplementedError


class TableFilter(Field):
    """It is there while there is a filter, and filters while it is typed. Enter and the arrow go back to the rows."""

    DEFAULT_CSS = """
    TableFilter { height: 1; padding: 0 1; border: none; background: $surface; color: $accent; }
    TableFilter.-wrong { color: $error; }
    """
    BINDINGS: ClassVar[list[Binding]] = [
        Binding("escape", "give_up", show=False),
        Binding("down", "leave", show=False),
    ]

    def __init__(self, table: Filtered) -> None:
        super().__init__(placeholder=_HINT, compact=True, classes="table-filter")
        self.table = table

    @classmethod
    def of(cls, table: Filtered) -> TableFilter:
        """The one of a table, made where there is none yet."""
        parent = table.parent
        assert parent is not None
        found = next((w for w in parent.children if isinstance(w, cls) and w.table is table), None)
        if found is None:
            found = cls(table)
            found.display = False
            table.parent.mount(found, after=table)  # type: ignore[union-attr]
        return found

    def show(self, said: str) -> None:
        """Show a filter that holds already."""
        with self.prevent(Input.Changed):
            self.value = said
        self.display = bool(said)

    def write(self) -> None:
        """Take the focus."""
        self.display = True
        self.focus()

    def clear(self) -> None:
        """No filter any more."""
        super().clear()
        self.table.filter_by("")
        self.display = False

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        try:
            self.table.filter_by(event.value.strip())
        except re.error:
            self.add_class("-wrong")
        else:
            self.remove_class("-wrong")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_leave()

    def on_blur(self, _event: events.Blur) -> None:
        """An empty one takes no room."""
        self.display = bool(self.value)

    def action_leave(self) -> None:
        """Back to the rows, which stay filtered."""
        self.table.focus()

    def action_give_up(self) -> None:
        """Back to all rows."""
        self.clear()
        self.table.focus()
