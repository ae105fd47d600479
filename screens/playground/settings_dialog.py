"""What a prompt's version holds beside its texts, as YAML that can be changed; what is wrong with it is said below."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static, TextArea

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets.fields import Editor
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

if TYPE_CHECKING:
    from llmops_tui.inference.answer_settings import AnswerSettings

EMPTY = """\
# model: NAME
# parameters: {temperature: 0.2, max_tokens: 200}
# variables: {count: {type: integer, default: 3}}
# schema: {type: object, properties: {label: {type: string}}}
# tools: [{name: look_up, description: Finds an order, parameters: {type: object}}]
# examples: {dataset: faq@3, count: 4}
"""
_TOLD = (
    "Each part may be missing. Examples are drawn from the rows of the dataset's version when this is taken: "
    "question, answer, variable, seed and rows say which."
)
_SECONDS = 0.2


class SettingsDialog(Modal["AnswerSettings | str | None"]):
    """Edit the settings; ctrl+s or F5 takes them, escape leaves them. Gives them, an empty text for none, or none: left."""

    CSS_PATH = ["../dialog.tcss", "settings.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape", "give_up", "Cancel", priority=True),
        Binding("f5,ctrl+s,f2", "take", "Take", priority=True),
    ]

    def __init__(self, title: str, text: str, read: Callable[[str], AnswerSettings | None]) -> None:
        """``read`` reads the text in a thread, and says by an error what is wrong."""
        super().__init__()
        self._title, self._read = title, read
        self._editor = Editor(text or EMPTY, id="settings-text", soft_wrap=False, tab_behavior="focus", compact=True)
        self._problem = Static("", id="settings-problem", markup=False)
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """The text, what is wrong with it, the keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static(Content(safe_line(self._title, 120)), classes="dialog-title")
            yield Static(Content(_TOLD), classes="dialog-told")
            yield self._editor
            yield self._problem
            yield KeysLine(("ctrl+s", "take"), ("esc", "discard changes"))

    def on_mount(self) -> None:
        """Write at once."""
        self._editor.focus()

    @on(TextArea.Changed)
    def _changed(self, event: TextArea.Changed) -> None:
        event.stop()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_SECONDS, lambda: self._look(take=False))

    def action_take(self) -> None:
        """Close with what was written, where it can be read."""
        if self._timer is not None:
            # A look of its own would end this one.
            self._timer.stop()
        self._look(take=True)

    def action_give_up(self) -> None:
        """Close without an answer."""
        self.dismiss(None)

    def _look(self, *, take: bool) -> None:
        self.run_worker(self._looked(take=take), group="settings", exclusive=True, exit_on_error=False)

    async def _looked(self, *, take: bool) -> None:
        try:
            found = await asyncio.to_thread(self._read, self._editor.text)
        except LlmopsError as error:
            self._problem.update(Content.styled(safe_text(error.told), "$error"))
            return
        self._problem.update(Content.styled(found.brief() if found is not None else "holds nothing", "$muted"))
        if take:
            self.dismiss(found if found is not None else "")
