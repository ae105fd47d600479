"""What can be copied of a chat, and the command that shows it."""

from __future__ import annotations

import shlex

from llmops_tui.prompts.chats.texts import as_text
from llmops_tui.prompts.chats.tree import Chat, Turn

_FORMS = {"conversation as Markdown": "markdown", "messages as JSON": "messages", "row of a dataset": "jsonl"}


def copies(chat: Chat | None, turn: Turn | None) -> list[tuple[str, str]]:
    """The turn under the cursor, the branch that is shown in several forms, and the command."""
    found = [("turn", turn.text)] if turn is not None else []
    if chat is not None and chat.branch():
        found += [(name, as_text(chat, form)) for name, form in _FORMS.items()]
    return [*found, ("command", command(chat))]


def command(chat: Chat | None) -> str:
    """``llmops chat show`` of a chat, or the list."""
    return f"llmops chat show {shlex.quote(chat.name)}" if chat is not None else "llmops chat list"
