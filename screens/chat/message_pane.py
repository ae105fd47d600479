"""What is said next: an editor in which enter sends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import TextArea

from screens.chat.state import ChatState
from screens.shell.pane import Pane
from screens.widgets.fields import Editor

_HELP = (
    "What you say next. Enter sends it, ctrl+j begins a new line; it is kept on disk while you write, for each chat."
)
_HINT = "say something; enter sends, ctrl+j begins a line"


class MessageEditor(Editor):
    """Several lines; enter is for whoever sends them."""

    class Entered(Message):
        """Enter was pressed."""

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Entered())
        elif event.key in {"ctrl+j", "shift+enter", "alt+enter"}:
            event.stop()
            event.prevent_default()
            self.insert("\n")
        else:
            await super()._on_key(event)


class MessagePane(Pane):
    """The editor; says at its border what the text will be."""

    @dataclass
    class Sent(Message):
        """A text is to be said."""

        text: str

    def __init__(self, state: ChatState) -> None:
        super().__init__(title="Message", jump_key="m", id="chat-message", help_text=_HELP)
        self._state = state
        self._editor = MessageEditor(
            id="chat-editor", soft_wrap=True, tab_behavior="focus", placeholder=_HINT, compact=True
        )
        self._of = ""
        # What is to be written yet, by chat and the turn that is said in another way; who writes does it one by one.
        self._waiting: dict[tuple[str, str], str] = {}
        self._writing = False

    def compose(self) -> ComposeResult:
        """The editor."""
        yield self._editor

    @property
    def text(self) -> str:
        """What is written."""
        return self._editor.text

    def show(self, text: str) -> None:
        """Put in what was written for the open chat, or for the turn that is said in another way."""
        chat = self._state.chat
        self._of = chat.name if chat is not None else ""
        with self._editor.prevent(TextArea.Changed):
            self._editor.load_text(text)
            self._editor.move_cursor(self._editor.document.end)
        self._editor.disabled = chat is None
        self.show_title()

    def show_title(self) -> None:
        """Say whether it is a new message or another way of an old one."""
        chat, editing = self._state.chat, self._state.editing
        number = next((n for n, turn in enumerate(chat.branch(), 1) if turn.id == editing), 0) if chat else 0
        self.set_title(f"Turn {number} in another way" if number else "Message")
        self.set_note("enter: a new branch · esc: leave it as it was" if number else "")

    def focus_editor(self) -> None:
        """Write."""
        self._editor.focus()

    @on(MessageEditor.Entered)
    def _entered(self, event: MessageEditor.Entered) -> None:
        event.stop()
        self.action_send()

    def action_send(self) -> None:
        """Say it."""
        self.post_message(self.Sent(self._editor.text))

    # ── what is written is on disk ──

    @on(TextArea.Changed)
    def _edited(self, event: TextArea.Changed) -> None:
        event.stop()
        if self._of:
            self.keep(self._of, self._state.editing, self._editor.text)

    def keep(self, chat: str, turn: str, text: str) -> None:
        """Keep what is written of the next message, or of a turn in another way: behind what is to be written before it."""
        self._waiting[chat, turn] = text
        if not self._writing:
            self._writing = True
            self.run_worker(self.guarded(self._write), group="unsent", exit_on_error=False)

    async def _write(self) -> None:
        from llmops_tui.prompts.chats.store import Chats

        chats = Chats(self.services.event_log)
        try:
            while self._waiting:
                (chat, turn) = first = next(iter(self._waiting))
                text = self._waiting.pop(first)
                if turn:
                    await asyncio.to_thread(chats.keep_editing, chat, turn, text)
                else:
                    await asyncio.to_thread(chats.keep_unsent, chat, text)
        finally:
            self._writing = False
