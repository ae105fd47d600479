"""One grammar of motions in all lists, tables and texts: the letters of vi beside the arrows.

``j`` and ``k`` go a line down and up, ``g`` and ``G`` to the first and the last, ``ctrl+d`` and ``ctrl+u`` half a page.
"""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import OptionList

# The keys that no action takes: they mean the same wherever something can be gone through.
MOTION_KEYS = ("j", "k", "g", "G", "ctrl+d", "ctrl+u")


def motions(down: str, up: str, first: str, last: str) -> list[Binding]:
    """The motions of a widget that has these actions, and ``half_page``, which takes 1 or -1."""
    actions = (down, up, first, last, "half_page(1)", "half_page(-1)")
    return [Binding(key, action, show=False) for key, action in zip(MOTION_KEYS, actions, strict=True)]


class Options(OptionList):
    """Textual's list of options with these motions."""

    BINDINGS: ClassVar[list[Binding]] = motions("cursor_down", "cursor_up", "first", "last")  # type: ignore[assignment]

    def action_cursor_down(self) -> None:
        """One down, and no further than the last: Textual's would go on at the first, which other lists do not."""
        if self.highlighted is None or self.highlighted < self.option_count - 1:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        """One up, and no further than the first."""
        if self.highlighted != 0:
            super().action_cursor_up()

    def action_half_page(self, direction: int) -> None:
        """Half of what is seen down or up, and no further than the end."""
        if not self.option_count:
            return
        at = (self.highlighted or 0) + direction * max(1, self.size.height // 2)
        self.highlighted = max(0, min(at, self.option_count - 1))


class TextMotions(Widget):
    """These motions for what only scrolls.

    Name it last among the bases: styles, and what is asked for by type, follow the first base that is a widget.
    """

    BINDINGS: ClassVar[list[Binding]] = motions(  # type: ignore[assignment]
        "scroll_down", "scroll_up", "scroll_home", "scroll_end"
    )

    def action_half_page(self, direction: int) -> None:
        """Half of what is seen down or up."""
        self.scroll_relative(y=direction * max(1, self.size.height // 2), animate=False)


class TextScroll(VerticalScroll, TextMotions):  # type: ignore[misc]  # each level has BINDINGS of its own
    """A text that is only read."""
