"""Why entries of the audit were made, in the words of whoever made them, beside the audit, which holds no words."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_tui.workspace.event_log import EventLog

_TABLE = "CREATE TABLE IF NOT EXISTS label_reasons (seq INTEGER PRIMARY KEY, reason TEXT NOT NULL)"


def keep_reason(connection: sqlite3.Connection, seq: int, reason: str) -> None:
    """Keep the reason of an entry, by its number, within the entry's own transaction."""
    connection.execute(_TABLE)
    connection.execute("INSERT INTO label_reasons VALUES (?, ?)", (seq, reason))


def reasons_of(event_log: EventLog) -> dict[int, str]:
    """The reasons that are kept, by the number of the audit's entry."""
    connection = event_log.connection()
    return dict(connection.execute("SELECT seq, reason FROM label_reasons")) if _there(connection) else {}


def _there(connection: sqlite3.Connection) -> bool:
    asked = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'label_reasons'"
    return bool(connection.execute(asked).fetchone())
