"""A dialog that is agreed to by a word: for what cannot be undone."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from llmops_tui.safe_text import safe_line
from screens.widgets.fields import Field
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll


class WordDialog(Modal[bool]):
    """Shows lines, and gives whether the word was typed; escape changes nothing."""

    asks = True
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape", "give_up", "Cancel"),
        Binding("down", "scroll(1)", show=False, priority=True),
        Binding("up", "scroll(-1)", show=False, priority=True),
    ]

    def __init__(self, title: str, lines: Sequence[str], word: str) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._word = word

    def compose(self) -> ComposeResult:
        """What is agreed to, the field, and the word that it takes."""
        with Vertical(classes="dialog dialog-trust"):
            yield Static(Content(safe_line(self._title)), classes="dialog-title")
            with TextScroll(id="agreed"):
                yield Static(Content("\n".join(map(safe_line, self._lines))), id="lines")
            yield Field(id="word", compact=True, placeholder=f"type {self._word}")
            yield Static(self._hint(), classes="dialog-text")

    def on_mount(self) -> None:
        """The word is typed; what it is about scrolls all the same."""
        self.query_one("#agreed").can_focus = False
        self.query_one(Field).focus()

    def _hint(self) -> Content:
        how = " and enter does it; it cannot be undone   "
        return Content.assemble((self._word, "$accent bold"), how, ("esc", "$accent bold"), " changes nothing")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip().lower() == self._word:
            self.dismiss(True)
        else:
            hint = self.query_one(".dialog-text", Static)
            hint.update(Content.assemble(("Nothing was changed. ", "$warning"), self._hint()))

    def action_scroll(self, step: int) -> None:
        """Scroll what is agreed to while the field keeps the focus."""
        self.query_one("#agreed").scroll_relative(y=step, animate=False)

    def action_give_up(self) -> None:
        """Close without the word."""
        self.dismiss(False)
