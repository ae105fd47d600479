"""Move what is finished from the journal into the book, exactly once whatever dies in between.

The book remembers, in the same transaction as the rows, how far the journal was read. A crash before that commit
changes nothing; a crash after it, before the journal forgets the rows, is made good by the next folding.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmops_tui.workspace.catalogue import Catalogue, write_notice
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.journal import Journal
from llmops_tui.workspace.lineage import record_edges

if TYPE_CHECKING:
    import duckdb

_BATCH = 500

_REQUEST_COLUMNS = (
    "id", "started_at", "model", "model_sha256", "prompt", "prompt_version", "variables", "messages", "parameters",
    "output", "finish_reason", "error", "prompt_tokens", "completion_tokens", "reused_tokens", "ttft_ms", "total_ms",
    "tokens_per_s", "engine", "content",
)  # fmt: skip
_JSON_COLUMNS = {"variables", "messages", "parameters"}


def fold(catalogue: Catalogue, journal: Journal) -> int:
    """Fold all events into the book; returns how many were taken."""
    taken = 0
    while count := _fold_batch(catalogue, journal):
        taken += count
    return taken


def _fold_batch(catalogue: Catalogue, journal: Journal) -> int:
    connection = journal.connection()
    rows = connection.execute(
        "SELECT seq, key, kind, body, sha256 FROM events ORDER BY seq LIMIT ?", (_BATCH,)
    ).fetchall()
    if not rows:
        return 0
    journal_id = str(connection.execute("SELECT journal FROM identity").fetchone()[0])
    last = int(rows[-1][0])

    def work(book: duckdb.DuckDBPyConnection) -> None:
        found = book.execute("SELECT last_seq FROM folded WHERE journal = ?", [journal_id]).fetchone()
        done = int(found[0]) if found else 0
        for seq, key, kind, body, digest in rows:
            if seq > done and kind in _INSERTS and _intact(catalogue, key, body, digest):
                _INSERTS[kind](book, key, json.loads(body))
        book.execute("INSERT OR REPLACE INTO folded VALUES (?, ?)", [journal_id, max(last, done)])

    catalogue.write(work)
    with journal.transaction() as transaction:
        transaction.execute("DELETE FROM events WHERE seq <= ?", (last,))
    return len(rows)


def _intact(catalogue: Catalogue, key: str, body: str, digest: str) -> bool:
    if sha256_text(body) == digest:
        return True
    write_notice(catalogue.workspace, f"The journal's entry {key} was damaged on disk and could not be kept.")
    return False


def _insert_request(book: duckdb.DuckDBPyConnection, key: str, body: dict[str, Any]) -> None:
    values = [json.dumps(body.get(name)) if name in _JSON_COLUMNS else body.get(name) for name in _REQUEST_COLUMNS[1:]]
    marks = ", ".join("?" for _ in _REQUEST_COLUMNS)
    book.execute(f"INSERT OR IGNORE INTO requests ({', '.join(_REQUEST_COLUMNS)}) VALUES ({marks})", [key, *values])
    inputs = [body[name] for name in ("model_sha256", "adapter_sha256") if body.get(name)]
    if body.get("prompt") and body.get("prompt_version"):
        found = book.execute(
            "SELECT sha256 FROM prompt_versions WHERE prompt = ? AND number = ?",
            [body["prompt"], body["prompt_version"]],
        ).fetchone()
        inputs += [found[0]] if found else []
    recipe = sha256_text(json.dumps(body.get("parameters"), sort_keys=True))
    record_edges(book, output=key, kind="run", recipe=recipe, inputs=inputs)


_FEEDBACK_COLUMNS = ("id", "request", "score", "correction", "comment", "verdict", "source", "said_at")


def _insert_feedback(book: duckdb.DuckDBPyConnection, key: str, body: dict[str, Any]) -> None:
    marks = ", ".join("?" for _ in _FEEDBACK_COLUMNS)
    book.execute(
        f"INSERT OR IGNORE INTO feedback ({', '.join(_FEEDBACK_COLUMNS)}) VALUES ({marks})",
        [key, *(body.get(name) for name in _FEEDBACK_COLUMNS[1:])],
    )


_INSERTS = {"request": _insert_request, "feedback": _insert_feedback}
