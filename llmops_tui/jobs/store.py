"""The records of jobs, kept in the journal, and what a record says about a process that may be gone."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from llmops_tui.errors import NotFoundError
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.workspace.ids import new_id, resolve_prefix
from llmops_tui.workspace.journal import Journal


class JobState(StrEnum):
    """The states of a job; the last five are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    KILLED = "killed"
    LOST = "lost"

    @property
    def final(self) -> bool:
        """Whether a job in this state will never change again."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


# A job that was only just recorded may not have its process yet.
_START_GRACE_SECONDS = 15.0


@dataclass(frozen=True)
class Job:
    """One job as last recorded."""

    id: str
    kind: str
    title: str
    spec: dict[str, Any]
    state: JobState
    cause: str
    process: ProcessIdentity | None
    progress: float
    message: str
    result: dict[str, Any] | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    exit_code: int | None
    resumes: str | None

    def as_dict(self) -> dict[str, Any]:
        """The job as the command line's JSON shows it."""
        return {
            "job": self.id, "kind": self.kind, "title": self.title, "state": self.state.value, "cause": self.cause,
            "pid": self.process.pid if self.process else None, "progress": self.progress, "message": self.message,
            "result": self.result, "created_at": self.created_at, "started_at": self.started_at,
            "finished_at": self.finished_at, "exit_code": self.exit_code, "resumes": self.resumes,
        }  # fmt: skip


class JobStore:
    """Read and write the records of jobs."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def add(self, *, kind: str, title: str, spec: dict[str, Any], resumes: str | None = None) -> Job:
        """Record a new job, queued."""
        job_id = new_id("job")
        with self.journal.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs (id, kind, title, spec, state, cause, progress, message, created_at, cancel_requested,"
                " resumes) VALUES (?, ?, ?, ?, 'queued', '', 0, '', ?, 0, ?)",
                (job_id, kind, title, json.dumps(spec), time.time(), resumes),
            )
        return self.get(job_id)

    def get(self, given: str) -> Job:
        """One job by id or by the beginning of it.

        Raises:
            NotFoundError: there is no such job.
        """
        connection = self.journal.connection()
        job_id = resolve_prefix("job", given, (row[0] for row in connection.execute("SELECT id FROM jobs")))
        cursor = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,))
        row = cursor.fetchone()
        if row is None:
            raise NotFoundError("job", given, "llmops job list shows them.")
        return self._settle(_job(cursor, row))

    def all(self, limit: int = 1000) -> list[Job]:
        """The newest jobs first."""
        cursor = self.journal.connection().execute("SELECT * FROM jobs ORDER BY id DESC LIMIT ?", (limit,))
        return [self._settle(_job(cursor, row)) for row in cursor.fetchall()]

    def update(self, job_id: str, **fields: Any) -> None:
        """Change fields of one record."""
        names = ", ".join(f"{name} = ?" for name in fields)
        with self.journal.transaction() as connection:
            connection.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*fields.values(), job_id))

    def cancel_requested(self, job_id: str) -> bool:
        """Whether somebody asked this job to stop."""
        row = self.journal.connection().execute("SELECT cancel_requested FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return bool(row and row[0])

    def folder(self, job: Job) -> Path:
        """Where the job keeps its logs and its work; a resumed job goes on in the folder of the first."""
        return self.journal.workspace.runs / (job.resumes or job.id)

    def _settle(self, job: Job) -> Job:
        """Notice that a job's process is gone without a word, and record that it is lost."""
        if job.state.final:
            return job
        if job.process is None:
            if time.time() - job.created_at < _START_GRACE_SECONDS:
                return job
            cause = "its process never started"
        elif job.process.alive():
            return job
        else:
            cause = "its process vanished: it was killed, or the machine was restarted"
        with self.journal.transaction() as connection:
            # The process may have written its end between our two looks: only an unfinished record is lost.
            connection.execute(
                "UPDATE jobs SET state = 'lost', cause = ?, finished_at = ? WHERE id = ? AND state IN ('queued', 'running')",
                (cause, time.time(), job.id),
            )
        cursor = self.journal.connection().execute("SELECT * FROM jobs WHERE id = ?", (job.id,))
        return _job(cursor, cursor.fetchone())


def _job(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Job:
    record = dict(zip((column[0] for column in cursor.description), row, strict=True))
    try:
        return _read(record)
    except (ValueError, TypeError) as error:
        # It is shown as what it is, and keeps nobody from seeing the others.
        return Job(
            id=str(record["id"]), kind=str(record["kind"]), title=str(record["title"]), spec={}, state=JobState.LOST,
            cause=f"its record is damaged: {error}", process=None, progress=0.0, message="", result=None, created_at=0.0,
            started_at=None, finished_at=0.0, exit_code=None, resumes=None,
        )  # fmt: skip


def _read(record: dict[str, Any]) -> Job:
    process = None
    if record["pid"] is not None and record["pid_started"] is not None:
        process = ProcessIdentity(int(record["pid"]), float(record["pid_started"]))
    return Job(
        id=record["id"],
        kind=record["kind"],
        title=record["title"],
        spec=dict(json.loads(record["spec"])),
        state=JobState(record["state"]),
        cause=record["cause"] or "",
        process=process,
        progress=float(record["progress"] or 0),
        message=record["message"] or "",
        result=dict(json.loads(record["result"])) if record["result"] else None,
        created_at=float(record["created_at"] or 0),
        started_at=None if record["started_at"] is None else float(record["started_at"]),
        finished_at=None if record["finished_at"] is None else float(record["finished_at"]),
        exit_code=record["exit_code"],
        resumes=record["resumes"],
    )
