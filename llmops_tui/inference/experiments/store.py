"""Experiments in the event log: durable when a call returns, and seen by every process of the workspace."""

from __future__ import annotations

import json
import math
import secrets
import sqlite3
import time
from collections.abc import Mapping
from typing import cast

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.experiments.records import Arm, Counts, Experiment, Kind, Settings, State
from llmops_tui.workspace.audit import add_entry
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.ids import new_id

BEGAN, STOPPED, ROLLED_BACK = "experiment.began", "experiment.stopped", "experiment.rolled_back"
"""Kinds of entries of the audit."""
_EXPERIMENTS = (
    "CREATE TABLE IF NOT EXISTS experiments (id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, "
    "settings TEXT NOT NULL, salt TEXT NOT NULL, state TEXT NOT NULL, why TEXT NOT NULL, started_at REAL NOT NULL, "
    "ended_at REAL)"
)
_ASSIGNMENTS = (
    "CREATE TABLE IF NOT EXISTS assignments (experiment TEXT NOT NULL, unit TEXT NOT NULL, arm TEXT NOT NULL, "
    "at REAL NOT NULL, failed_at REAL, PRIMARY KEY (experiment, unit))"
)
_UNASSIGNED = "CREATE TABLE IF NOT EXISTS unassigned (experiment TEXT PRIMARY KEY, requests INTEGER NOT NULL)"
_TABLES = (_EXPERIMENTS, _ASSIGNMENTS, _UNASSIGNED)
_COLUMNS = "id, name, kind, settings, salt, state, why, started_at, ended_at"


class ExperimentStore:
    """The experiments of a workspace, which unit has which arm, and whose conversations failed."""

    def __init__(self, event_log: EventLog) -> None:
        self.event_log = event_log

    # ── experiments ──

    def start(
        self, name: str, kind: Kind, settings: Settings, hashes: Mapping[Arm, str | None] | None = None
    ) -> Experiment:
        """Begin an experiment on the requests for ``name``; the caller knows that its models are there.

        ``hashes`` are those of what answers for each arm, for the audit: a model's file, or a prompt's version.

        Raises:
            InputRefusedError: ``experiment_running``: there is one on this name already.
        """
        made = Experiment(new_id("exp"), name, kind, settings, secrets.token_hex(16), "running", "", time.time(), None)
        with self.event_log.transaction() as connection:
            _create(connection)
            taken = connection.execute(
                "SELECT id, state FROM experiments WHERE lower(name) = lower(?) AND state <> 'stopped'", (name,)
            ).fetchone()
            if taken is not None:
                told = f"{name!r} has the experiment {taken[0]}, which is {taken[1]}"
                raise InputRefusedError("experiment_running", told, f"llmops experiment stop {taken[0]} ends it.")
            connection.execute(
                f"INSERT INTO experiments ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (made.id, name, kind, json.dumps(settings), made.salt, made.state, "", made.started_at, None),
            )
            facts: dict[str, str | None] = {"kind": kind, "settings": sha256_text(json.dumps(settings, sort_keys=True))}
            facts |= {str(arm): answers for arm, answers in (hashes or {}).items()}
            add_entry(connection, BEGAN, made.id, facts)
        return made

    def all(self) -> list[Experiment]:
        """All experiments, the newest first."""
        return self._found("SELECT {} FROM experiments ORDER BY started_at DESC, id DESC")

    def in_force(self) -> list[Experiment]:
        """Those that say who answers: running, or rolled back to A."""
        return self._found("SELECT {} FROM experiments WHERE state <> 'stopped'")

    def get(self, asked: str) -> Experiment:
        """The experiment of an id, or the newest on a name.

        Raises:
            NotFoundError: there is none.
        """
        for one in self.all():
            if asked in {one.id, one.name}:
                return one
        raise NotFoundError("experiment", asked, "llmops experiment list shows them.")

    def stop(self, experiment: str, why: str) -> None:
        """End an experiment, whatever its state: its name means again what it meant."""
        with self.event_log.transaction() as connection:
            _create(connection)
            changed = connection.execute(
                "UPDATE experiments SET state = 'stopped', ended_at = coalesce(ended_at, ?), "
                "why = CASE why WHEN '' THEN ? ELSE why END WHERE id = ? AND state <> 'stopped'",
                (time.time(), why, experiment),
            ).rowcount
            if changed:
                add_entry(connection, STOPPED, experiment, {})

    # ── conversations ──

    def assign(self, experiment: str, unit: str, arm: Arm) -> Arm:
        """Keep which arm a unit has, before it is sent there; returns the one that was kept first."""
        with self.event_log.transaction() as connection:
            _create(connection)
            connection.execute(
                "INSERT OR IGNORE INTO assignments (experiment, unit, arm, at) VALUES (?, ?, ?, ?)",
                (experiment, unit, arm, time.time()),
            )
            (kept,) = connection.execute(
                "SELECT arm FROM assignments WHERE experiment = ? AND unit = ?", (experiment, unit)
            ).fetchone()
        return cast("Arm", kept)

    def count_without(self, experiment: str) -> None:
        """Count a request that says nothing by which it could be assigned."""
        with self.event_log.transaction() as connection:
            _create(connection)
            connection.execute(
                "INSERT INTO unassigned VALUES (?, 1) ON CONFLICT (experiment) DO UPDATE SET requests = requests + 1",
                (experiment,),
            )

    def fail(self, experiment: Experiment, unit: str, arm: Arm = "b") -> str:
        """Keep that a unit's conversation failed, and roll an experiment back whose B fails more than it may.

        Of a unit that was assigned to the other arm nothing is kept: a shadow that fails is no failure of A's.

        Returns why it was rolled back just now, else nothing. Both are in one transaction: whoever is killed between them
        has done neither.
        """
        with self.event_log.transaction() as connection:
            _create(connection)
            connection.execute(
                "UPDATE assignments SET failed_at = ? WHERE experiment = ? AND unit = ? AND arm = ? AND failed_at IS NULL",
                (time.time(), experiment.id, unit, arm),
            )
            why = _too_many(_counts(connection, experiment.id)["b"], experiment.settings)
            if not why:
                return ""
            changed = connection.execute(
                "UPDATE experiments SET state = 'rolled back', ended_at = ?, why = ? WHERE id = ? AND state = 'running'",
                (time.time(), why, experiment.id),
            ).rowcount
            if changed:
                add_entry(connection, ROLLED_BACK, experiment.id, {})
        return why if changed else ""

    def counts(self, experiment: str) -> dict[Arm, Counts]:
        """Conversations by arm."""
        connection = self.event_log.connection()
        return _counts(connection, experiment) if _there(connection) else {"a": Counts(), "b": Counts()}

    def without(self, experiment: str) -> int:
        """How many requests said nothing by which they could be assigned."""
        connection = self.event_log.connection()
        asked = "SELECT requests FROM unassigned WHERE experiment = ?"
        row = connection.execute(asked, (experiment,)).fetchone() if _there(connection) else None
        return int(row[0]) if row is not None else 0

    def course(self, experiment: str, arm: Arm) -> list[tuple[float, float | None]]:
        """When each conversation of an arm began and first failed, in the order in which they began."""
        connection = self.event_log.connection()
        if not _there(connection):
            return []
        asked = "SELECT at, failed_at FROM assignments WHERE experiment = ? AND arm = ? ORDER BY at"
        return [(float(at), failed) for at, failed in connection.execute(asked, (experiment, arm))]

    def _found(self, query: str) -> list[Experiment]:
        connection = self.event_log.connection()
        if not _there(connection):
            return []
        return [_experiment(row) for row in connection.execute(query.format(_COLUMNS)).fetchall()]


