"""The chats of a workspace. Each change is read and written in one transaction: another window may say something, too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.names import RULE, is_name
from llmops_tui.prompts.chats.tree import Chat, Turn, chat_of
from llmops_tui.workspace.ids import new_id

if TYPE_CHECKING:
    import sqlite3

    from llmops_tui.workspace.event_log import EventLog

_PREFIX = "chat:"
_UNSENT = "chat-unsent:"
_EDIT = "chat-edit:"
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
        """All chats that can be read, the last changed first."""
        return self.listed()[0]

    def listed(self) -> tuple[list[ChatSummary], list[LlmopsError]]:
        """As :meth:`summaries`, and why others cannot be read (``chat_unreadable``)."""
        found: list[ChatSummary] = []
        unreadable: list[LlmopsError] = []
        for name, body in self._event_log.connection().execute(
            "SELECT substr(key, ?), body FROM drafts WHERE key >= ? AND key < ?",
            (len(_PREFIX) + 1, _PREFIX, _PREFIX[:-1] + ";"),
        ):
            try:
                found.append(summary_of(chat_of(name, json.loads(body))))
            except LlmopsError as error:
                unreadable.append(error)
        return sorted(found, key=lambda one: (-one.changed_at, one.name)), unreadable

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
        chat = Chat(name, system, model, parameters or SamplingParameters(), id=new_id("chat"))
        return self.put(chat)

    def put(self, chat: Chat) -> Chat:
        """Keep a chat that is not there, such as one that was removed; raises as :meth:`begin`."""
        _check_name(chat.name)
        with self._event_log.transaction() as connection:
            if _body(connection, chat.name) is not None:
                raise InputRefusedError("name_taken", f"there is a chat {chat.name}", "Choose another name.")
            _forget_unsent(connection, chat.name)
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

    def rename(self, name: str, new_name: str, chat_id: str = "") -> Chat:
        """Give a chat another name; with an id only where it is that chat that has the name.

        Raises:
            NotFoundError: there is none. InputRefusedError: ``bad_name``, or ``name_taken``.
        """
        _check_name(new_name)
        with self._event_log.transaction() as connection:
            body = _body(connection, name)
            if body is None or (chat_id and chat_of(name, json.loads(body)).id != chat_id):
                raise NotFoundError("chat", name, f"Another one has that name. {_ADVICE}" if body else _ADVICE)
            if new_name != name and _body(connection, new_name) is not None:
                raise InputRefusedError("name_taken", f"there is a chat {new_name}", "Choose another name.")
            if new_name != name:
                _forget_unsent(connection, new_name)
            for prefix in (_PREFIX, _UNSENT, _EDIT):
                connection.execute("UPDATE drafts SET key = ? WHERE key = ?", (prefix + new_name, prefix + name))
            renamed = chat_of(new_name, json.loads(body))
            if renamed.id:
                return renamed
            known = replace(renamed, id=new_id("chat"))
            connection.execute(
                "UPDATE drafts SET body = ? WHERE key = ?",
                (json.dumps(known.as_dict(), ensure_ascii=True), _PREFIX + new_name),
            )
            return known

    def unsent(self, name: str) -> str:
        """What was written and not sent yet."""
        return str((self._event_log.load_draft(_UNSENT + name) or {}).get("text", ""))

    def keep_unsent(self, name: str, text: str) -> None:
        """Keep what is being written, where the chat is still there; durable when this returns."""
        with self._event_log.transaction() as connection:
            connection.execute("DELETE FROM drafts WHERE key = ?", (_UNSENT + name,))
            if text and _body(connection, name) is not None:
                connection.execute(
                    "INSERT INTO drafts (key, body, at) VALUES (?, ?, ?)",
                    (_UNSENT + name, json.dumps({"text": text}), time.time()),
                )

    def editing(self, name: str) -> tuple[str, str] | None:
        """The turn that was being said in another way, by its id, and what was written of it; none where none was."""
        kept = self._event_log.load_draft(_EDIT + name)
        return (str(kept["turn"]), str(kept["text"])) if kept else None

    def keep_editing(self, name: str, turn: str, text: str) -> None:
        """Keep what a turn is being said as; an empty text: it is not any more. Durable when this returns."""
        with self._event_log.transaction() as connection:
            connection.execute("DELETE FROM drafts WHERE key = ?", (_EDIT + name,))
            if text and _body(connection, name) is not None:
                connection.execute(
                    "INSERT INTO drafts (key, body, at) VALUES (?, ?, ?)",
                    (_EDIT + name, json.dumps({"turn": turn, "text": text}), time.time()),
                )

    def add_answer(self, name: str, turn: Turn) -> Chat:
        """Add an answer to what it answers, also where the chat was renamed meanwhile; durable when this returns.

        Raises:
            InputRefusedError: ``answer_unkept``: what it answers was deleted; ``chat_full``.
        """
        try:
            return self.change(name, lambda now: now.with_turn(turn))
        except LlmopsError as error:
            now = self._with_turn_of(turn.parent)
            if now is None and error.code in {"chat_not_found", "bad_turn"}:
                raise InputRefusedError(
                    "answer_unkept",
                    f"what {turn.model} answered was deleted from {name} meanwhile, and the answer is not kept there",
                    f"Its trace may have it: llmops traces show {turn.run}",
                ) from error
            if now is None or now == name:
                raise
            return self.change(now, lambda chat: chat.with_turn(turn))

    def _with_turn_of(self, turn: str) -> str | None:
        """The chat that has a turn."""
        rows = self._event_log.connection().execute(
            "SELECT substr(key, ?), body FROM drafts WHERE key >= ? AND key < ? AND instr(body, ?)",
            (len(_PREFIX) + 1, _PREFIX, _PREFIX[:-1] + ";", f'"id": {json.dumps(turn)}'),
        )
        return next(
            (str(name) for name, body in rows if any(one["id"] == turn for one in json.loads(body)["turns"])), None
        )

    def remove(self, name: str) -> Chat | None:
        """Delete a chat and give it back, unless it cannot be read; the traces of its answers stay.

        Raises:
            NotFoundError: there is none.
        """
        with self._event_log.transaction() as connection:
            body = _body(connection, name)
            if body is None:
                raise NotFoundError("chat", name, _ADVICE)
            _forget_unsent(connection, name)
            connection.execute("DELETE FROM drafts WHERE key = ?", (_PREFIX + name,))
        try:
            return chat_of(name, json.loads(body))
        except LlmopsError:
            return None


def _check_name(name: str) -> None:
    if not is_name(name):
        raise InputRefusedError("bad_name", f"{name!r} is not a valid chat name", RULE)


def _body(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT body FROM drafts WHERE key = ?", (_PREFIX + name,)).fetchone()
    return None if row is None else str(row[0])


def _forget_unsent(connection: sqlite3.Connection, name: str) -> None:
    """Of a chat that is gone, what was being written in another window may be left."""
    connection.executemany("DELETE FROM drafts WHERE key = ?", [(_UNSENT + name,), (_EDIT + name,)])


def _write(connection: sqlite3.Connection, chat: Chat) -> Chat:
    kept = replace(chat, changed_at=time.time())
    connection.execute(
        "INSERT OR REPLACE INTO drafts (key, body, at) VALUES (?, ?, ?)",
        (_PREFIX + chat.name, json.dumps(kept.as_dict(), ensure_ascii=True), kept.changed_at),
    )
    return kept


def summary_of(chat: Chat) -> ChatSummary:
    """A chat as a list has it."""
    first = next((turn.text for turn in chat.turns if turn.role == "user"), "")
    return ChatSummary(chat.name, chat.model, len(chat.turns), chat.branches(), first[:200], chat.changed_at)
