"""Changes of aliases, each with its entry of the audit: in the end both are there or neither, whenever a process is killed.

The aliases are in the catalog, the audit is in the event log, and no transaction spans both. So what is meant is noted in the
event log first. Then, while nobody else may write there, the alias is changed and the entry added. Who was killed in between
left what was meant: the next one who looks holds it against the catalog, where an alias carries the moment of its change, and
adds the entry or drops what never happened.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.audit import AuditEntry, Fact, add_entry
from llmops_tui.workspace.audit_reasons import keep_reason

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog

_TABLE = (
    "CREATE TABLE IF NOT EXISTS alias_acts (alias TEXT PRIMARY KEY, moved_at REAL NOT NULL, removes INTEGER NOT NULL, "
    "kind TEXT NOT NULL, subject TEXT NOT NULL, facts TEXT NOT NULL, reason TEXT NOT NULL)"
)
_COLUMNS = "alias, moved_at, removes, kind, subject, facts, reason"


@dataclass(frozen=True)
class Act:
    """What the audit is to say of a change, in hashes, and why it was made."""

    kind: str
    subject: str
    facts: Mapping[str, Fact]
    reason: str = ""


@dataclass(frozen=True)
class _Meant:
    """A change that was begun; ``moved_at`` is the moment that the alias carries from then on."""

    alias: str
    moved_at: float
    removes: bool
    act: Act


def change_alias(
    catalog: Catalog,
    event_log: EventLog,
    alias: str,
    model: str | None,
    plan: Callable[[duckdb.DuckDBPyConnection], Act],
) -> AuditEntry:
    """Let an alias stand for a model, or for none any more, and add the entry.

    ``plan`` refuses what cannot be, and says what the audit is to tell of it; it only reads. It is asked twice: before anything
    is noted, and when the alias is changed, since somebody else may have been there in between.

    Raises:
        LlmopsError: the plan refused it; a database cannot be written. Nothing is changed then.
    """

    def carry_out(db: duckdb.DuckDBPyConnection, meant: Sequence[_Meant]) -> None:
        if model is None:
            _forget(db, meant)
        for one in meant if model is not None else ():
            db.execute("INSERT OR REPLACE INTO model_aliases VALUES (?, ?, ?)", [one.alias, model, one.moved_at])

    (entry,) = _change(catalog, event_log, lambda db: {alias: plan(db)}, carry_out, removes=model is None)
    return entry


def remove_aliases(
    catalog: Catalog,
    event_log: EventLog,
    plan: Callable[[duckdb.DuckDBPyConnection], Mapping[str, Act]],
    also: Callable[[duckdb.DuckDBPyConnection], object],
) -> list[AuditEntry]:
    """Let aliases stand for nothing any more, with what else goes with them, and add an entry for each; all of it or nothing.

    ``plan`` says which they are, and what the audit is to tell of each; ``also`` changes the catalog in the same transaction.

    Raises:
        LlmopsError: a database cannot be written. Nothing is changed then.
    """

    def carry_out(db: duckdb.DuckDBPyConnection, meant: Sequence[_Meant]) -> None:
        _forget(db, meant)
        also(db)

    return _change(catalog, event_log, plan, carry_out, removes=True)


def _change(
    catalog: Catalog,
    event_log: EventLog,
    plan: Callable[[duckdb.DuckDBPyConnection], Mapping[str, Act]],
    carry_out: Callable[[duckdb.DuckDBPyConnection, Sequence[_Meant]], None],
    *,
    removes: bool,
) -> list[AuditEntry]:
    while True:
        with event_log.transaction() as connection:
            _settle(connection, catalog)
            at = time.time()
            meant = [_Meant(alias, at, removes, act) for alias, act in catalog.read(plan).items()]
            for one in meant:
                _note(connection, one)
        try:
            with event_log.transaction() as connection:
                noted = _all(connection)
                # Whoever looked in between took this for the rest of a process that was killed: again.
                if all(one in noted for one in meant) and catalog.write(partial(_carried_out, meant, plan, carry_out)):
                    return [_complete(connection, one) for one in meant]
        except BaseException:
            # Where not even that can be done, the next one who looks does it.
            with contextlib.suppress(LlmopsError):
                settle_aliases(catalog, event_log)
            raise


def settle_aliases(catalog: Catalog, event_log: EventLog) -> None:
    """Add the entries of changes whose process was killed before it could, where the workspace may be written."""
    if not event_log.workspace.read_only and _all(event_log.connection()):
        with event_log.transaction() as connection:
            _settle(connection, catalog)


def _settle(connection: sqlite3.Connection, catalog: Catalog) -> None:
    for meant in _all(connection):
        if catalog.read(partial(_was_done, meant)):
            _complete(connection, meant)
        else:
            _drop(connection, meant.alias)


def _was_done(meant: _Meant, db: duckdb.DuckDBPyConnection) -> bool:
    row = db.execute("SELECT created_at FROM model_aliases WHERE alias = ?", [meant.alias]).fetchone()
    return row is None if meant.removes else row is not None and float(row[0]) == meant.moved_at


def _carried_out(
    meant: Sequence[_Meant],
    plan: Callable[[duckdb.DuckDBPyConnection], Mapping[str, Act]],
    carry_out: Callable[[duckdb.DuckDBPyConnection, Sequence[_Meant]], None],
    db: duckdb.DuckDBPyConnection,
) -> bool:
    if plan(db) != {one.alias: one.act for one in meant}:
        return False
    carry_out(db, meant)
    return True


def _forget(db: duckdb.DuckDBPyConnection, meant: Sequence[_Meant]) -> None:
    for one in meant:
        db.execute("DELETE FROM model_aliases WHERE alias = ?", [one.alias])


def _complete(connection: sqlite3.Connection, meant: _Meant) -> AuditEntry:
    act = meant.act
    entry = add_entry(connection, act.kind, act.subject, {**act.facts, "moved_at": meant.moved_at})
    if act.reason:
        keep_reason(connection, entry.seq, act.reason)
    _drop(connection, meant.alias)
    return entry


def _note(connection: sqlite3.Connection, meant: _Meant) -> None:
    act = meant.act
    connection.execute(_TABLE)
    connection.execute(
        f"INSERT INTO alias_acts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            meant.alias, meant.moved_at, int(meant.removes), act.kind, act.subject,
            json.dumps(dict(act.facts), sort_keys=True), act.reason,
        ),
    )  # fmt: skip


def _drop(connection: sqlite3.Connection, alias: str) -> None:
    connection.execute("DELETE FROM alias_acts WHERE alias = ?", (alias,))


def _all(connection: sqlite3.Connection) -> list[_Meant]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alias_acts'").fetchone():
        return []
    return [
        _Meant(alias, moved_at, bool(removes), Act(kind, subject, json.loads(facts), reason))
        for alias, moved_at, removes, kind, subject, facts, reason in connection.execute(
            f"SELECT {_COLUMNS} FROM alias_acts ORDER BY moved_at"
        )
    ]
