"""A titled pane with a border; the title shows the key that jumps to it."""

from __future__ import annotations

from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget


class Panel(Vertical):
    """A pane with a title and a jump key.

    ``help_text`` is what F1 says of it. Titles are content, never markup.
    """

    def __init__(
        self,
        *children: Widget,
        title: str,
        jump_key: str,
        help_text: str,
        id: str,  # noqa: A002  the name every widget has
        classes: str = "",
    ) -> None:
        super().__init__(*children, id=id, classes=f"panel {classes}".strip())
        self.jump_key = jump_key
        self.help_text = help_text
        self.title = title
        self._told: dict[str, tuple[str, ...]] = {}
        self.set_title(title)

    def set_title(self, title: str, note: str = "", style: str = "$muted") -> None:
        """Change the title, and the note at its right, in another style where it has to be seen."""
        # A border that is set is drawn again with all that is inside it.
        if self._told.get("title") == (title, note, style):
            return
        self._told["title"] = (title, note, style)
        self.title = title
        parts: list[tuple[str, str] | str] = [(self.jump_key, "$accent"), " ", (title, "bold")]
        if note:
            parts += ["  ", (note, style)]
        self.border_title = Content.assemble(*parts)

    def set_note(self, note: str) -> None:
        """Show a note at the lower right."""
        if self._told.get("note") == (note, ""):
            return
        self._told["note"] = (note, "")
        self.border_subtitle = Content(note)

    def focus_inside(self) -> bool:
        """Give the focus to the first widget inside that takes it."""
        for widget in self.walk_children(Widget):
            if widget.focusable and widget.display:
                widget.focus()
                return True
        return False