def _too_many(found: Counts, settings: Settings) -> str:
    """Why B must not go on, or nothing."""
    budget = settings["budget"]
    if budget is None:
        return ""
    # With numpy, which a server of models needs for nothing else.
    from llmops_tui.decisions.canaries import failure_evidence

    evidence = float(failure_evidence(found.conversations, found.failed, budget))
    if evidence < -math.log(settings["alpha"]):
        return ""
    return (
        f"{found.failed} of {found.conversations} conversations failed with {settings['b']}, "
        f"and {budget * 100:.3g} % of them may: "
        f"evidence {math.exp(min(evidence, 700)):.3g} of {1 / settings['alpha']:.3g}"
    )


def _counts(connection: sqlite3.Connection, experiment: str) -> dict[Arm, Counts]:
    found: dict[Arm, Counts] = {"a": Counts(), "b": Counts()}
    asked = "SELECT arm, count(*), count(failed_at) FROM assignments WHERE experiment = ? GROUP BY arm"
    for arm, conversations, failed in connection.execute(asked, (experiment,)):
        found[cast("Arm", arm)] = Counts(int(conversations), int(failed))
    return found


def _create(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(table)


def _there(connection: sqlite3.Connection) -> bool:
    """Whether anything was ever kept here: workspaces of earlier releases have no such tables."""
    asked = "SELECT count(*) FROM sqlite_master WHERE name IN ('experiments', 'assignments', 'unassigned')"
    return int(connection.execute(asked).fetchone()[0]) == len(_TABLES)


def _experiment(row: tuple[str, str, str, str, str, str, str, float, float | None]) -> Experiment:
    key, name, kind, settings, salt, state, why, started, ended = row
    return Experiment(
        key, name, cast("Kind", kind), json.loads(settings), salt, cast("State", state), why, started, ended
    )
