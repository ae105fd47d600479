"""Answers cached by the hash of everything that determines them."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import orjson

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.wire import Reply
from llmops_tui.workspace.bulk import whole_characters
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import existing
from llmops_tui.workspace.sqlite_files import counted_write, is_full, open_sqlite

_BUSY_SECONDS = 30.0
_MANY = 500
FILE = "answers.db"


def answer_key(what: Mapping[str, object]) -> str:
    """The key of a request: the SHA-256 of its canonical JSON."""
    return sha256_text(json.dumps(what, sort_keys=True, separators=(",", ":")))


def whole_reply(reply: Reply) -> Reply:
    """A reply as a file can keep it: half of a character becomes U+FFFD, and a number beyond 64 bits a float.

    A server that cuts its text in the middle of a character writes half of one.
    """
    try:
        orjson.dumps(reply)
    except TypeError:
        text = whole_characters(json.dumps(reply, ensure_ascii=False))
        return cast("Reply", json.loads(text, parse_int=_integer))
    return reply


def _integer(digits: str) -> int | float:
    return found if abs(found := float(digits)) >= 2.0**63 else int(digits)


class Kept(NamedTuple):
    """A reply, and when it was given in seconds of the wall clock; none where an earlier version did not note it."""

    reply: Reply
    at: float | None


class AnswerCache:
    """Replies by key, in a SQLite file of the workspace; several processes may use it at once.

    With ``since`` only replies are found that were kept from then on.
    """

    def __init__(self, workspace: Workspace, since: float | None = None) -> None:
        path = existing(workspace).root / FILE
        self._since = since
        self._waiting: dict[str, tuple[bytes, float]] = {}
        try:
            self._connection = open_sqlite(path, timeout=_BUSY_SECONDS, isolation_level=None)
            path.chmod(0o600)
            self._connection.execute("PRAGMA journal_mode = WAL")
            # What is lost in a power cut is asked again.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, reply BLOB, kept_at REAL) WITHOUT ROWID"
            )
            self._add_age()
        except sqlite3.Error as error:
            raise _failed(path, error) from error
        self._path = path

    def _add_age(self) -> None:
        """Earlier versions did not note when a reply was given. Another process may add the column at the same moment."""
        if any(row[1] == "kept_at" for row in self._connection.execute("PRAGMA table_info(answers)")):
            return
        try:
            with counted_write(self._connection):
                self._connection.execute("ALTER TABLE answers ADD COLUMN kept_at REAL")
        except sqlite3.OperationalError as error:
            if "duplicate column" not in str(error):
                raise

    def find(self, keys: Iterable[str]) -> dict[str, Kept]:
        """The replies that are known."""
        wanted = list(keys)
        found: dict[str, Kept] = {}
        since = -math.inf if self._since is None else self._since
        for start in range(0, len(wanted), _MANY):
            part = wanted[start : start + _MANY]
            marks = ", ".join("?" for _ in part)
            rows = f"SELECT key, reply, kept_at FROM answers WHERE key IN ({marks}) AND coalesce(kept_at, 0) >= ?"
            for key, reply, at in self._connection.execute(rows, [*part, since]):
                found[key] = Kept(orjson.loads(reply), at)
        for key in wanted:
            if key in self._waiting:
                reply, at = self._waiting[key]
                found[key] = Kept(orjson.loads(reply), at)
        return found

    def keep(self, key: str, reply: Reply) -> None:
        """Keep a reply; written with others at the next :meth:`flush`."""
        self._waiting[key] = orjson.dumps(reply), time.time()

    def flush(self) -> None:
        """Write what waits, in one transaction.

        Raises:
            LlmopsError: ``cache_failed``, such as for a full disk.
        """
        if not self._waiting:
            return
        try:
            with counted_write(self._connection):
                self._connection.executemany(
                    "INSERT OR REPLACE INTO answers (key, reply, kept_at) VALUES (?, ?, ?)",
                    [(key, reply, at) for key, (reply, at) in self._waiting.items()],
                )
        except sqlite3.Error as error:
            raise _failed(self._path, error) from error
        self._waiting.clear()

    def forget(self, meant: Callable[[bytes], bool]) -> int:
        """Drop the replies that are meant, by their JSON, and overwrite their bytes; returns how many went.

        Raises:
            LlmopsError: ``cache_failed``.
        """
        self.flush()
        try:
            self._connection.execute("PRAGMA secure_delete = ON")
            rows = self._connection.execute("SELECT key, reply FROM answers")
            keys = [(key,) for key, reply in rows if meant(bytes(reply))]
            if keys:
                with counted_write(self._connection):
                    self._connection.executemany("DELETE FROM answers WHERE key = ?", keys)
        except sqlite3.Error as error:
            raise _failed(self._path, error) from error
        return len(keys)

    def close(self) -> None:
        """Write what waits and close the file."""
        self.flush()
        self._connection.close()


def _failed(path: Path, error: sqlite3.Error) -> LlmopsError:
    hint = (
        "Free some space and try again."
        if is_full(error, path)
        else "The file may be deleted; the requests are then sent again."
    )
    return LlmopsError("cache_failed", f"the cached answers in {path} cannot be used: {error}", hint)
