"""The records of jobs in the event log, and the state of a job whose process may be gone."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from llmops_tui.errors import LlmopsError, NotFoundError
from llmops_tui.jobs.entries import JobRecord, JobSpec
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import make_folder_within
from llmops_tui.workspace.ids import new_id, resolve_prefix
from llmops_tui.workspace.layout import within
from llmops_tui.workspace.locks import is_held, locked


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


_INSERT = (
    "INSERT INTO jobs (id, kind, title, spec, state, cause, progress, message, created_at, cancel_requested, resumes)"
    " VALUES (?, ?, ?, ?, 'queued', '', 0, '', ?, 0, ?)"
)
# What a folder's jobs are found by: a resumed one goes on in the folder of the first.
_FOLDER = "coalesce(resumes, id)"
# Longer than a catalog may be waited for, by whoever removes something.
_DOOR_SECONDS = 15.0
NEVER_BEGAN = "the process that started it ended before the job began"
_VANISHED = "its process disappeared: it was killed, or the machine was restarted"


@dataclass(frozen=True)
class Job:
    """One job as last recorded."""

    id: str
    kind: str
    title: str
    spec: JobSpec
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
    # Somebody asked it to stop; whether it did its state says.
    stop_asked: bool = False

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop and has not done so yet."""
        return self.stop_asked and not self.state.final

    @property
    def word(self) -> str:
        """Its state as people read it: a training run that somebody ended is stopped, as it goes on from its checkpoint."""
        return "stopped" if self.kind == "train" and self.state == JobState.CANCELLED else self.state.value

    def as_dict(self) -> JobRecord:
        """The job as the command line's JSON shows it."""
        return {
            "job": self.id,
            "kind": self.kind,
            "title": self.title,
            "state": self.state.value,
            "cause": self.cause,
            "pid": self.process.pid if self.process else None,
            "progress": self.progress,
            "message": self.message,
            "result": self.result,
            "created_at": self.created_at,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "exit_code": self.exit_code,
            "resumes": self.resumes,
        }


