"""The question before a run that nobody has looked at: start, look first, or leave."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_text
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

START, PREFLIGHT = "start", "preflight"


class StartDialog(Modal[str | None]):
    """Gives what is to be done; ``n`` and escape give nothing."""

    asks = True
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("y,enter", f"answer('{START}')", "Yes"),
        Binding("p", f"answer('{PREFLIGHT}')", "Preflight"),
        Binding("n,escape", "leave", "No"),
    ]

    def __init__(self, question: str, consequence: str) -> None:
        super().__init__()
        self._question, self._consequence = question, consequence

    def compose(self) -> ComposeResult:
        """The question and its keys."""
        with Vertical(classes="dialog"):
            yield Static(Content(safe_text(self._question)), classes="dialog-title")
            yield Static(Content(safe_text(self._consequence)), classes="dialog-text")
            yield KeysLine(("y", "yes"), ("p", "preflight first"), ("n", "no"))

    def action_answer(self, what: str) -> None:
        """Close with what is to be done."""
        self.dismiss(what)

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
