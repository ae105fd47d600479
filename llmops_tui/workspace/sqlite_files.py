"""What all SQLite files of a workspace share: a counter of writes in their header, by which a seal knows its moment."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

# Where SQLite keeps ``user_version``: four bytes, the highest first. https://www.sqlite.org/fileformat.html#user_version_number
COUNTER = slice(60, 64)
_LARGEST = 2**31


@contextlib.contextmanager
def counted_write(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One immediate write transaction, which counts itself; rolled back on any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        number = int(connection.execute("PRAGMA user_version").fetchone()[0])
        connection.execute(f"PRAGMA user_version = {(number + 1) % _LARGEST}")
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
