"""Move what is finished from the journal into the book, exactly once whatever dies in between.

The book remembers, in the same transaction as the rows, how far the journal was read. A crash before that commit
changes nothing; a crash after it, before the journal forgets the rows, is made good by the next folding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.bulk import insert_rows, whole_characters
from llmops_tui.workspace.catalogue import Catalogue
from llmops_tui.workspace.files import sha256_text, write_atomic
from llmops_tui.workspace.journal import Journal
from llmops_tui.workspace.lineage import record_many
from llmops_tui.workspace.notices import write_notice

if TYPE_CHECKING:
    import sqlite3

    import duckdb

# A few megabytes of text, and well under a second with the book locked.
_BATCH = 2000
# Characters of events that are read and inserted at once, so that large ones need no more memory than small ones.
_BATCH_LENGTH = 16_000_000

_REQUEST_COLUMNS = {
    "id": "VARCHAR", "started_at": "DOUBLE", "model": "VARCHAR", "model_sha256": "VARCHAR", "prompt": "VARCHAR",
    "prompt_version": "INTEGER", "variables": "JSON", "messages": "JSON", "parameters": "JSON", "output": "VARCHAR",
    "finish_reason": "VARCHAR", "error": "VARCHAR", "prompt_tokens": "INTEGER", "completion_tokens": "INTEGER",
    "reused_tokens": "INTEGER", "ttft_ms": "DOUBLE", "total_ms": "DOUBLE", "tokens_per_s": "DOUBLE",
    "engine": "VARCHAR", "content": "VARCHAR", "client": "JSON",
}  # fmt: skip
_FEEDBACK_COLUMNS = {
    "id": "VARCHAR", "request": "VARCHAR", "score": "INTEGER", "correction": "VARCHAR", "comment": "VARCHAR",
    "verdict": "VARCHAR", "source": "VARCHAR", "said_at": "DOUBLE",
}  # fmt: skip

# The key of an event and its body.
Event = tuple[str, dict[str, Any]]


def fold(catalogue: Catalogue, journal: Journal) -> int:
    """Fold all events into the book; returns how many were taken.

    An event that was damaged, or that the book will not have, is left out with a notice: it must not keep all that
    come after it from being folded.
    """
    if catalogue.workspace.read_only:
        # They stay in the journal; whoever may write takes them.
        return 0
    taken = 0
    while count := _fold_batch(catalogue, journal, _BATCH):
        taken += count
    return taken


def _fold_batch(catalogue: Catalogue, journal: Journal, most: int) -> int:
    connection = journal.connection()
    rows = _next_rows(connection, most)
    if not rows:
        return 0
    journal_id = str(connection.execute("SELECT journal FROM identity").fetchone()[0])
    last = int(rows[-1][0])

    def work(book: duckdb.DuckDBPyConnection) -> None:
        found = book.execute("SELECT last_seq FROM folded WHERE journal = ?", [journal_id]).fetchone()
        done = int(found[0]) if found else 0
        fresh: dict[str, list[Event]] = {kind: [] for kind in _INSERTS}
        for seq, key, kind, body, digest in rows:
            if seq > done and kind in fresh and _intact(catalogue, key, body, digest):
                fresh[kind].append((key, json.loads(body)))
        for kind, events in fresh.items():
            _INSERTS[kind](book, events)
        _mark(book, journal_id, last)

    try:
        catalogue.write(work)
    except LlmopsError as error:
        if not _is_too_much(error.__cause__) and not _is_of_the_data(error.__cause__):
            raise
        if len(rows) > 1:
            return _fold_batch(catalogue, journal, len(rows) // 2)
        _set_aside(catalogue, journal_id, rows[0], str(error))
        catalogue.write(lambda book: _mark(book, journal_id, last))
    with journal.transaction() as transaction:
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


def _mark(book: duckdb.DuckDBPyConnection, journal_id: str, last: int) -> None:
    # Another process may have folded further meanwhile.
    book.execute(
        "INSERT INTO folded VALUES (?, ?) ON CONFLICT (journal) DO UPDATE SET last_seq = greatest(last_seq, excluded.last_seq)",
        [journal_id, last],
    )


def _intact(catalogue: Catalogue, key: str, body: str, digest: str) -> bool:
    if sha256_text(body) == digest:
        return True
    write_notice(catalogue.workspace, f"The journal's entry {key} was damaged on disk and could not be kept.")
    return False


def _is_too_much(error: BaseException | None) -> bool:
    import duckdb

    return isinstance(error, duckdb.OutOfMemoryException)


def _is_of_the_data(error: BaseException | None) -> bool:
    import duckdb

    return isinstance(error, duckdb.DataError | duckdb.IntegrityError | duckdb.InvalidInputException)


def _set_aside(catalogue: Catalogue, journal_id: str, row: tuple[Any, ...], why: str) -> None:
    seq, key, _, body, _ = row
    path = catalogue.workspace.logs / f"refused-{journal_id}-{seq}.json"
    write_atomic(path, body)
    write_notice(catalogue.workspace, f"The journal's entry {key} is set aside as logs/{path.name}: {why}")


def _insert_requests(book: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    insert_rows(book, "requests", _REQUEST_COLUMNS, (_request_row(key, body) for key, body in events), once=True)
    names = sorted({body["prompt"] for _, body in events if body.get("prompt")})
    versions = {
        (prompt, number): sha256
        for prompt, number, sha256 in book.execute(
            "SELECT prompt, number, sha256 FROM prompt_versions WHERE list_contains(?::VARCHAR[], prompt)", [names]
        ).fetchall()
    }
    edges = []
    for key, body in events:
        recipe = sha256_text(json.dumps(body.get("parameters"), sort_keys=True))
        prompt = versions.get((body.get("prompt"), body.get("prompt_version")))
        inputs = (body.get("model_sha256"), body.get("adapter_sha256"), prompt)
        edges += [(key, "run", recipe, str(source)) for source in inputs if source]
    record_many(book, edges)


def _request_row(key: str, body: Mapping[str, object]) -> list[Any]:
    return [key] + [
        _json(body.get(name)) if kind == "JSON" else body.get(name) for name, kind in list(_REQUEST_COLUMNS.items())[1:]
    ]


def _json(value: Any) -> str:
    """ASCII, which the search in stored messages goes by; DuckDB refuses an escape of half a character."""
    text = json.dumps(value)
    if "\\ud" in text:
        text = json.dumps(json.loads(whole_characters(json.dumps(value, ensure_ascii=False))))
    return text


def _insert_feedback(book: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    names = list(_FEEDBACK_COLUMNS)[1:]
    rows = ([key, *(body.get(name) for name in names)] for key, body in events)
    insert_rows(book, "feedback", _FEEDBACK_COLUMNS, rows, once=True)


_INSERTS: dict[str, Callable[[duckdb.DuckDBPyConnection, Sequence[Event]], None]] = {
    "request": _insert_requests,
    "feedback": _insert_feedback,
}
