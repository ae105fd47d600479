"""The ways in which the campaign spoils a file, and what a command may not change whatever it meets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb

# What another program's file says, to which a link may lead.
FOREIGN = "not of this workspace\n"
Spoil = Callable[[Path], None]


def gone(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flipped(path: Path) -> None:
    """A byte in sixteen places."""
    raw = bytearray(path.read_bytes())
    for place in range(0, len(raw), max(1, len(raw) // 16)):
        raw[place] ^= 0xFF
    path.write_bytes(raw)


def replaced(path: Path) -> None:
    """Another file of the same length, as a program writes that puts its file in the place of ours."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x01
    beside = path.with_name("beside")
    beside.write_bytes(raw)
    beside.chmod(0o600)
    beside.replace(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def foreign_link(path: Path) -> None:
    """A link to a file of another program, which must not be written through it."""
    path.unlink()
    path.symlink_to(foreign(path))


def foreign(path: Path) -> Path:
    """The other program's file for :func:`foreign_link`, above the workspace."""
    root = next(above for above in path.parents if above.name == "ws")
    return root.parent / "foreign" / "notes.txt"


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def unreadable(path: Path) -> None:
    path.chmod(0)


SPOILING: tuple[Spoil, ...] = (
    gone, empty, halved, flipped, replaced, folder, broken_link, foreign_link, fifo, unreadable,
)  # fmt: skip
# Locks, what is written anew by each command, and what SQLite and DuckDB keep beside a file that is open.
_LIVE = ("seals.json", "workspace.json", ".lock", ".held", "-wal", "-shm", ".wal", "logs/notices.jsonl")


def contents(root: Path, but: str) -> dict[str, str]:
    """What a look must not change: the bytes of each file, of a database its rows; not the one that was spoilt."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name == but or name.endswith(_LIVE) or path.is_symlink() or not path.is_file():
            continue
        if name in {"journal.db", "history.db", "answers.db"}:
            found[name] = _rows_of_sqlite(path)
        elif name == "workspace.duckdb":
            found[name] = _rows_of_catalog(path)
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _rows_of_sqlite(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


def _rows_of_catalog(path: Path) -> str:
    """All tables; when a model was last verified is noted by a look."""
    with contextlib.closing(duckdb.connect(str(path), read_only=True)) as connection:
        digest = hashlib.sha256()
        tables = [row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()]
        for table in tables:
            but = "EXCLUDE (verified_at)" if table == "models" else ""
            rows = connection.execute(f'SELECT * {but} FROM "{table}" ORDER BY ALL').fetchall()
            digest.update(repr((table, rows)).encode())
        return digest.hexdigest()
