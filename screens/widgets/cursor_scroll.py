"""Shared behaviour of long lists: a cursor that stays visible, the keys that move it, and redrawing only what changed."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message
from textual.scroll_view import ScrollView

from screens.widgets.motions import motions


class CursorScroll(ScrollView, can_focus=True):
    """Lines below a head of ``head_lines``. Subclasses draw them, and say by :attr:`length` how many there are."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "go(0)", show=False),
        Binding("end", "go(-1)", show=False),
        *motions("move(1)", "move(-1)", "go(0)", "go(-1)"),
    ]
    head_lines: ClassVar[int] = 0

    class Moved(Message):
        """Another line is under the cursor."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  the name every widget has
        super().__init__(id=id)
        self.cursor = 0

    @property
    def length(self) -> int:
        """The number of lines below the head."""
        raise NotImplementedError

    def about_to_show(self, index: int) -> None:
        """The cursor goes to a line, which may have to be read."""

    def watch_has_focus(self, value: bool) -> None:
        """The cursor is drawn otherwise without the focus."""
        super().watch_has_focus(value)
        self.refresh()

    def watch_scroll_y(self, old: float, new: float) -> None:
        """The wheel moves what is seen; the cursor stays where it is."""
        super().watch_scroll_y(old, new)
        self.refresh()

    def move_to(self, index: int) -> None:
        """Put the cursor on a line."""
        index = max(0, min(index, self.length - 1))
        if not self.length or index == self.cursor:
            return
        before, self.cursor = self.cursor, index
        self.about_to_show(index)
        if not self.keep_in_sight():
            for place in (before, index):
                self.refresh(Region(0, place - self.scroll_offset.y + self.head_lines, self.size.width, 1))
        self.post_message(self.Moved())

    def keep_in_sight(self) -> bool:
        """Scroll until the cursor is seen; true where that was needed."""
        seen = max(1, self.size.height - self.head_lines)
        top = self.scroll_offset.y
        wanted = min(max(top, self.cursor - seen + 1), self.cursor)
        if wanted == top:
            return False
        self.scroll_to(y=wanted, animate=False, immediate=True, force=True)
        self.refresh()
        return True

    def action_move(self, step: int) -> None:
        """One line up or down."""
        self.move_to(self.cursor + step)

    def action_page(self, step: int) -> None:
        """One page up or down."""
        self.move_to(self.cursor + step * max(1, self.size.height - 1 - self.head_lines))

    def action_half_page(self, direction: int) -> None:
        """Half a page up or down."""
        self.move_to(self.cursor + direction * max(1, (self.size.height - self.head_lines) // 2))

    def action_go(self, index: int) -> None:
        """The first or the last line."""
        self.move_to(self.length - 1 if index < 0 else index)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor."""
        if event.y >= self.head_lines:
            self.move_to(self.scroll_offset.y + event.y - self.head_lines)
