"""Rows of the SQLite files that name a person: the event log, what was measured, the cached answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.inference.asking.cache import FILE as ANSWERS
from llmops_tui.maintenance.forgetting.change import Change, is_json
from llmops_tui.privacy.person import Person
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.sandbox import quote_name
from llmops_tui.workspace.sqlite_files import counted_write, open_sqlite

_SECONDS = 30.0
# Of these the row goes: a cached answer is asked again, and a draft is found by its key.
_GOING = {"answers"}
_NAMED = {
    ("journal.db", "events"): "requests that wait for the catalog",
    ("journal.db", "drafts"): "drafts and open texts of the app",
    ("journal.db", "jobs"): "records of jobs",
    ("journal.db", "timings"): "times of requests",
    ("journal.db", "access_keys"): "names and owners of access keys",
    ("answers.db", "answers"): "cached answers",
}


@dataclass(frozen=True)
class SqliteRow:
    """A row that names a person: how it is found, and its texts by column."""

    table: str
    key: tuple[str, ...]
    at: tuple[object, ...]
    texts: dict[str, str]


def sqlite_files(workspace: Workspace) -> list[Path]:
    """The SQLite files of a workspace that are there."""
    names = (workspace.event_log.name, workspace.history.name, ANSWERS)
    return [path for name in names if (path := workspace.root / name).is_file() and not path.is_symlink()]


def place_of(path: Path, table: str) -> str:
    """What the rows of a table are called."""
    return _NAMED.get((path.name, table), f"{path.name}, table {table}")


def fate_of(table: str) -> str:
    """What is done to its rows."""
    return "removed" if table in _GOING else "redacted"


def named_rows(path: Path, person: Person) -> Iterator[SqliteRow]:
    """The rows of a file that name a person; other tables of later releases are searched, too."""
    connection = open_sqlite(path, timeout=_SECONDS, isolation_level=None)
    try:
        yield from _named(connection, person)
    finally:
        connection.close()


def _named(connection: sqlite3.Connection, person: Person) -> Iterator[SqliteRow]:
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        if table.startswith("sqlite_"):
            continue
        info = connection.execute(f"PRAGMA table_info({quote_name(table)})").fetchall()
        # A table without row ids has a primary key.
        key = tuple(row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]) or ("rowid",)
        columns = [row[1] for row in info]
        chosen = ", ".join(map(quote_name, (*key, *columns)))
        for row in connection.execute(f"SELECT {chosen} FROM {quote_name(table)}"):
            texts = {name: _text(value) for name, value in zip(columns, row[len(key) :], strict=True)}
            said = {name: text for name, text in texts.items() if text and person.named_in(text)}
            if said:
                yield SqliteRow(table, key, row[: len(key)], said)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def erase_rows(path: Path, change: Change) -> int:
    """Remove or change the rows that name the person, in one transaction; returns how many.

    Their bytes are in the file's pages until it is written anew.
    """
    connection = open_sqlite(path, timeout=_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA secure_delete = ON")
        with counted_write(connection):
            rows = list(_named(connection, change.person))
            for row in rows:
                _erase(connection, row, change)
        return len(rows)
    finally:
        connection.close()


def _erase(connection: sqlite3.Connection, row: SqliteRow, change: Change) -> None:
    where = " AND ".join(f"{quote_name(name)} = ?" for name in row.key)
    table = quote_name(row.table)
    if row.table in _GOING or any(name in row.texts for name in row.key) or row.table == "timings":
        connection.execute(f"DELETE FROM {table} WHERE {where}", row.at)
        return
    fresh = {name: change.json_text(text) if is_json(text) else change.text(text) for name, text in row.texts.items()}
    if row.table == "events" and "body" in fresh:
        fresh["sha256"] = sha256_text(fresh["body"])
    sets = ", ".join(f"{quote_name(name)} = ?" for name in fresh)
    update = f"UPDATE {table} SET {sets} WHERE {where}"
    try:
        connection.execute(update, (*fresh.values(), *row.at))
    except sqlite3.IntegrityError:
        # Names that no two may have, such as those of access keys, and the same mark in both.
        apart = (text if is_json(text) else f"{text} {row.at[0]}" for text in fresh.values())
        connection.execute(update, (*apart, *row.at))
