"""The chats: a list, the last changed first."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.prompts.chats.store import ChatSummary
from llmops_tui.safe_text import safe_line
from screens.chat.state import ChatState
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

_HELP = "All chats, the last changed first. Enter opens one; n begins another."
_EMPTY = "No chats yet.\nn begins one."

COLUMNS: list[Column[ChatSummary]] = [
    Column("chat", lambda row: safe_line(row.name, 120), share=2, least=8, names=True),
    Column("turns", lambda row: units.whole(row.turns), lambda row: row.turns, right=True, falling=True),
    Column("branches", lambda row: units.whole(row.branches), lambda row: row.branches, right=True, falling=True, rank=3,
        chosen=False),
    Column("model", lambda row: (safe_line(row.model, 200), "muted"), share=1, least=6, rank=3, chosen=False, names=True),
    Column("changed", lambda row: units.moment(row.changed_at), lambda row: row.changed_at, falling=True, rank=2),
    Column("first", lambda row: (safe_line(row.first, 100), "muted"), share=2, least=8, rank=4, chosen=False),
]  # fmt: skip


class ChatsPane(Pane):
    """The list, and what is done with a chat."""

    @dataclass
    class Opened(Message):
        """A chat is to be shown."""

        name: str

    @dataclass
    class Asked(Message):
        """Something is to be done: ``new``, or ``rename`` or ``remove`` a chat."""

        what: str
        name: str = ""

    def __init__(self, state: ChatState) -> None:
        super().__init__(title="Chats", jump_key="c", id="chat-chats", help_text=_HELP)
        self._state = state
        self._table: Table[ChatSummary] = Table(
            COLUMNS, id="chat-list", key=lambda row: row.name, empty=_EMPTY, mark=self._mark
        )

    def compose(self) -> ComposeResult:
        """The list."""
        yield self._table

    def show(self) -> None:
        """Draw the chats."""
        chat = self._state.chat
        self._table.fill(self._state.chats, chat.name if chat is not None else "")

    def _mark(self, row: ChatSummary) -> Part:
        opened = self._state.chat is not None and self._state.chat.name == row.name
        return ("▸", "accent") if opened else ("", "plain")

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        if (row := self._table.current) is not None:
            self.post_message(self.Opened(row.name))

    def action_new(self) -> None:
        """Begin a chat."""
        self.post_message(self.Asked("new"))

    def action_rename(self) -> None:
        """Give the chat another name."""
        self._ask("rename")

    def action_remove(self) -> None:
        """Delete the chat."""
        self._ask("remove")

    def _ask(self, what: str) -> None:
        if (row := self._table.current) is not None:
            self.post_message(self.Asked(what, row.name))
