"""The process above one job: starts its worker, waits, and records how it ended, with the cause."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from llmops_tui.child_python import module_command
from llmops_tui.jobs.output import NAME, piped
from llmops_tui.jobs.process import describe_exit, identify, oom_kills
from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.workspace.checksums import record_checksums_at_end
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.written import note_all

_KILL_AFTER_SECONDS = 10.0
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 1.0


def supervise(workspace: Workspace, job_id: str, lock: int) -> int:
    """Run the worker of one job to its end; returns its exit code.

    ``lock`` is the descriptor of the lock of the job's folder, which is held until both processes have ended, and by
    nothing else that they start.
    """
    os.set_inheritable(lock, False)
    store = JobStore(EventLog(workspace))
    stop_asked = False

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stop_asked
        stop_asked = True

    signal.signal(signal.SIGTERM, ask_to_stop)
    job = store.get(job_id)
    identity = identify(os.getpid())
    assert identity is not None
    store.update(
        job_id, state=JobState.RUNNING.value, pid=identity.pid, pid_started=identity.started, started_at=time.time()
    )
    folder = store.folder(job)
    oom_before = oom_kills()
    with piped(folder / NAME) as log:
        worker = subprocess.Popen(
            module_command("llmops_tui.jobs.worker", str(workspace.root), job_id, str(os.getpid()), str(lock)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
        )
        ended = _told_of_its_end(worker.pid)
        terminated_at: float | None = None
        looked_at = time.monotonic()
        while worker.poll() is None:
            # Whoever cancels sends a signal too; the record is for one that was lost, and is looked at seldom.
            if terminated_at is None and not stop_asked and time.monotonic() - looked_at > _LOOK_SECONDS:
                looked_at = time.monotonic()
                stop_asked = store.cancel_requested(job_id)
            if terminated_at is None and stop_asked:
                worker.terminate()
                terminated_at = time.monotonic()
            elif terminated_at is not None and time.monotonic() - terminated_at > _KILL_AFTER_SECONDS:
                worker.kill()
            # Told by the kernel: waiting with a time-out would look many times in each tenth of a second.
            select.select(ended, [], [], _POLL_SECONDS)
        for descriptor in ended:
            os.close(descriptor)
    with contextlib.suppress(OSError):
        # Should this end before it checksums what is there, whoever checksums next does.
        note_all(folder)
    _record_end(store, job_id, worker.returncode, stopped=terminated_at is not None, oom_before=oom_before)
    # The end is recorded: from here on somebody else may go on in the folder, or remove it.
    os.close(lock)
    store.event_log.close()
    record_checksums_at_end(workspace)
    return worker.returncode


def _told_of_its_end(pid: int) -> list[int]:
    """A descriptor that can be read once a process has ended; none where there is no such thing.

    The kernel has none before 5.3, and a Python has none that was built where no such kernel was known.
    """
    try:
        return [os.pidfd_open(pid)]
    except (OSError, AttributeError):
        return []


def _record_end(store: JobStore, job_id: str, returncode: int, *, stopped: bool, oom_before: int | None) -> None:
    fields: dict[str, Any] = {"finished_at": time.time(), "exit_code": returncode}
    if returncode == 0:
        fields |= {"state": JobState.DONE.value, "progress": 1.0, "cause": ""}
    elif stopped:
        fields |= {"state": JobState.CANCELLED.value, "cause": "stopped on request"}
    elif returncode < 0:
        fields |= {"state": JobState.KILLED.value, "cause": describe_exit(returncode, oom_before)}
    else:
        fields |= {"state": JobState.FAILED.value}
        if not store.get(job_id).cause:
            fields["cause"] = describe_exit(returncode, oom_before)
    store.update(job_id, **fields)


if __name__ == "__main__":
    sys.exit(0 if supervise(Workspace(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])) == 0 else 1)
