"""The room of events that were ingested, given back to the disk.

SQLite keeps the pages of deleted rows for later ones. After a hundred thousand events these are most of the journal, and who
writes a word of it has all of them hashed, backed up and copied.
"""

from __future__ import annotations

import contextlib
import sqlite3

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.checksums import maintenance_lock
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.locks import locked

# So many free pages of 4 KiB are as much as a day's events at most take: less than these is used again soon.
MANY = 4096


def give_back(event_log: EventLog) -> bool:
    """Write the journal anew without its free pages, where these are many and most of it; whether it was done.

    It is put off where another process records checksums or backs up, or is at work in the journal.
    """
    if event_log.workspace.read_only:
        return False
    connection = event_log.connection()
    free, pages = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("freelist_count", "page_count"))
    if free < MANY or free < pages // 2 or connection.in_transaction:
        return False
    with locked(maintenance_lock(event_log.workspace)) as alone, contextlib.suppress(sqlite3.Error, LlmopsError):
        if alone:
            # VACUUM counts no write. Nobody records a checksum between the two, so one that is other pages has another count.
            with event_log.transaction():
                pass
            connection.execute("VACUUM")
            return True
    return False
