"""The schema of the history database, its additions, and the alert rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.rules import kept_rule
from llmops_tui.workspace.known_folders import may_write_in
from llmops_tui.workspace.sqlite_files import copy_to_memory, counted_write, open_sqlite

ALERT_COLUMNS = "rule, series, raised_at, worst, cleared_at, id, note, ended, lasted"
# The column may not be empty, which is older than alerts without a value: text stands for none there.
NO_WORST = "none"
_TABLES = {
    "chunks": (
        "series TEXT NOT NULL, grain INTEGER NOT NULL, place INTEGER NOT NULL, body BLOB NOT NULL, "
        "PRIMARY KEY (series, grain, place)"
    ),
    "minutes": "minute INTEGER NOT NULL, model TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (minute, model)",
    "cursors": "journal TEXT PRIMARY KEY, seq INTEGER NOT NULL",
    "alerts": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, series TEXT NOT NULL, raised_at REAL NOT NULL, "
        "cleared_at REAL, worst REAL NOT NULL"
    ),
    "known": "kind TEXT PRIMARY KEY, value TEXT NOT NULL",
    "changes": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL, told TEXT NOT NULL, who TEXT NOT NULL"
    ),
}
_WITHOUT_ROWID = {"chunks", "minutes"}
# What came to alerts after the first version of their table.
_ADDED = {"note": "TEXT NOT NULL DEFAULT ''", "ended": "TEXT NOT NULL DEFAULT ''", "lasted": "REAL"}


def open_file(path: Path) -> sqlite3.Connection:
    """The file, made or brought to today's form where it is not; a copy in memory where nothing may be written.

    Raises:
        sqlite3.Error: it is no such file, or its disk is full.
    """
    if not path.parent.is_dir():
        # An empty one in memory would say that nothing was measured, and lose what is.
        raise sqlite3.DatabaseError("its folder does not exist any more")
    if not may_write_in(path.parent):
        connection = copy_to_memory(path)
    else:
        connection = open_sqlite(path, timeout=10.0, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL: a power cut may take the last seconds with it, and never harms what is older.
    connection.execute("PRAGMA synchronous = NORMAL")
    if _missing(connection):
        # Counted as a write, or the file would be taken for one that was damaged.
        with counted_write(connection):
            # Another process may have done it meanwhile.
            for statement in _missing(connection):
                connection.execute(statement)
    return connection


def _missing(connection: sqlite3.Connection) -> list[str]:
    """What makes today's form of what there is."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    columns = {row[1] for row in connection.execute("PRAGMA table_info(alerts)")}
    made = [
        f"CREATE TABLE {name} ({body})" + (" WITHOUT ROWID" if name in _WITHOUT_ROWID else "")
        for name, body in _TABLES.items()
        if name not in tables
    ]
    return made + [
        f"ALTER TABLE alerts ADD COLUMN {name} {kind}" for name, kind in _ADDED.items() if name not in columns
    ]


def alert_of(row: Sequence[Any]) -> Alert:
    """An alert as :data:`ALERT_COLUMNS` have it."""
    rule, series, raised_at, worst, *rest = row
    return Alert(kept_rule(rule, series), series, raised_at, None if worst == NO_WORST else worst, *rest)
