"""Starts a job as a process that outlives its starter, and cancels jobs.

A job has its id and its folder before it has a record, and its record before it has a process. The folder's lock is
taken first, and goes from whoever starts the job to its processes: as long as it is held somebody is at it, and when it
is free nobody is, whoever died at whatever moment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llmops_tui.child_python import module_command
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.entries import JobSpec
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import append_bytes, make_folder_within
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import wait_lock
from llmops_tui.workspace.trust import require_trust

# pyarrow's memory goes back to the system after a second and not after ten milliseconds, so that what the next block needs is
# not asked for again: a tenth of the time of an import.
ENVIRONMENT = {"MIMALLOC_PURGE_DELAY": "1000"}


@dataclass(frozen=True)
class JobPlace:
    """Where a job is about to start: the id it will have, and the lock of its folder, an open descriptor."""

    id: str
    lock: int


class JobLauncher:
    """Start, cancel and resume the jobs of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.store = JobStore(EventLog(workspace))

    @contextlib.contextmanager
    def place(self, job_id: str | None = None) -> Iterator[JobPlace]:
        """The id and the folder of a job that is about to start, so that others can note it first.

        ``job_id`` is one that was noted already and came to nothing. While the place is held the job counts as starting;
        where whoever holds it dies before it has started the job, that never began.

        Raises:
            InputRefusedError: ``job_running``: some process is at work there.
            LlmopsError: ``job_not_started``: the folder cannot be made or locked; ``jobs_busy``: one is being removed.
        """
        found = job_id or new_id("job")
        path = self.store.lock_of(found)
        try:
            with self.store.door():
                make_folder_within(path.parent)
                lock = wait_lock(path)
        except OSError as error:
            raise LlmopsError(
                "job_not_started",
                f"no job can be started in {path.parent}: {error.strerror}",
                "Check that the folder is writable, and on a disk with free space and file locks.",
            ) from error
        if lock is None:
            raise InputRefusedError(
                "job_running", f"a process is running in {path.parent}", "llmops job list shows it; cancel it first."
            )
        try:
            yield JobPlace(found, lock)
        except BaseException:
            # Nothing came of it, so nothing is left of it; what began there is known by its log.
            if [each.name for each in path.parent.iterdir()] == [path.name]:
                path.unlink()
                path.parent.rmdir()
            raise
        finally:
            os.close(lock)

    def start(
        self, *, kind: str, title: str, entry: str, arguments: Mapping[str, object], place: JobPlace | None = None
    ) -> Job:
        """Start ``entry``, given as ``module:function`` of the engine, detached; in a ``place`` where it was noted before.

        The function is called with a :class:`llmops_tui.jobs.worker.JobContext` and ``arguments``, which must be
        JSON, and returns the job's result as a dictionary.

        Raises:
            LlmopsError: ``job_not_started``: the system did not start a process.
        """
        if place is None:
            with self.place() as own:
                return self.start(kind=kind, title=title, entry=entry, arguments=arguments, place=own)
        spec = JobSpec(entry=entry, arguments=dict(arguments))
        job = self.store.add(kind=kind, title=title, spec=spec, job_id=place.id)
        self._spawn(job, place.lock)
        return job

    def resume(self, given: str, *, unfinished: bool = False) -> Job:
        """Start an ended job's work again, in its folder, as a new job.

        ``unfinished`` says that its work is not through although it ended well, as that of a paused run; else work that is
        done, by this job or one that went on with it, is refused: an import would be made once more, over what was changed
        since.

        Raises:
            InputRefusedError: ``job_running``: it has not ended, or another goes on with its work; ``job_done``;
                ``workspace_untrusted``: what it is to do was written elsewhere.
        """
        old = self.store.get(given)
        if not old.state.final:
            raise InputRefusedError("job_running", f"job {old.id} is {old.state.value}", "Cancel it first.")
        require_trust(self.workspace, f"job {old.id} would run what its record says")
        folder = old.resumes or old.id
        with self.place(folder) as place:
            # With the lock held, so that none can end between the look and the start.
            last = self.store.newest_for([folder]).get(folder, old)
            if last.state == JobState.DONE and not unfinished:
                through = "" if last.id == old.id else f", by job {last.id} that went on with it"
                raise InputRefusedError(
                    "job_done",
                    f"{old.title} is done{through}: nothing is left to resume",
                    "Begin it anew where it was begun; the training screen, and llmops train resume, go on with a paused run.",
                )
            job = self.store.add_resumed(old)
            self._spawn(job, place.lock)
        return job

    def cancel(self, given: str) -> Job:
        """Ask a job to stop; it ends within seconds, cancelled. An ended job stays as it is."""
        job = self.store.get(given)
        if not job.state.final:
            self.store.update(job.id, cancel_requested=1)
            # Before it runs, its supervisor has not said yet what the signal means; it finds the record.
            if job.process is not None and job.state == JobState.RUNNING:
                job.process.send(signal.SIGTERM)
        return self.store.get(job.id)

    def _spawn(self, job: Job, lock: int) -> None:
        # A new session, nothing on the terminal, output to files: measured to be what survives tmux and SSH.
        try:
            with append_bytes(self.store.folder(job) / "supervisor.log") as log:
                subprocess.Popen(
                    module_command("llmops_tui.jobs.supervisor", str(self.workspace.root), job.id, str(lock)),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd="/",
                    # CUDA would count GPUs by speed; the ledger counts them as nvidia-smi does.
                    env={**ENVIRONMENT, **os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "LLMOPS_JOB": job.id},
                    pass_fds=(lock,),
                )
        except OSError as error:
            cause = f"no process could be started for it: {error.strerror}"
            self.store.update(job.id, state=JobState.FAILED.value, cause=cause, finished_at=time.time())
            raise LlmopsError("job_not_started", f"{job.title}: {cause}", f"llmops job resume {job.id}") from error
