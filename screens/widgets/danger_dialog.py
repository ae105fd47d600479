"""A dialog that asks before an act that cannot be undone."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_text
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.keys_line import KeysLine


class DangerDialog(ConfirmDialog):
    """Ask before an act that cannot be undone: it is agreed to by a capital letter, and enter is the safe answer, too.

    ``y``, as which other questions are agreed to, says what is asked for here.
    """

    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("Y", "answer(True)", "Yes"),
        Binding("n,escape,enter", "answer(False)", "No"),
        Binding("y", "remind", "Yes"),
    ]

    def compose(self) -> ComposeResult:
        """The question, what goes and what stays, and the keys."""
        with Vertical(classes="dialog dialog-danger"):
            yield Static(Content(safe_text(self._question)), classes="dialog-title")
            told = (safe_text(self._consequence), "$text"), ("\n\nThis cannot be undone.", "bold $error")
            yield Static(Content.assemble(*told), classes="dialog-text")
            yield KeysLine(("n", "no"), ("Y", "yes, with shift"))

    def action_remind(self) -> None:
        """Say which key it is."""
        line = self.query_one(".dialog-keys", Static)
        line.update(Content.styled("Y, with shift, does it; n leaves all as it is.", "bold $error"))
