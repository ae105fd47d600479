"""The variables that the templates use, each with a field for its value."""

from __future__ import annotations

import asyncio
import json

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static, TextArea

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.playground.state import READING, PlaygroundState, variables_of
from screens.shell.pane import Pane
from screens.widgets.columns import fit
from screens.widgets.fields import Editor

_HELP = (
    "The values of the variables for the next run. They belong to the draft, not to the version. A value that spells a mark "
    "of the model's chat template, such as the one that ends a turn, is sent as text; the setting special_in_content changes "
    "that."
)
_SECONDS = 0.15
# Cells of the longest name that is whole.
_MOST_NAME = 20


class ValueEditor(Editor):
    """The value of a variable: as many lines as it has, up to a few."""

    def __init__(self, name: str, value: str, hint: str) -> None:
        super().__init__(
            value, name=name, placeholder=Content(hint), soft_wrap=True, tab_behavior="focus", compact=True
        )

    @property
    def value(self) -> str:
        """The text that stands in it."""
        return self.text

    @value.setter
    def value(self, value: str) -> None:
        if value != self.text:
            self.load_text(value)


class VariableFields(VerticalScroll):
    """One field a variable."""

    def __init__(self) -> None:
        super().__init__(id="variable-fields", can_focus=False)
        # None before they are known.
        self._names: list[str] | None = None
        self._hints: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """No fields until the variables are known."""
        none = "The templates use no variables. Write {{ name }} to make one."
        yield Static(READING if self._names is None else none, classes="muted", markup=False)

    async def show(self, names: list[str], values: dict[str, str], hints: dict[str, str]) -> None:
        """Show fields for these variables, keeping those that are there; ``hints`` stand in fields that are empty."""
        if names == self._names and hints == self._hints:
            for field in self.query(ValueEditor):
                with field.prevent(TextArea.Changed):
                    field.value = values.get(field.name or "", "")
            return
        self._names, self._hints = names, hints
        await self.remove_children()
        if not names:
            await self.mount(*self.compose())
            return
        rows = []
        # Names take what they need, and values the rest.
        column = min(_MOST_NAME, max(map(cell_len, names))) + 2
        for name in names:
            field = ValueEditor(name, values.get(name, ""), safe_line(hints.get(name, ""), 80))
            label = Static(fit(name, column - 1, middle=True), classes="variable-name", markup=False)
            label.styles.width = column
            rows.append(Horizontal(label, field, classes="variable-row"))
        await self.mount(*rows)


def _default(value: object) -> str:
    return "" if value is None else f"= {value if isinstance(value, str) else json.dumps(value)}"


class VariablesPane(Pane):
    """The fields, found again a moment after the last change of the text."""

    class Changed(Message):
        """A value was changed."""

        def __init__(self, name: str, value: str) -> None:
            super().__init__()
            self.name = name
            self.value = value

    def __init__(self, state: PlaygroundState) -> None:
        super().__init__(title="Variables", jump_key="i", id="playground-variables", help_text=_HELP)
        self._state = state
        self._fields = VariableFields()
        self._timer: Timer | None = None
        self._problem = ""
        self._names: list[str] = []

    def compose(self) -> ComposeResult:
        """The fields."""
        yield self._fields

    async def show(self, names: list[str]) -> None:
        """Show fields for these variables, with the values of the draft."""
        await self._fields.show(names, self._state.draft.variables, self._hints())
        self._names = names
        self.show_note()

    def _hints(self) -> dict[str, str]:
        """What the draft says of its variables: the type, and the value where none is given."""
        settings = self._state.settings
        rules = settings.variables if settings is not None else {}
        return {
            name: " ".join(part for part in (rule.type, _default(rule.default), rule.description) if part)
            for name, rule in rules.items()
        }

    def show_note(self) -> None:
        """Say what is wrong with the templates, or which values spell a mark of the model's own."""
        self.set_note(self._problem or self._spelled())

    def _spelled(self) -> str:
        model = self._state.model
        template = str(model.base.header.get("chat_template") or "") if model is not None else ""
        values = self._state.draft.variables
        if not template or not any(values.get(name) for name in self._names):
            return ""
        from llmops_tui.chat_format.marks import spelled

        found = next(
            ((name, marks[0]) for name in self._names if (marks := spelled(template, values.get(name, "")))), None
        )
        if found is None:
            return ""
        name, mark = found
        acts = self.services.settings.special_in_content
        return f"{name}: {mark} {'acts as a mark' if acts else 'is sent as text, not as a mark'}"

    def read_soon(self) -> None:
        """Look which variables the draft uses, once nothing was typed for a moment."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_SECONDS, lambda: self.act("variables", self._inspect))

    async def _inspect(self) -> None:
        draft = self._state.draft
        try:
            names = await asyncio.to_thread(variables_of, self.services, self._state.name, draft)
        except LlmopsError as error:
            self._problem = error.message.removeprefix("the template cannot be rendered: ")
            self.show_note()
            return
        now = self._state.draft
        if (now.system, now.template) != (draft.system, draft.template):
            return  # the text is another one meanwhile, and whoever changed it looks, or has looked
        self._problem = ""
        await self.show(names)

    @on(TextArea.Changed)
    def _field_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        if event.text_area.is_attached:  # a field that went belonged to another prompt
            self.post_message(self.Changed(event.text_area.name or "", event.text_area.text))
