"""A list of which several lines can be selected: one by one, as a range, or all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding
from textual.message import Message

from screens.widgets.line_list import LineList


class SelectingList(LineList):
    """Subclasses say by :meth:`keys` what the lines are called; a selection is of names, and in the order of selecting."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("space", "select", show=False),
        Binding("V", "select_range", show=False),
        Binding("shift+down", "extend(1)", show=False),
        Binding("shift+up", "extend(-1)", show=False),
        Binding("ctrl+a", "select_all", show=False),
    ]

    class Selected(Message):
        """Other lines are selected."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  the name every widget has
        super().__init__(id=id)
        self.selected: dict[str, None] = {}
        # The line from which a range goes to the cursor, and what was selected before it.
        self._range: tuple[int, dict[str, None]] | None = None

    def keys(self) -> list[str]:
        """The names of the lines that are shown."""
        raise NotImplementedError

    def select(self, names: Iterable[str]) -> None:
        """Select these and no others."""
        new = dict.fromkeys(names)
        if new != self.selected:
            self.selected = new
            self.refresh()
            self.post_message(self.Selected())

    def end_range(self) -> None:
        """Moving extends nothing any more."""
        self._range = None

    def move_to(self, index: int) -> None:
        """As any list's; a range that was begun goes with the cursor."""
        super().move_to(index)
        if self._range is not None:
            start, before = self._range
            low, high = sorted((start, self.cursor))
            self.select({**before, **dict.fromkeys(self.keys()[low : high + 1])})

    def action_select(self) -> None:
        """Select the line under the cursor, or take that back; ends a range."""
        self.end_range()
        keys = self.keys()
        if self.cursor < len(keys):
            name = keys[self.cursor]
            left = {key: None for key in self.selected if key != name}
            self.select(left if name in self.selected else {**self.selected, name: None})

    def action_select_range(self) -> None:
        """Begin a range at the cursor, which moving extends; pressed again it stays as it is."""
        if self._range is not None:
            self.end_range()
        elif self.count:
            self._range = (self.cursor, dict(self.selected))
            self.move_to(self.cursor)
            self.select({**self.selected, self.keys()[self.cursor]: None})

    def action_extend(self, step: int) -> None:
        """Begin a range where there is none, and move."""
        if self._range is None:
            self.action_select_range()
        self.move_to(self.cursor + step)

    def action_select_all(self) -> None:
        """Select all that are shown, or none where all are."""
        self.end_range()
        keys = self.keys()
        self.select(() if all(key in self.selected for key in keys) else {**self.selected, **dict.fromkeys(keys)})
