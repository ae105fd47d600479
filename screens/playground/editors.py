"""The middle column: system and user templates, and a field for each variable they use."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from llmops_tui.safe_text import count_hidden
from screens.widgets.fields import Editor, Field


class TemplateEditor(Editor):
    """A text area for a template; says at its border where it hides characters."""

    def __init__(self, *, placeholder: str, id: str) -> None:  # noqa: A002
        super().__init__(id=id, soft_wrap=True, tab_behavior="focus", placeholder=Content(placeholder), compact=True)

    @property
    def hidden_characters(self) -> int:
        """How many characters of the text cannot be seen."""
        return count_hidden(self.text)


class VariableFields(VerticalScroll):
    """One field a variable."""

    class Changed(Message):
        """A value was changed."""

        def __init__(self, name: str, value: str) -> None:
            super().__init__()
            self.name = name
            self.value = value

    def __init__(self) -> None:
        super().__init__(id="variable-fields", can_focus=False)
        self._names: list[str] = []

    def compose(self) -> ComposeResult:
        """Nothing until the variables are known."""
        yield Static("The templates use no variables. Write {{ name }} to make one.", classes="muted", markup=False)

    async def show(self, names: list[str], values: dict[str, str]) -> None:
        """Show fields for these variables, keeping those that are there."""
        if names == self._names:
            for field in self.query(Input):
                value = values.get(field.name or "", "")
                if field.value != value:
                    with field.prevent(Input.Changed):
                        field.value = value
            return
        self._names = names
        await self.remove_children()
        if not names:
            await self.mount(*self.compose())
            return
        rows = []
        for name in names:
            field = Field(values.get(name, ""), name=name, compact=True)
            rows.append(Horizontal(Static(name, classes="variable-name", markup=False), field, classes="variable-row"))
        await self.mount(*rows)

    @on(Input.Changed)
    def _field_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.input.name or "", event.value))
