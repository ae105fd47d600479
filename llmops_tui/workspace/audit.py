"""The audit: who changed what others rely on, in the event log, each entry holding the hash of the one before.

It names things by ids and hashes alone, so that nothing in it has to be forgotten. A changed entry no longer has its hash,
and one that is taken out breaks the chain behind it. Whoever rewrites all of it to the end is found by the anchors that
backups keep: the number and hash of the entry that was the newest then.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_text

RESTORED = "workspace.restored"
"""The kind of the entry that a backup was put in the place of a workspace, of which no server ran any more."""
Fact = str | int | float | bool | None
RESTORED = "workspace.restored"
"""The kind of the entry that a restore leaves: whatever ran when the backup was made had ended by then."""
_TABLE = (
    "CREATE TABLE audit (seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, "
    "facts TEXT NOT NULL, by TEXT NOT NULL, previous TEXT NOT NULL, sha256 TEXT NOT NULL)"
)
# A slip is stopped here; whoever means to change it drops these first, and is found by the chain.
_KEPT = tuple(
    f"CREATE TRIGGER audit_keeps_{what} BEFORE {what} ON audit BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END"
    for what in ("UPDATE", "DELETE")
)
_COLUMNS = "seq, at, kind, subject, facts, by, previous, sha256"


class AnchorRecord(TypedDict):
    """The newest entry at some moment."""

    seq: int
    sha256: str


@dataclass(frozen=True)
class AuditEntry:
    """One act: ``kind`` such as ``key.created``, the id or hash that it was done to, its facts, and the user's number."""

    seq: int
    at: float
    kind: str
    subject: str
    facts: Mapping[str, Fact]
    by: str
    previous: str
    sha256: str

    def digest(self) -> str:
        """What its hash has to be."""
        told = [self.seq, self.at, self.kind, self.subject, dict(self.facts), self.by, self.previous]
        return sha256_text(json.dumps(told, sort_keys=True))


def add_entry(connection: sqlite3.Connection, kind: str, subject: str, facts: Mapping[str, Fact]) -> AuditEntry:
    """Add an entry within the transaction of what it tells of: both are there, or neither."""
    if not has_audit(connection):
        for statement in (_TABLE, *_KEPT):
            connection.execute(statement)
    last = connection.execute("SELECT seq, sha256 FROM audit ORDER BY seq DESC LIMIT 1").fetchone() or (0, "")
    bare = AuditEntry(last[0] + 1, time.time(), kind, subject, facts, f"uid {os.getuid()}", last[1], "")
    entry = AuditEntry(bare.seq, bare.at, bare.kind, bare.subject, bare.facts, bare.by, bare.previous, bare.digest())
    connection.execute(
        f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry.seq, entry.at, entry.kind, entry.subject, json.dumps(dict(entry.facts), sort_keys=True), entry.by,
            entry.previous, entry.sha256,
        ),
    )  # fmt: skip
    return entry


def audit(event_log: EventLog, kind: str, subject: str, **facts: Fact) -> AuditEntry:
    """Add an entry in a transaction of its own.

    Raises:
        LlmopsError: it cannot be written.
    """
    with event_log.transaction() as connection:
        return add_entry(connection, kind, subject, facts)


def has_audit(connection: sqlite3.Connection) -> bool:
    """Whether there is one; it begins with its first entry."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'audit'").fetchone())


def entries(connection: sqlite3.Connection, since: float = 0.0, until: float = float("inf")) -> Iterator[AuditEntry]:
    """The entries between two moments, the oldest first."""
    if not has_audit(connection):
        return
    rows = connection.execute(f"SELECT {_COLUMNS} FROM audit WHERE at >= ? AND at <= ? ORDER BY seq", (since, until))
    for seq, at, kind, subject, facts, by, previous, sha256 in rows:
        try:
            told = json.loads(facts)
        except ValueError:
            told = {"": facts}
        yield AuditEntry(seq, at, kind, subject, told if isinstance(told, dict) else {"": facts}, by, previous, sha256)


def anchor(connection: sqlite3.Connection) -> AnchorRecord | None:
    """The newest entry; none without any."""
    if not has_audit(connection):
        return None
    row = connection.execute("SELECT seq, sha256 FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return None if row is None else {"seq": int(row[0]), "sha256": str(row[1])}


def problems(connection: sqlite3.Connection, anchors: Mapping[str, AnchorRecord]) -> list[str]:
    """What is wrong with the chain, in words; ``anchors`` are those of backups, by their names."""
    found: list[str] = []
    hashes: dict[int, str] = {}
    previous, number = "", 0
    for entry in entries(connection):
        number += 1
        if entry.seq != number:
            found.append(f"entries {number} to {entry.seq - 1} are missing")
            number = entry.seq
        if entry.digest() != entry.sha256:
            found.append(f"entry {entry.seq} was changed: it does not have its hash")
        if entry.previous != previous:
            found.append(f"entry {entry.seq} does not follow the one before it")
        previous = hashes[entry.seq] = entry.sha256
    for name, kept in anchors.items():
        if kept["seq"] not in hashes:
            found.append(
                f"entry {kept['seq']}, which {name} knows, is missing: the end was cut off, or an older state restored"
            )
        elif hashes[kept["seq"]] != kept["sha256"]:
            found.append(
                f"entry {kept['seq']} is another one than {name} knows: the audit was rewritten, or an older state gone on with"
            )
    return found
