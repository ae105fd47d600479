"""The state of the chat screen without widgets: the chats, the open one, the models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmops_tui.prompts.chats.store import ChatSummary, summary_of
from llmops_tui.prompts.chats.tree import Chat

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model


@dataclass
class ChatState:
    """What all panes read; the screen changes it.

    Attributes:
        chat: the open one; none where there is none yet.
        editing: the turn that what is written replaces, by its id; empty where it is a new one.
    """

    chats: list[ChatSummary] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    chat: Chat | None = None
    editing: str = ""

    def note(self, chat: Chat) -> None:
        """The open chat is another one now; it is the last changed of the list."""
        self.chat = chat
        self.chats = [summary_of(chat), *(one for one in self.chats if one.name != chat.name)]

    @property
    def model(self) -> Model | None:
        """The model that answers; none where it is gone, or none was chosen."""
        name = self.chat.model if self.chat is not None else ""
        return next((one for one in self.models if one.name == name), None)
