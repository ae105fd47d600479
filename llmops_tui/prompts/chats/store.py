"""The chats of a workspace. Each change is read and written in one transaction: another window may say something, too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.names import RULE, is_name
from llmops_tui.prompts.chats.tree import Chat, chat_of

if TYPE_CHECKING:
    import sqlite3

    from llmops_tui.workspace.event_log import EventLog

_PREFIX = "chat:"
_UNSENT = "chat-unsent:"
_ADVICE = "llmops chat list shows all chats."


@dataclass(frozen=True)
class ChatSummary:
    """A chat in a list; ``first`` is the beginning of what was asked first."""

    name: str
    model: str
    turns: int
    branches: int
    first: str
    changed_at: float


class Chats:
    """Chats by name."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def summaries(self) -> list[ChatSummary]:
        """All chats, the last changed first.

        Raises:
            LlmopsError: ``chat_unreadable``.
        """
        rows = self._event_log.connection().execute(
            "SELECT key, body FROM drafts WHERE key >= ? AND key < ?", (_PREFIX, _PREFIX[:-1] + ";")
        )
        found = [_summary(chat_of(key.removeprefix(_PREFIX), json.loads(body))) for key, body in rows]
        return sorted(found, key=lambda one: (-one.changed_at, one.name))

    def load(self, name: str) -> Chat:
        """A chat by name.

        Raises:
            NotFoundError: there is none. LlmopsError: ``chat_unreadable``.
        """
        body = self._event_log.load_draft(_PREFIX + name)
        if body is None:
            raise NotFoundError("chat", name, _ADVICE)
        return chat_of(name, body)

    def free_name(self) -> str:
        """A name that no chat has yet."""
        taken = self._event_log.draft_keys()
        return next(name for number in range(1, len(taken) + 2) if _PREFIX + (name := f"chat-{number}") not in taken)

    def begin(
        self, name: str, *, model: str = "", system: str = "", parameters: SamplingParameters | None = None
    ) -> Chat:
        """A new chat; durable when this returns.

        Raises:
            InputRefusedError: ``bad_name``, or ``name_taken``.
        """
        chat = Chat(name, system, model, parameters or SamplingParameters())
        return self.put(chat)

    def put(self, chat: Chat) -> Chat:
        """Keep a chat that is not there, such as one that was removed; raises as :meth:`begin`."""
        _check_name(chat.name)
        with self._event_log.transaction() as connection:
            if _body(connection, chat.name) is not None:
                raise InputRefusedError("name_taken", f"there is a chat {chat.name}", "Choose another name.")
            return _write(connection, chat)

    def change(self, name: str, work: Callable[[Chat], Chat]) -> Chat:
        """Change a chat as it stands now, whoever changed it meanwhile; durable when this returns.

        Raises:
            NotFoundError: there is none. LlmopsError: ``chat_unreadable``. What ``work`` raises changes nothing.
        """
        with self._event_log.transaction() as connection:
            body = _body(connection, name)
            if body is None:
                raise NotFoundError("chat", name, _ADVICE)
            before = chat_of(name, json.loads(body))
            after = work(before)
            return before if after == before else _write(connection, after)

    def rename(self, name: str, new_name: str) -> Chat:
        """Give a chat another name.

        Raises:
            NotFoundError: there is none. InputRefusedError: ``bad_name``, or ``name_taken``.
        """
        _check_name(new_name)
        with self._event_log.transaction() as connection:
            body = _body(connection, name)
            if body is None:
                raise NotFoundError("chat", name, _ADVICE)
            if new_name != name and _body(connection, new_name) is not None:
                raise InputRefusedError("name_taken", f"there is a chat {new_name}", "Choose another name.")
            for prefix in (_PREFIX, _UNSENT):
                connection.execute("UPDATE drafts SET key = ? WHERE key = ?", (prefix + new_name, prefix + name))
            return chat_of(new_name, json.loads(body))

    def unsent(self, name: str) -> str:
        """What was written and not sent yet."""
        return str((self._event_log.load_draft(_UNSENT + name) or {}).get("text", ""))

    def keep_unsent(self, name: str, text: str) -> None:
        """Keep what is being written; durable when this returns."""
        if text:
            self._event_log.save_draft(_UNSENT + name, {"text": text})
        else:
            self._event_log.remove_draft(_UNSENT + name)

    def remove(self, name: str) -> Chat:
        """Delete a chat and give it back; the traces of its answers stay.

        Raises:
            NotFoundError: there is none.
        """
        chat = self.load(name)
        self._event_log.remove_draft(_UNSENT + name)
        if not self._event_log.remove_draft(_PREFIX + name):
            raise NotFoundError("chat", name, _ADVICE)
        return chat


def _check_name(name: str) -> None:
    if not is_name(name):
        raise InputRefusedError("bad_name", f"{name!r} is not a valid chat name", RULE)


def _body(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT body FROM drafts WHERE key = ?", (_PREFIX + name,)).fetchone()
    return None if row is None else str(row[0])


def _write(connection: sqlite3.Connection, chat: Chat) -> Chat:
    kept = replace(chat, changed_at=time.time())
    connection.execute(
        "INSERT OR REPLACE INTO drafts (key, body, at) VALUES (?, ?, ?)",
        (_PREFIX + chat.name, json.dumps(kept.as_dict(), ensure_ascii=True), kept.changed_at),
    )
    return kept


def _summary(chat: Chat) -> ChatSummary:
    first = next((turn.text for turn in chat.turns if turn.role == "user"), "")
    return ChatSummary(chat.name, chat.model, len(chat.turns), chat.branches(), first[:200], chat.changed_at)
