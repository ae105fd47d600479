"""Start a job as a process of its own that outlives whoever started it, and ask one to stop."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

from llmops_tui.child_python import module_command
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.process import identify
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.workspace.journal import Journal
from llmops_tui.workspace.layout import Workspace


class JobLauncher:
    """Start, cancel and resume the jobs of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.store = JobStore(Journal(workspace))

    def start(self, *, kind: str, title: str, entry: str, arguments: dict[str, Any]) -> Job:
        """Start ``entry``, given as ``module:function`` of the engine, detached.

        The function is called with a :class:`llmops_tui.jobs.worker.JobContext` and ``arguments``, which must be
        JSON, and returns the job's result as a dictionary.
        """
        job = self.store.add(kind=kind, title=title, spec={"entry": entry, "arguments": arguments})
        self._spawn(job)
        return job

    def resume(self, given: str) -> Job:
        """Start an ended job's work again, in its folder, as a new job."""
        old = self.store.get(given)
        if not old.state.final:
            raise InputRefusedError("job_running", f"job {old.id} is {old.state.value}", "Cancel it first.")
        job = self.store.add(kind=old.kind, title=old.title, spec=old.spec, resumes=old.resumes or old.id)
        self._spawn(job)
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

    def _spawn(self, job: Job) -> None:
        folder = self.store.folder(job)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A new session, nothing on the terminal, output to files: measured to be what survives tmux and SSH.
        with (folder / "supervisor.log").open("ab") as log:
            supervisor = subprocess.Popen(
                module_command("llmops_tui.jobs.supervisor", str(self.workspace.root), job.id),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                # CUDA would count GPUs by speed; the ledger counts them as nvidia-smi does.
                env={**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "LLMOPS_JOB": job.id},
            )
        identity = identify(supervisor.pid)
        if identity is not None:
            # Known from here on, however long the process takes to get going on a busy machine.
            self.store.update(job.id, pid=identity.pid, pid_started=identity.started)