class JobStore:
    """Read and write the records of jobs."""

    def __init__(self, event_log: EventLog) -> None:
        self.event_log = event_log

    def add(self, *, kind: str, title: str, spec: JobSpec, job_id: str | None = None) -> Job:
        """Record a new job, queued; ``job_id`` where it has one already."""
        job_id = job_id or new_id("job")
        with self.event_log.transaction() as connection:
            connection.execute(_INSERT, (job_id, kind, title, json.dumps(spec), time.time(), None))
        return self._recorded(job_id)

    def add_resumed(self, old: Job) -> Job:
        """Record a job that goes on with an ended one's work. Only for whoever holds the lock of its folder.

        What was seen to be lost there is recorded as that, in the same transaction: one job of a folder is at work.

        Raises:
            NotFoundError: the old one was removed meanwhile.
        """
        job_id, folder = new_id("job"), old.resumes or old.id
        with self.event_log.transaction() as connection:
            if connection.execute("SELECT 1 FROM jobs WHERE id = ?", (old.id,)).fetchone() is None:
                raise NotFoundError("job", old.id, "It was removed.")
            connection.execute(
                f"UPDATE jobs SET cause = CASE pid IS NULL WHEN 1 THEN ? ELSE ? END, state = 'lost', finished_at = ?"
                f" WHERE {_FOLDER} = ? AND state IN ('queued', 'running')",
                (NEVER_BEGAN, _VANISHED, self._last_written(folder) or old.created_at, folder),
            )
            connection.execute(_INSERT, (job_id, old.kind, old.title, json.dumps(old.spec), time.time(), folder))
        return self._recorded(job_id)

    def get(self, given: str) -> Job:
        """One job by id or by the beginning of it.

        Raises:
            NotFoundError: there is no such job.
        """
        connection = self.event_log.connection()
        job_id = resolve_prefix("job", given, (row[0] for row in connection.execute("SELECT id FROM jobs")))
        return self._settled(self._recorded(job_id))

    def all(self, limit: int = 1000) -> list[Job]:
        """The newest jobs first."""
        cursor = self.event_log.connection().execute("SELECT * FROM jobs ORDER BY id DESC LIMIT ?", (limit,))
        return [self._settled(_job(cursor, row)) for row in cursor.fetchall()]

    def of_kind(self, kind: str, limit: int) -> list[Job]:
        """The newest jobs of one kind first, however many of others came since."""
        cursor = self.event_log.connection().execute(
            "SELECT * FROM jobs WHERE kind = ? ORDER BY id DESC LIMIT ?", (kind, limit)
        )
        return [self._settled(_job(cursor, row)) for row in cursor.fetchall()]

    def unfinished(self) -> list[Job]:
        """The jobs that are recorded as queued or at work, as they are; the newest first."""
        cursor = self.event_log.connection().execute(
            "SELECT * FROM jobs WHERE state IN ('queued', 'running') ORDER BY id DESC"
        )
        return [self._settled(_job(cursor, row)) for row in cursor.fetchall()]

    def folders_of(self, kind: str) -> dict[str, str]:
        """The folder of each job of one kind, as :meth:`newest_for` takes it: the id of the first job of that work."""
        return dict(self.event_log.connection().execute(f"SELECT id, {_FOLDER} FROM jobs WHERE kind = ?", (kind,)))

    def lately(self, limit: int, watched: Iterable[str] = ()) -> list[Job]:
        """The newest jobs, all that are recorded as unfinished, and those with the given ids; the newest first."""
        cursor = self.event_log.connection().execute(
            "SELECT * FROM jobs WHERE id IN (SELECT id FROM jobs ORDER BY id DESC LIMIT ?)"
            " OR state IN ('queued', 'running') OR id IN (SELECT value FROM json_each(?)) ORDER BY id DESC",
            (limit, json.dumps(list(watched))),
        )
        return [self._settled(_job(cursor, row)) for row in cursor.fetchall()]

    def newest_for(self, folders: Iterable[str], known: list[Job] | None = None) -> dict[str, Job]:
        """The newest job of each folder, by the id of its first job; those that have no record are left out.

        ``known`` are jobs that were read already, the newest first; only for other folders the records are read.
        """
        found = {job.resumes or job.id: job for job in reversed(known or [])}
        others = [folder for folder in folders if folder not in found]
        found |= self._newest(others)
        # Between the two looks one may have begun and ended: where nobody is at work now, the record has the last word.
        return found | self._newest([f for f in others if f not in found and not self.at_work(f)])

    def _newest(self, folders: list[str]) -> dict[str, Job]:
        if not folders:
            return {}
        cursor = self.event_log.connection().execute(
            f"SELECT * FROM jobs WHERE {_FOLDER} IN (SELECT value FROM json_each(?)) ORDER BY id",
            (json.dumps(folders),),
        )
        newest = {job.resumes or job.id: job for job in (_job(cursor, row) for row in cursor.fetchall())}
        return {folder: self._settled(job) for folder, job in newest.items()}

    def forget(self, folder: str) -> None:
        """Drop the records of all jobs of a folder."""
        with self.event_log.transaction() as connection:
            connection.execute(f"DELETE FROM jobs WHERE {_FOLDER} = ?", (folder,))

    def update(self, job_id: str, **fields: Any) -> None:
        """Change fields of one record."""
        names = ", ".join(f"{name} = ?" for name in fields)
        with self.event_log.transaction() as connection:
            connection.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*fields.values(), job_id))

    def cancel_requested(self, job_id: str) -> bool:
        """Whether somebody asked this job to stop."""
        row = (
            self.event_log.connection().execute("SELECT cancel_requested FROM jobs WHERE id = ?", (job_id,)).fetchone()
        )
        return bool(row and row[0])

    def folder(self, job: Job) -> Path:
        """Where the job keeps its logs and its work; a resumed job goes on in the folder of the first."""
        return within(self.event_log.workspace.runs, job.resumes or job.id)

    def lock_of(self, folder: str) -> Path:
        """The lock that is held as long as a process is at work in a job's folder, or about to be started there."""
        return within(self.event_log.workspace.runs, folder) / "work.lock"

    def at_work(self, folder: str) -> bool:
        """Whether any process is at work in a job's folder, or about to be started there, wherever it runs."""
        return is_held(self.lock_of(folder))

    @contextlib.contextmanager
    def door(self) -> Iterator[None]:
        """Keep others from taking any job's folder, or removing one, while the block runs.

        The lock of a folder goes away with it, and a new folder of its name has a new lock: so whoever takes a folder's
        lock does that in here, and whoever removes a folder stays in here until nothing of it is known any more.

        Raises:
            LlmopsError: ``jobs_busy`` or ``workspace_read_only``.
            FileNotFoundError: the workspace is not there any more.
        """
        self.event_log.workspace.refuse_if_read_only()
        with locked(make_folder_within(self.event_log.workspace.runs) / "jobs.lock", _DOOR_SECONDS) as alone:
            if not alone:
                raise LlmopsError(
                    "jobs_busy",
                    "another process is removing a run or a job, and has not finished",
                    "Try again later.",
                )
            yield

    def _recorded(self, job_id: str) -> Job:
        cursor = self.event_log.connection().execute("SELECT * FROM jobs WHERE id = ?", (job_id,))
        row = cursor.fetchone()
        if row is None:
            raise NotFoundError("job", job_id, "llmops job list shows them.")
        return _job(cursor, row)

    def _settled(self, job: Job) -> Job:
        """The job as it is: one that was recorded as unfinished and that nobody is at is lost. Writes nothing."""
        if job.state.final or self._lives(job):
            return job
        # Its process records the end before it lets go of the lock, so what is recorded now is the last word.
        with contextlib.suppress(NotFoundError):
            job = self._recorded(job.id)
        if job.state.final:
            return job
        cause = _VANISHED if job.process is not None else NEVER_BEGAN
        last = self._last_written(job.resumes or job.id)
        return replace(job, state=JobState.LOST, cause=cause, finished_at=last or job.created_at)

    def _lives(self, job: Job) -> bool:
        folder = job.resumes or job.id
        if self.lock_of(folder).exists():
            return self.at_work(folder)
        # One that an earlier version started, which knew of no lock.
        return job.process is not None and job.process.alive()

    def _last_written(self, folder: str) -> float | None:
        """When something was last written in a job's folder."""
        times = []
        with contextlib.suppress(OSError):
            times = [path.stat().st_mtime for path in (self.event_log.workspace.runs / folder).iterdir()]
        return max(times, default=None)


def _job(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Job:
    record = dict(zip((column[0] for column in cursor.description), row, strict=True))
    try:
        return _read(record)
    except (ValueError, TypeError) as error:
        # It is shown as what it is, and keeps nobody from seeing the others.
        return Job(
            id=str(record["id"]),
            kind=str(record["kind"]),
            title=str(record["title"]),
            spec=JobSpec(entry="", arguments={}),
            state=JobState.LOST,
            cause=f"its record is damaged: {error}",
            process=None,
            progress=0.0,
            message="",
            result=None,
            created_at=0.0,
            started_at=None,
            finished_at=0.0,
            exit_code=None,
            resumes=None,
        )


def _read(record: Mapping[str, Any]) -> Job:
    process = None
    if record["pid"] is not None and record["pid_started"] is not None:
        process = ProcessIdentity(int(record["pid"]), float(record["pid_started"]))
    return Job(
        id=record["id"],
        kind=record["kind"],
        title=record["title"],
        spec=cast("JobSpec", dict(json.loads(record["spec"]))),
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
        stop_asked=bool(record["cancel_requested"]),
    )
