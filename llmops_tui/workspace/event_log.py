"""The event log: an SQLite file in WAL mode that many live processes append to.

Writers always ``BEGIN IMMEDIATE``: a deferred transaction that reads first fails under load, busy timeout or not.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.connections import Opened, connections_of
from llmops_tui.workspace.events import RequestRecord
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import existing, note, require
from llmops_tui.workspace.sqlite_files import OpenedFile, copy_to_memory, counted_write, is_full, open_sqlite

BUSY_SECONDS = 15.0
# Of pages that each thread keeps, in KiB; what is asked often are a few of them.
_CACHE_KIB = 512
# SQLite keeps text where a number should be, and whoever writes by hand has written it.
_SOUND = (
    "typeof(ended_at) <> 'text' AND typeof(total_ms) <> 'text' AND typeof(ttft_ms) <> 'text' AND typeof(token_ms) <> 'text' "
    "AND typeof(tokens) = 'integer' AND typeof(failed) = 'integer'"
)
_TIMING_COLUMNS = "id, ended_at, model, ttft_ms, token_ms, total_ms, tokens, failed"


@dataclass(frozen=True)
class Timing:
    """The times of one request, kept for a while beside its record so that they can be read without it.

    ``token_ms`` is the mean time between its tokens; ``tokens`` how many it generated; ``failed`` 1 where it ended
    in an error.
    """

    seq: int
    id: str
    ended_at: float
    model: str
    ttft_ms: float | None
    token_ms: float | None
    total_ms: float
    tokens: int
    failed: int


def timing_of(key: str, body: RequestRecord) -> tuple[Any, ...]:
    """The row of a request's times."""
    total = float(body.get("total_ms") or 0.0)
    tokens = int(body.get("completion_tokens") or 0)
    first = body.get("ttft_ms")
    between = (total - first) / (tokens - 1) if first is not None and tokens > 1 else None
    ended = float(body.get("started_at") or time.time()) + total / 1000
    failed = int(body.get("finish_reason") == "error")
    return key, ended, str(body.get("model") or ""), first, between, total, tokens, failed


class EventLog:
    """Append events, and keep the small mutable records of live processes: drafts, jobs, sessions.

    One object may be used from several threads: each gets its own connection (:mod:`.connections`).
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._connections = connections_of(workspace.event_log)

    def append(self, kind: str, key: str, body: Mapping[str, object]) -> bool:
        """Append one event; false where an event with this ``key`` is there already.

        Each event carries the hash of its body, since SQLite does not notice a flipped bit.
        """
        return self.append_many([(kind, key, body)]) == 1

    def append_many(self, events: Sequence[tuple[str, str, Mapping[str, object]]]) -> int:
        """Append events, each as (kind, key, body), in one transaction; returns how many were new."""
        rows = []
        for kind, key, body in events:
            text = json.dumps(body, ensure_ascii=True, sort_keys=True)
            timing = timing_of(key, cast("RequestRecord", body)) if kind == "request" else None
            rows.append(((key, kind, time.time(), text, sha256_text(text)), timing))
        new = 0
        with self.transaction() as connection:
            for row, timing in rows:
                added = connection.execute(
                    "INSERT OR IGNORE INTO events (key, kind, at, body, sha256) VALUES (?, ?, ?, ?, ?)", row
                ).rowcount
                new += added
                if added and timing is not None:
                    connection.execute(
                        f"INSERT INTO timings ({_TIMING_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", timing
                    )
        return new

    def waiting(self) -> int:
        """How many events wait to be ingested into the catalog."""
        return int(self.connection().execute("SELECT count(*) FROM events").fetchone()[0])

    def newest(self) -> int:
        """The number of the newest event: changes whenever something was appended."""
        row = self.connection().execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return 0 if row is None else int(row[0])

    def timings_after(self, seq: int, limit: int = 5000) -> list[Timing]:
        """Requests that ended after the one numbered ``seq``, in that order."""
        rows = self.connection().execute(
            f"SELECT seq, {_TIMING_COLUMNS} FROM timings WHERE seq > ? AND {_SOUND} ORDER BY seq LIMIT ?", (seq, limit)
        )
        return [Timing(*row) for row in rows]

    def timings_between(self, begin: float, end: float, limit: int) -> list[Timing]:
        """Requests under way between two moments, the longest first."""
        rows = self.connection().execute(
            f"SELECT seq, {_TIMING_COLUMNS} FROM timings WHERE ended_at >= ? AND ended_at - total_ms / 1000.0 <= ? AND {_SOUND} "
            "ORDER BY total_ms DESC LIMIT ?",
            (begin, end, limit),
        )
        return [Timing(*row) for row in rows]

    def knows_request(self, key: str) -> bool:
        """Whether a request of just this id ended lately, and was not deleted; the catalog is not asked, which may be busy."""
        row = (
            self.connection()
            .execute(
                "SELECT EXISTS (SELECT 1 FROM events WHERE key = ? AND kind IN ('request', 'taken')) "
                "OR EXISTS (SELECT 1 FROM timings WHERE id = ?)",
                (key, key),
            )
            .fetchone()
        )
        return bool(row[0])

    def key_of_request(self, key: str) -> str | None:
        """What the key was called that a request of this id was asked with; none without one, or where it waits here no more."""
        row = (
            self.connection()
            .execute(
                "SELECT json_extract(body, '$.client.key') FROM events WHERE key = ? AND kind IN ('request', 'taken') "
                "ORDER BY seq DESC LIMIT 1",
                (key,),
            )
            .fetchone()
        )
        return None if row is None or row[0] is None else str(row[0])

    def forget_ids(self, keys: Iterable[str]) -> None:
        """Keep of requests that are deleted only how long they took."""
        with self.transaction() as connection:
            # At once: ids have no index, and one by one each would be looked for in all timings while others wait to write.
            connection.execute(
                "UPDATE timings SET id = '' WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(keys)),)
            )

    def forget_timings(self, before: float, counted: int) -> int:
        """Drop the timings of requests that ended before a moment and were counted, up to the one of that number.

        The requests themselves are in the catalog.
        """
        with self.transaction() as connection:
            return connection.execute("DELETE FROM timings WHERE ended_at < ? AND seq <= ?", (before, counted)).rowcount

    def save_draft(self, key: str, body: Mapping[str, object]) -> None:
        """Keep what is being typed; durable when this returns."""
        text = json.dumps(body, ensure_ascii=True)
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO drafts (key, body, at) VALUES (?, ?, ?)", (key, text, time.time())
            )

    def load_draft(self, key: str) -> dict[str, Any] | None:
        """The draft kept under ``key``, or none."""
        row = self.connection().execute("SELECT body FROM drafts WHERE key = ?", (key,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def remove_draft(self, key: str) -> bool:
        """Forget a draft; whether there was one."""
        with self.transaction() as connection:
            return connection.execute("DELETE FROM drafts WHERE key = ?", (key,)).rowcount > 0

    def draft_keys(self) -> set[str]:
        """The keys of all drafts."""
        return {row[0] for row in self.connection().execute("SELECT key FROM drafts")}

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One immediate write transaction, rolled back on any exception.

        Raises:
            LlmopsError: ``disk_full``, ``workspace_read_only`` or ``journal_failed``.
        """
        self.workspace.refuse_if_read_only()
        connection = self.connection()
        try:
            with counted_write(connection):
                yield connection
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, opened on first use.

        Where the workspace was moved away, deleted or restored meanwhile it is another one: what is written there, nobody
        would find. So it is where it is a copy, and whoever may write there did.
        """
        return self._connections.get(self, self._opened)

    def close(self) -> None:
        """Close this thread's connection, where no other event log object uses it."""
        self._connections.close(self)

    def _opened(self) -> Opened:
        existing(self.workspace)
        known = require(self.workspace, self.workspace.event_log)
        file = OpenedFile(self.workspace.event_log, copied=self.workspace.read_only)
        try:
            connection = _open(self.workspace)
        except sqlite3.Error as error:
            raise self._explain(error) from error
        if not known and not self.workspace.read_only:
            note(self.workspace, self.workspace.event_log)
        file.is_open()
        return Opened(connection, file)

    def _explain(self, error: sqlite3.Error) -> LlmopsError:
        if is_full(error, self.workspace.event_log):
            return LlmopsError(
                "disk_full", f"no space left for {self.workspace.event_log}", "Free some space and try again."
            )
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            return LlmopsError(
                "journal_damaged",
                f"the event log {self.workspace.event_log} is damaged: {error}",
                "Restore a backup (llmops restore FILE); llmops check says what else is wrong.",
            )
        return LlmopsError(
            "journal_failed",
            f"the event log {self.workspace.event_log} refused: {error}",
            "If the folder is on a network file system, move the workspace to a local disk.",
        )


