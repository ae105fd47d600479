"""A dialog with one form."""

from __future__ import annotations

from typing import Generic

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets.form import Model, ModelForm
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

# Lines of the dialog around its form, without what is told above it; and the cells of a line of that.
_ROWS_AROUND, _COLUMNS = 8, 60


class FormDialog(Modal["Model | None"], Generic[Model]):
    """Fill in a form; enter, F5 or ctrl+s takes it, escape leaves it as it was.

    ``told`` stands above the form, ``takes`` and ``leaves`` say what the two keys do, and ``suggestions`` complete what is typed
    in a field.
    """

    CSS_PATH = ["../dialog.tcss", "../widgets/form.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape", "give_up", "Cancel"),
        Binding("f5,ctrl+s,f2,enter", "take", "Take", priority=True),
    ]

    def __init__(
        self,
        title: str,
        value: Model,
        *,
        told: str = "",
        takes: str = "take",
        leaves: str = "cancel",
        suggestions: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._told, self._takes, self._leaves = title, told, takes, leaves
        self._form: ModelForm[Model] = ModelForm(value, suggestions=suggestions, field_columns=12)

    def compose(self) -> ComposeResult:
        """The form and its keys."""
        with Vertical(classes="dialog dialog-form"):
            yield Static(Content(safe_line(self._title, 120)), classes="dialog-title")
            if self._told:
                yield Static(Content(safe_text(self._told)), classes="dialog-told")
            yield self._form
            yield KeysLine(("enter", self._takes), ("esc", self._leaves))

    def on_resize(self) -> None:
        """As tall as the form, where the terminal is."""
        told = safe_text(self._told).splitlines()
        lines = sum(-(-cell_len(line) // _COLUMNS) or 1 for line in told) + bool(told)
        self._form.styles.max_height = self.lines_beside(_ROWS_AROUND + lines)

    def action_take(self) -> None:
        """Close with what was filled in, where all is valid."""
        if self._form.problems:
            self.notify("Fix the fields that are marked first.", severity="warning", markup=False)
            return
        self.dismiss(self._form.value)

    def action_give_up(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
