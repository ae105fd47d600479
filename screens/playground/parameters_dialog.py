"""The form of the sampling parameters."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.inference.sampling import SamplingParameters
from screens.widgets.form import ModelForm
from screens.widgets.modal import Modal


class ParametersDialog(Modal[SamplingParameters | None]):
    """Edit the parameters; F5 or ctrl+s takes them, escape leaves them as they were."""

    CSS_PATH = ["../dialog.tcss", "../widgets/form.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape", "give_up", "Cancel"),
        Binding("f5,ctrl+s,f2,enter", "take", "Take", priority=True),
    ]

    def __init__(self, value: SamplingParameters) -> None:
        super().__init__()
        self._form = ModelForm(value)

    def compose(self) -> ComposeResult:
        """The form and its keys."""
        with Vertical(classes="dialog dialog-help"):
            yield Static("Sampling parameters", classes="dialog-title")
            yield self._form
            yield Static(
                Content.assemble(("enter", "$accent"), " take   ", ("esc", "$accent"), " discard changes"),
                classes="dialog-keys",
            )

    def action_take(self) -> None:
        """Close with the new parameters, where all are valid."""
        if self._form.problems:
            self.notify("Fix the fields that are marked first.", severity="warning", markup=False)
            return
        self.dismiss(self._form.value)

    def action_give_up(self) -> None:
        """Close without a change."""
        self.dismiss(None)
