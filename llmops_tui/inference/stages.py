"""Stages: which model answers for a label of a prompt, and by which rules the label moves."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from llmops_tui.workspace.audit import add_entry, entries
from llmops_tui.workspace.audit_reasons import keep_reason, reasons_of
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_text

SET, REMOVED = "stage.set", "stage.removed"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS stages (prompt TEXT NOT NULL, label TEXT NOT NULL, model TEXT NOT NULL, "
    "suites TEXT NOT NULL, rules TEXT NOT NULL, changed_at REAL NOT NULL, PRIMARY KEY (prompt, label))"
)


def _policy_hash(suites: list[str], rules: list[str]) -> str:
    return sha256_text(json.dumps([suites, rules]))


_NO_POLICY = _policy_hash([], [])


class StageRecord(TypedDict):
    """A stage as JSON."""

    prompt: str
    label: str
    model: str
    suites: list[str]
    rules: list[str]
    changed_at: float


@dataclass(frozen=True)
class Stage:
    """A label of a prompt as a stage of its deployment.

    ``model`` is the served name that answers, empty where the only one does. The label moves to a version for which the
    newest run of each of ``suites`` keeps that suite's rules, and ``rules`` beside them.
    """

    prompt: str
    label: str
    model: str = ""
    suites: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    changed_at: float = 0.0

    @property
    def ref(self) -> str:
        """How it is named: ``support@production``."""
        return f"{self.prompt}@{self.label}"

    def as_record(self) -> StageRecord:
        """For JSON."""
        return {
            "prompt": self.prompt,
            "label": self.label,
            "model": self.model,
            "suites": list(self.suites),
            "rules": list(self.rules),
            "changed_at": self.changed_at,
        }


@dataclass(frozen=True)
class StageSubject:
    """What the audit calls a stage by: the id of the prompt's first version; and the hashes of the model's files.

    ``alias`` is what the audit calls the alias that the stage names, which may stand for another model later, and
    ``own_adapter`` the hash of an adapter that the stage names beside it.
    """

    prompt_id: str
    model_sha256: str | None = None
    adapter_sha256: str | None = None
    alias: str | None = None
    own_adapter: str | None = None


class StageChangeRecord(TypedDict):
    """A change of a stage as JSON; ``model`` is none where the only one answers, ``audit`` the number of its entry."""

    at: float
    kind: str
    model: str | None
    policy_changed: bool
    by: str
    reason: str
    audit: int


@dataclass(frozen=True)
class StageChange:
    """A label was made a stage, changed as one, or made a label alone again: by whom and why, as the audit has it."""

    at: float
    kind: str
    model: str | None
    policy_changed: bool
    by: str
    reason: str
    audit: int

    def as_record(self) -> StageChangeRecord:
        """For JSON."""
        return {
            "at": self.at,
            "kind": self.kind,
            "model": self.model,
            "policy_changed": self.policy_changed,
            "by": self.by,
            "reason": self.reason,
            "audit": self.audit,
        }


def stage_changes(event_log: EventLog, prompt_id: str, label: str, names: Mapping[str, str]) -> list[StageChange]:
    """The changes of a stage, the oldest first; ``names`` are those of models by their hash."""
    reasons, policy, found = reasons_of(event_log), _NO_POLICY, list[StageChange]()
    for one in entries(event_log.connection()):
        if one.kind not in {SET, REMOVED} or one.subject != prompt_id or one.facts.get("label") != label_hash(label):
            continue
        before, policy = policy, str(one.facts.get("policy") or _NO_POLICY)
        parts = [str(one.facts[key]) for key in ("model", "adapter") if one.facts.get(key)]
        model = "+".join(names.get(part, part[:12]) for part in parts) or None
        reason = reasons.get(one.seq, "")
        found.append(StageChange(one.at, one.kind, model, policy != before, one.by, reason, one.seq))
    return found


class StageStore:
    """The stages of a workspace, in the event log: durable when a call returns, and in the audit in the same transaction."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def set(self, stage: Stage, subject: StageSubject, reason: str = "") -> Stage:
        """Keep a stage in place of the one that there was."""
        with self._event_log.transaction() as connection:
            return keep_stage(connection, stage, subject, reason)

    def remove(self, stage: Stage, subject: StageSubject, reason: str = "") -> None:
        """Forget a stage: its label stays, moves freely, and is answered by the only model."""
        with self._event_log.transaction() as connection:
            connection.execute(_TABLE)
            connection.execute("DELETE FROM stages WHERE prompt = ? AND label = ?", (stage.prompt, stage.label))
            told = sha256_text(reason)[:16] if reason else None
            _note(connection, REMOVED, subject, {"label": label_hash(stage.label), "reason": told}, reason)

    def all(self, prompt: str = "") -> list[Stage]:
        """The stages of one prompt, or of all, by name."""
        connection = self._event_log.connection()
        if not _there(connection):
            return []
        rows = connection.execute("SELECT * FROM stages WHERE ? IN ('', prompt) ORDER BY prompt, label", (prompt,))
        return [Stage(p, l, m, tuple(json.loads(s)), tuple(json.loads(r)), at) for p, l, m, s, r, at in rows]  # noqa: E741

    def get(self, prompt: str, label: str) -> Stage | None:
        """A label's stage, where it is one."""
        return next((stage for stage in self.all(prompt) if stage.label == label), None)


def keep_stage(connection: sqlite3.Connection, stage: Stage, subject: StageSubject, reason: str = "") -> Stage:
    """As :meth:`StageStore.set`, within the transaction of what else has to be there with it or not at all."""
    made = Stage(stage.prompt, stage.label, stage.model, stage.suites, stage.rules, time.time())
    told = made.as_record()
    connection.execute(_TABLE)
    connection.execute(
        "INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?, ?, ?)",
        (made.prompt, made.label, made.model, json.dumps(told["suites"]), json.dumps(told["rules"]), made.changed_at),
    )
    facts = {
        "label": label_hash(made.label),
        "model": subject.model_sha256,
        "adapter": subject.adapter_sha256,
        "policy": _policy_hash(told["suites"], told["rules"]),
        "alias": subject.alias,
        "own_adapter": subject.own_adapter,
        "reason": sha256_text(reason)[:16] if reason else None,
    }
    _note(connection, SET, subject, facts, reason)
    return made


def _note(
    connection: sqlite3.Connection, kind: str, subject: StageSubject, facts: dict[str, str | None], reason: str
) -> None:
    entry = add_entry(connection, kind, subject.prompt_id, facts)
    if reason:
        keep_reason(connection, entry.seq, reason)


def rename_prompt(connection: sqlite3.Connection, name: str, new_name: str) -> None:
    """Have the stages of a prompt follow it to its new name."""
    if _there(connection):
        connection.execute("UPDATE stages SET prompt = ? WHERE prompt = ?", (new_name, name))


def forget_prompt(event_log: EventLog, name: str) -> None:
    """Forget the stages of a prompt that is removed."""
    if _there(event_log.connection()):
        with event_log.transaction() as connection:
            connection.execute("DELETE FROM stages WHERE prompt = ?", (name,))


def label_hash(label: str) -> str:
    """What the audit calls a label."""
    return sha256_text(label)[:16]


def _there(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'stages'").fetchone())
