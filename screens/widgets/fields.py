"""Text fields whose keys act in the order in which they were pressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Checkbox, Input, TextArea


async def _act_at_once(field: Widget, event: events.Key) -> None:
    """Run the field's own binding of a key when the key arrives.

    Textual inserts a character at once, but runs a binding only after the key has bubbled up to the app: typed fast,
    or on a slow line, ``end`` or ``backspace`` would act after the characters that follow it.
    """
    for binding in field._bindings.key_to_bindings.get(event.key, ()):  # noqa: SLF001  Textual tells them nowhere else
        if not binding.priority and await field.app.run_action(binding.action, field):
            event.stop()
            event.prevent_default()
            return


# In dialogs, too, where the keys of the app are not heard.
_SNIPPET = Binding("alt+full_stop,f14", "app.snippet", "Snippet", show=False, id="app.snippet")


class Field(Input):
    """One line of text."""

    BINDINGS: ClassVar[list[Binding]] = [_SNIPPET]  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        # Without this Textual marks each as valid while it is made, and styles it twice: a tenth of what a form costs.
        super().__init__(*arguments, **{"validate_on": (), **named})

    async def _on_key(self, event: events.Key) -> None:
        await _act_at_once(self, event)


class Editor(TextArea):
    """Several lines of text."""

    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        _SNIPPET,
        Binding("ctrl+home", "go_to_end('start')", "To the start of the text", show=False),
        Binding("ctrl+end", "go_to_end('end')", "To the end of the text", show=False),
        Binding("ctrl+shift+home", "go_to_end('start', True)", "Select to the start", show=False),
        Binding("ctrl+shift+end", "go_to_end('end', True)", "Select to the end", show=False),
    ]

    async def _on_key(self, event: events.Key) -> None:
        await _act_at_once(self, event)

    def action_go_to_end(self, which: str, select: bool = False) -> None:
        """To the start or the end of the whole text; with ``select`` what is between is selected."""
        self.move_cursor((0, 0) if which == "start" else self.document.end, select=select)

    def _on_resize(self) -> None:
        # The new width may have been drawn already, with lines wrapped for the old one: Textual wraps anew and keeps the drawing.
        super()._on_resize()
        self.refresh()


class TickBox(Checkbox):
    """Yes or no: a box with a tick in it, or an empty one. Textual's has a pale cross in it, which reads as either."""

    @property
    def _button(self) -> Content:
        self.BUTTON_INNER = "✓" if self.value else " "
        return super()._button


class Choice(Widget, can_focus=True):
    """One of a few words; keys and clicks go through them. What it is among is seen by the signs beside it."""

    DEFAULT_CSS = """
    Choice { height: 1; padding: 0 1; background: $surface; &:focus { text-style: reverse; } }
    """
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("enter,space,right", "step(1)", show=False),
        Binding("left,backspace", "step(-1)", show=False),
    ]

    class Changed(Message):
        """Another one was chosen."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

        @property
        def control(self) -> Choice:
            """Where it was chosen."""
            return self.choice

    def __init__(self, words: Sequence[str], value: str, *, name: str) -> None:
        super().__init__(name=name)
        self.words = tuple(words)
        self._value = value

    @property
    def value(self) -> str:
        """The word that is chosen."""
        return self._value

    @value.setter
    def value(self, value: str) -> None:
        if value != self._value:
            self._value = value
            self.refresh()
            self.post_message(self.Changed(self))

    def action_step(self, step: int) -> None:
        """Choose the next word, or the one before; behind the last comes the first."""
        at = self.words.index(self._value) if self._value in self.words else -1
        self.value = self.words[(at + step) % len(self.words)]

    def on_click(self) -> None:
        """A click chooses the next one."""
        self.action_step(1)

    def render(self) -> Content:
        """The word between the signs that there are others."""
        return Content(f"< {self._value} >")
