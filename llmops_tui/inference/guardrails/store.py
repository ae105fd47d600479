"""Guard sets and heads in the event log: immutable versions, which is in force for which model, and the audit of that."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import TypedDict

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.guardrails.guard_file import Guard, GuardSet, kept_guard_set
from llmops_tui.inference.guardrails.head import HeadModel
from llmops_tui.workspace.audit import add_entry
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_text

USED, UNUSED = "guards.used", "guards.unused"
"""Kinds of entries of the audit."""
EVERY = ""
"""Stands for all models."""
_SETS = (
    "CREATE TABLE IF NOT EXISTS guard_sets (name TEXT NOT NULL, number INTEGER NOT NULL, sha256 TEXT NOT NULL, "
    "body TEXT NOT NULL, created_at REAL NOT NULL, PRIMARY KEY (name, number))"
)
_IN_FORCE = (
    "CREATE TABLE IF NOT EXISTS guards_in_force (model TEXT PRIMARY KEY, name TEXT NOT NULL, number INTEGER NOT NULL, "
    "since REAL NOT NULL)"
)
_HEADS = (
    "CREATE TABLE IF NOT EXISTS guard_heads (name TEXT PRIMARY KEY, body TEXT NOT NULL, report TEXT NOT NULL, "
    "made_at REAL NOT NULL)"
)
_TABLES = (_SETS, _IN_FORCE, _HEADS)


class GuardSetRecord(TypedDict):
    """A version of a guard set, as JSON."""

    set: str
    version: int
    sha256: str
    created_at: float
    guards: list[str]
    on: list[str]


class InForceRecord(TypedDict):
    """Which version of a set is in force for a model; an empty one stands for all that have none of their own."""

    model: str
    set: str
    version: int
    sha256: str
    since: float


class DamagedRecord(TypedDict):
    """A version that cannot be read, and what it is in force for: models, an empty one for all."""

    set: str
    version: int
    why: str
    used_for: list[str]


@dataclass(frozen=True)
class GuardVersion:
    """One version of a guard set."""

    guards: GuardSet
    number: int
    created_at: float

    @property
    def ref(self) -> str:
        """How it is named: ``shop@3``."""
        return f"{self.guards.name}@{self.number}"

    def as_record(self) -> GuardSetRecord:
        """For JSON."""
        return {
            "set": self.guards.name,
            "version": self.number,
            "sha256": self.guards.sha256,
            "created_at": self.created_at,
            "guards": [one.name for one in self.guards.guards],
            "on": [one.name for one in self.guards.guards if one.mode == "on"],
        }


@dataclass(frozen=True)
class GuardsInForce:
    """A version that is in force for a model."""

    model: str
    version: GuardVersion
    since: float

    def as_record(self) -> InForceRecord:
        """For JSON."""
        return {
            "model": self.model,
            "set": self.version.guards.name,
            "version": self.version.number,
            "sha256": self.version.guards.sha256,
            "since": self.since,
        }


class GuardStore:
    """The guard sets of a workspace."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def save(self, guards: GuardSet) -> tuple[GuardVersion, bool]:
        """Keep a set as a version; returns it, and whether it is new. What is there already is that version."""
        with self._event_log.transaction() as connection:
            _create(connection)
            same = connection.execute(
                "SELECT number FROM guard_sets WHERE name = ? AND sha256 = ?", (guards.name, guards.sha256)
            ).fetchone()
            if same is None:
                (last,) = connection.execute(
                    "SELECT coalesce(max(number), 0) FROM guard_sets WHERE name = ?", (guards.name,)
                ).fetchone()
                row = (guards.name, last + 1, guards.sha256, guards.as_json(), time.time())
                connection.execute("INSERT INTO guard_sets VALUES (?, ?, ?, ?, ?)", row)
        number = int(same[0]) if same is not None else int(last) + 1
        return self.get(f"{guards.name}@{number}"), same is None

    def all(self) -> list[GuardVersion]:
        """All versions that can be read, by name, the newest first; the others are :meth:`damaged`."""
        return [one for one in self._read() if isinstance(one, GuardVersion)]

    def damaged(self) -> list[DamagedRecord]:
        """The versions that cannot be read, with why, and the models that they are in force for, which answer nobody."""
        return [one for one in self._read() if not isinstance(one, GuardVersion)]

    def _read(self) -> list[GuardVersion | DamagedRecord]:
        connection = self._event_log.connection()
        if not _there(connection):
            return []
        used: dict[tuple[str, int], list[str]] = {}
        for model, name, number in connection.execute("SELECT model, name, number FROM guards_in_force ORDER BY model"):
            used.setdefault((name, number), []).append(model)
        found: list[GuardVersion | DamagedRecord] = []
        rows = connection.execute("SELECT name, number, body, created_at FROM guard_sets ORDER BY name, number DESC")
        for row in rows.fetchall():
            try:
                found.append(_version(*row))
            except InputRefusedError as error:
                name, number = str(row[0]), int(row[1])
                found.append(
                    {"set": name, "version": number, "why": error.message, "used_for": used.get((name, number), [])}
                )
        return found

    def get(self, ref: str) -> GuardVersion:
        """A version, as ``name@number``; a name stands for its newest.

        Raises:
            NotFoundError: there is none.
            InputRefusedError: ``bad_guards``: it is damaged.
        """
        name, _, number = ref.partition("@")
        asked = "SELECT name, number, body, created_at FROM guard_sets WHERE name = ? ORDER BY number DESC"
        connection = self._event_log.connection()
        for row in connection.execute(asked, (name,)) if _there(connection) else ():
            if number in {"", str(row[1])}:
                return _version(*row)
        raise NotFoundError("guard set", ref, "llmops guard list shows them.")

    def with_hash(self, sha256: str) -> GuardVersion | None:
        """The version of this hash, as the audit names them; none where it is not there, or is damaged."""
        connection = self._event_log.connection()
        asked = "SELECT name, number, body, created_at FROM guard_sets WHERE sha256 = ?"
        row = connection.execute(asked, (sha256,)).fetchone() if _there(connection) else None
        try:
            return None if row is None else _version(*row)
        except InputRefusedError:
            return None

    # ── in force ──

    def use(self, version: GuardVersion, model: str = EVERY) -> None:
        """Have a version look at the requests of a model, or of all that have none of their own."""
        with self._event_log.transaction() as connection:
            _create(connection)
            row = (model, version.guards.name, version.number, time.time())
            connection.execute("INSERT OR REPLACE INTO guards_in_force VALUES (?, ?, ?, ?)", row)
            facts = {"model": sha256_text(model)[:16] if model else None, "version": version.number}
            add_entry(connection, USED, version.guards.sha256, facts)

    def stop(self, model: str = EVERY) -> InForceRecord:
        """Have none look at the requests of a model any more, or at those of all that have none of their own.

        What did is told; it may be damaged.

        Raises:
            NotFoundError: none did.
        """
        asked = (
            "SELECT f.name, f.number, s.sha256, f.since FROM guards_in_force f "
            "JOIN guard_sets s ON s.name = f.name AND s.number = f.number WHERE f.model = ?"
        )
        connection = self._event_log.connection()
        row = connection.execute(asked, (model,)).fetchone() if _there(connection) else None
        if row is None:
            raise NotFoundError("guard set in force for", model or "all models", "llmops guard list shows them.")
        name, number, sha256, since = row
        with self._event_log.transaction() as connection:
            connection.execute("DELETE FROM guards_in_force WHERE model = ?", (model,))
            facts = {"model": sha256_text(model)[:16] if model else None, "version": number}
            add_entry(connection, UNUSED, sha256, facts)
        return {"model": model, "set": name, "version": number, "sha256": sha256, "since": since}

    def in_force(self) -> list[GuardsInForce]:
        """What is in force and can be read, that for all models first."""
        connection = self._event_log.connection()
        if not _there(connection):
            return []
        rows = connection.execute("SELECT model, name, number, since FROM guards_in_force ORDER BY model").fetchall()
        known = {(one.guards.name, one.number): one for one in self.all()}
        return [
            GuardsInForce(model, known[name, number], since)
            for model, name, number, since in rows
            if (name, number) in known
        ]

    def ref_for(self, model: str) -> tuple[str, float]:
        """Which version looks at the requests of a model, empty for none; and when a head was last trained."""
        connection = self._event_log.connection()
        if not _there(connection):
            return "", 0.0
        asked = "SELECT name, number FROM guards_in_force WHERE model IN (?, ?) ORDER BY model DESC LIMIT 1"
        row = connection.execute(asked, (model, EVERY)).fetchone()
        (trained,) = connection.execute("SELECT coalesce(max(made_at), 0) FROM guard_heads").fetchone()
        return (f"{row[0]}@{row[1]}" if row is not None else ""), float(trained)

    def for_model(self, model: str) -> GuardVersion | None:
        """The version that looks at the requests of a model."""
        ref, _ = self.ref_for(model)
        return self.get(ref) if ref else None

    def switch(self, version: GuardVersion, guard: str, mode: str) -> GuardVersion:
        """A version in which one guard is switched on, or back into the shadow.

        Raises:
            NotFoundError: the set has no such guard.
            InputRefusedError: ``bad_mode``.
        """
        if mode not in {"on", "shadow"}:
            raise InputRefusedError("bad_mode", f"{mode[:40]!r} is neither on nor shadow")
        if guard not in {one.name for one in version.guards.guards}:
            raise NotFoundError(
                "guard", guard, f"{version.ref} has: {', '.join(g.name for g in version.guards.guards)}."
            )
        changed: list[Guard] = [
            one.model_copy(update={"mode": mode}) if one.name == guard else one for one in version.guards.guards
        ]
        made, _ = self.save(GuardSet(name=version.guards.name, guards=tuple(changed)))
        for one in self.in_force():
            if one.version.ref == version.ref:
                self.use(made, one.model)
        return made

    # ── heads ──

    def save_head(self, name: str, head: HeadModel, report: dict[str, object]) -> None:
        """Keep a head under a name, with what was measured of it; a head of that name is replaced."""
        with self._event_log.transaction() as connection:
            _create(connection)
            row = (name, json.dumps(head.as_record()), json.dumps(report), time.time())
            connection.execute("INSERT OR REPLACE INTO guard_heads VALUES (?, ?, ?, ?)", row)
            add_entry(connection, "guards.head", sha256_text(row[1]), {"name": sha256_text(name)[:16]})

    def head(self, name: str) -> HeadModel:
        """The head of a name.

        Raises:
            NotFoundError: there is none.
            InputRefusedError: ``bad_head``: it is damaged.
        """
        connection = self._event_log.connection()
        asked = "SELECT body FROM guard_heads WHERE name = ?"
        row = connection.execute(asked, (name,)).fetchone() if _there(connection) else None
        if row is None:
            raise NotFoundError("head", name, "llmops guard train makes one.")
        return HeadModel.from_json(row[0])

    def heads(self) -> dict[str, dict[str, object]]:
        """What was measured of each head, by name."""
        connection = self._event_log.connection()
        if not _there(connection):
            return {}
        return {name: json.loads(report) for name, report in connection.execute("SELECT name, report FROM guard_heads")}


def _version(name: str, number: int, body: str, created_at: float) -> GuardVersion:
    return GuardVersion(kept_guard_set(body, f"{name}@{number}"), int(number), float(created_at))


def _create(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(table)


def _there(connection: sqlite3.Connection) -> bool:
    asked = "SELECT count(*) FROM sqlite_master WHERE name IN ('guard_sets', 'guards_in_force', 'guard_heads')"
    return int(connection.execute(asked).fetchone()[0]) == len(_TABLES)