def _open(workspace: Workspace) -> sqlite3.Connection:
    if workspace.read_only:
        connection = copy_to_memory(workspace.event_log)
        _create_tables(connection)
        return connection
    fresh = not workspace.event_log.exists()
    connection = open_sqlite(workspace.event_log, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    workspace.event_log.chmod(0o600)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    # What is deleted is overwritten: requests are content.
    connection.execute("PRAGMA secure_delete = ON")
    # FULL: a commit that was acknowledged outlives a power cut, at a cost that no typist notices.
    connection.execute("PRAGMA synchronous = FULL")
    tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('jobs', 'timings')"
    if fresh or connection.execute(tables).fetchone()[0] < 2:
        _create_tables(connection)
    return connection


def _create_tables(connection: sqlite3.Connection) -> None:
    import sqlite_utils

    connection.execute("BEGIN IMMEDIATE")
    database = sqlite_utils.Database(connection, execute_plugins=False)
    # AUTOINCREMENT: a sequence number is never given twice, which ingesting exactly once rests on.
    connection.execute(
        "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL, "
        "kind TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL, sha256 TEXT NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE IF NOT EXISTS timings (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, "
        "ended_at REAL NOT NULL, model TEXT NOT NULL, ttft_ms REAL, token_ms REAL, total_ms REAL NOT NULL, "
        "tokens INTEGER NOT NULL, failed INTEGER NOT NULL)"
    )
    connection.execute("CREATE INDEX IF NOT EXISTS timings_by_end ON timings (ended_at)")
    connection.execute("CREATE TABLE IF NOT EXISTS identity (journal TEXT PRIMARY KEY)")
    connection.execute(
        "INSERT INTO identity SELECT lower(hex(randomblob(8))) WHERE NOT EXISTS (SELECT 1 FROM identity)"
    )
    database["drafts"].create({"key": str, "body": str, "at": float}, pk="key", if_not_exists=True)
    database["jobs"].create(
        {
            "id": str,
            "kind": str,
            "title": str,
            "spec": str,
            "state": str,
            "cause": str,
            "pid": int,
            "pid_started": float,
            "progress": float,
            "message": str,
            "result": str,
            "created_at": float,
            "started_at": float,
            "finished_at": float,
            "exit_code": int,
            "cancel_requested": int,
            "resumes": str,
        },
        pk="id",
        not_null={"kind", "title", "spec", "state"},
        if_not_exists=True,
    )
    if connection.in_transaction:
        connection.execute("COMMIT")
