"""Ingest: moves finished events from the event log to the catalog, exactly once even after a crash.

The catalog remembers, in the same transaction as the rows, how far the event log was read. A crash before that commit
changes nothing; a crash after it, before the event log forgets the rows, is made good by the next ingest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.bulk import insert_rows, whole_characters
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_text, write_atomic
from llmops_tui.workspace.free_pages import give_back
from llmops_tui.workspace.lineage import record_many
from llmops_tui.workspace.notices import write_notice

if TYPE_CHECKING:
    import sqlite3

    import duckdb

# Well under a second with the catalog locked. Each transaction also writes the catalog's last rows anew, so that small ones
# cost more than what is in them.
_BATCH = 10_000
# Characters of events that are read and inserted at once, so that large ones need no more memory than small ones.
_BATCH_LENGTH = 16_000_000

_REQUEST_COLUMNS = {
    "id": "VARCHAR", "started_at": "DOUBLE", "model": "VARCHAR", "model_sha256": "VARCHAR", "prompt": "VARCHAR",
    "prompt_version": "INTEGER", "variables": "JSON", "messages": "JSON", "parameters": "JSON", "output": "VARCHAR",
    "finish_reason": "VARCHAR", "error": "VARCHAR", "prompt_tokens": "INTEGER", "completion_tokens": "INTEGER",
    "reused_tokens": "INTEGER", "ttft_ms": "DOUBLE", "total_ms": "DOUBLE", "tokens_per_s": "DOUBLE",
    "engine": "VARCHAR", "content": "VARCHAR", "client": "JSON", "thinking": "VARCHAR", "reasoning_tokens": "INTEGER",
}  # fmt: skip
# Those that the body has, and whether they hold JSON.
_BODY_COLUMNS = [(name, kind == "JSON") for name, kind in _REQUEST_COLUMNS.items() if name != "id"]
_FEEDBACK_COLUMNS = {
    "id": "VARCHAR", "request": "VARCHAR", "score": "INTEGER", "correction": "VARCHAR", "comment": "VARCHAR",
    "verdict": "VARCHAR", "source": "VARCHAR", "said_at": "DOUBLE",
}  # fmt: skip

# The key of an event and its body.
Event = tuple[str, dict[str, Any]]


def ingest(catalog: Catalog, event_log: EventLog) -> int:
    """Fold all events into the catalog; returns how many were taken.

    An event that was damaged, or that the catalog will not have, is left out with a notice: it must not keep all that
    come after it from being folded.
    """
    if catalog.workspace.read_only:
        # They stay in the event log; whoever may write takes them.
        return 0
    taken = 0
    while count := _ingest_batch(catalog, event_log, _BATCH):
        taken += count
    give_back(event_log)
    return taken


def _ingest_batch(catalog: Catalog, event_log: EventLog, most: int) -> int:
    connection = event_log.connection()
    rows = _next_rows(connection, most)
    if not rows:
        return 0
    event_log_id = str(connection.execute("SELECT journal FROM identity").fetchone()[0])
    last = int(rows[-1][0])
    # Read before the catalog is locked for others; none of what was damaged.
    read = [
        (seq, key, kind, json.loads(body) if sha256_text(body) == digest else None)
        for seq, key, kind, body, digest in rows
        if kind in _INSERTS
    ]

    def work(db: duckdb.DuckDBPyConnection) -> None:
        found = db.execute("SELECT last_seq FROM folded WHERE journal = ?", [event_log_id]).fetchone()
        done = int(found[0]) if found else 0
        fresh: dict[str, list[Event]] = {kind: [] for kind in _INSERTS}
        for seq, key, kind, body in read:
            if seq > done and body is not None:
                fresh[kind].append((key, body))
            elif seq > done:
                write_notice(
                    catalog.workspace, f"The event log's entry {key} was damaged on disk and could not be kept."
                )
        for kind, events in fresh.items():
            _INSERTS[kind](db, events)
        _mark(db, event_log_id, last)

    try:
        catalog.write(work)
    except LlmopsError as error:
        if not _is_too_much(error.__cause__) and not _is_of_the_data(error.__cause__):
            raise
        if len(rows) > 1:
            return _ingest_batch(catalog, event_log, len(rows) // 2)
        _quarantine(catalog, event_log_id, rows[0], str(error))
        catalog.write(lambda db: _mark(db, event_log_id, last))
    with event_log.transaction() as transaction:
        transaction.execute("DELETE FROM events WHERE seq <= ?", (last,))
    return len(rows)


def _next_rows(connection: sqlite3.Connection, most: int) -> list[tuple[Any, ...]]:
    """The oldest events, at most so many and so long, but one at least."""
    rows: list[tuple[Any, ...]] = []
    length = 0
    for row in connection.execute("SELECT seq, key, kind, body, sha256 FROM events ORDER BY seq LIMIT ?", (most,)):
        length += len(row[3])
        if rows and length > _BATCH_LENGTH:
            break
        rows.append(row)
    return rows


def _mark(db: duckdb.DuckDBPyConnection, event_log_id: str, last: int) -> None:
    # Another process may have ingested further meanwhile.
    db.execute(
        "INSERT INTO folded VALUES (?, ?) ON CONFLICT (journal) DO UPDATE SET last_seq = greatest(last_seq, excluded.last_seq)",
        [event_log_id, last],
    )


def _is_too_much(error: BaseException | None) -> bool:
    import duckdb

    return isinstance(error, duckdb.OutOfMemoryException)


def _is_of_the_data(error: BaseException | None) -> bool:
    import duckdb

    return isinstance(error, duckdb.DataError | duckdb.IntegrityError | duckdb.InvalidInputException)


def _quarantine(catalog: Catalog, event_log_id: str, row: tuple[Any, ...], why: str) -> None:
    seq, key, _, body, _ = row
    path = catalog.workspace.logs / f"refused-{event_log_id}-{seq}.json"
    write_atomic(path, body)
    write_notice(catalog.workspace, f"The event log's entry {key} is quarantined as logs/{path.name}: {why}")


def _insert_requests(db: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    insert_rows(db, "requests", _REQUEST_COLUMNS, (_request_row(key, body) for key, body in events), once=True)
    names = sorted({body["prompt"] for _, body in events if body.get("prompt")})
    versions = {
        (prompt, number): sha256
        for prompt, number, sha256 in db.execute(
            "SELECT prompt, number, sha256 FROM prompt_versions WHERE prompt IN (SELECT unnest(?::VARCHAR[]))", [names]
        ).fetchall()
    }
    edges = []
    for key, body in events:
        recipe = sha256_text(json.dumps(body.get("parameters"), sort_keys=True))
        prompt = versions.get((body.get("prompt"), body.get("prompt_version")))
        inputs = (body.get("model_sha256"), body.get("adapter_sha256"), prompt)
        edges += [(key, "run", recipe, str(source)) for source in inputs if source]
    record_many(db, edges)


def _request_row(key: str, body: Mapping[str, object]) -> list[Any]:
    return [key, *(_json(body.get(name)) if is_json else body.get(name) for name, is_json in _BODY_COLUMNS)]


def _json(value: Any) -> str:
    """ASCII, which the search in stored messages goes by; DuckDB refuses an escape of half a character."""
    if value is None:
        return "null"
    text = json.dumps(value)
    if "\\ud" in text:
        text = json.dumps(json.loads(whole_characters(json.dumps(value, ensure_ascii=False))))
    return text


def _insert_feedback(db: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    names = list(_FEEDBACK_COLUMNS)[1:]
    rows = ([key, *(body.get(name) for name in names)] for key, body in events)
    insert_rows(db, "feedback", _FEEDBACK_COLUMNS, rows, once=True)


_INSERTS: dict[str, Callable[[duckdb.DuckDBPyConnection, Sequence[Event]], None]] = {
    "request": _insert_requests,
    # As a request, but of another application: it says nothing of how quick this machine is.
    "taken": _insert_requests,
    "feedback": _insert_feedback,
}
