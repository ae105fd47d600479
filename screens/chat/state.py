"""The state of the chat screen without widgets: the chats, the open one, the models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmops_tui.prompts.chats.store import ChatSummary, summary_of
from llmops_tui.prompts.chats.tree import Chat

if TYPE_CHECKING:
    from llmops_tui.evaluation.scripted.script import Script
    from llmops_tui.mcp_client.kept_connections import KeptConnections
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.chats.store import Chats


@dataclass
class ChatState:
    """What all panes read; the screen changes it.

    Attributes:
        chat: the open one; none where there is none yet.
        editing: the turn that what is written replaces, by its id; empty where it is a new one.
        tool_servers: the servers whose tools the last answer was offered.
        connections: those to tool servers, once one was needed; they stay between answers.
        mock_tools: tools with mock results, where a file of them was chosen.
    """

    chats: list[ChatSummary] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    chat: Chat | None = None
    editing: str = ""
    tool_servers: tuple[str, ...] = ()
    connections: KeptConnections | None = None
    mock_tools: Script | None = None

    def note(self, chat: Chat) -> None:
        """The open chat is another one now; it is the last changed of the list."""
        self.chat = chat
        self.chats = [summary_of(chat), *(one for one in self.chats if one.name != chat.name)]

    @property
    def model(self) -> Model | None:
        """The model that answers; none where it is gone, or none was chosen."""
        name = self.chat.model if self.chat is not None else ""
        return next((one for one in self.models if one.name == name), None)


def read_chat(chats: Chats, name: str) -> tuple[Chat | None, str, str]:
    """A chat, the turn that is being said in another way, and what is written; for a thread.

    A chat whose turn was being edited when the app ended is shown where that turn stands.
    """
    if not name:
        return None, "", ""
    chat = chats.load(name)
    turn, text = chats.editing(name) or ("", "")
    found = next((one for one in chat.turns if one.id == turn), None)
    if found is None:
        return chat, "", chats.unsent(name)
    if found not in chat.branch():
        chat = chats.change(name, lambda now: now.shown_at(found))
    return chat, turn, text
