"""The process that runs a job's function."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, cast

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.moved_entries import MOVED
from llmops_tui.jobs.process import die_with_parent
from llmops_tui.jobs.store import JobStore
from llmops_tui.safe_text import safe_line
from llmops_tui.system_errors import explain_system_error
from llmops_tui.workspace.catalog import wait_as_a_job
from llmops_tui.workspace.checksums import record_checksums_at_end
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.written import noted_something

_PROGRESS_SECONDS = 0.2


class JobCancelledError(Exception):
    """Raised inside a job's work where it notices that it was asked to stop."""


class JobContext:
    """What a job's function is given: its workspace, its folder, and ways to report and to notice a cancel."""

    def __init__(self, workspace: Workspace, job_id: str, store: JobStore, folder: Path) -> None:
        self.workspace = workspace
        self.job_id = job_id
        self.folder = folder
        self._store = store
        self._last_report = 0.0
        self._untold: dict[str, Any] = {}
        self._cancelled = False

    def check(self) -> None:
        """Notice a cancel without recording anything.

        Raises:
            JobCancelledError: the job was asked to stop.
        """
        if self._cancelled:
            raise JobCancelledError

    def report(self, share: float, message: str = "") -> None:
        """Record progress, ``share`` from 0 to 1, a few times a second at the most, and at the end what was told last.

        Raises:
            JobCancelledError: the job was asked to stop.
        """
        self.check()
        now = time.monotonic()
        self._untold = {"progress": min(1.0, max(0.0, share)), "message": message}
        if now - self._last_report >= _PROGRESS_SECONDS or share >= 1:
            self._last_report = now
            self.record()

    def record(self, **facts: str) -> None:
        """Record ``facts`` of the job, and with them the progress that was told since it was last recorded."""
        told, self._untold = self._untold, {}
        if told or facts:
            self._store.update(self.job_id, **told, **facts)

    def note_cancel(self, _number: int, _frame: FrameType | None) -> None:
        """Signal handler: the next report raises."""
        self._cancelled = True


def run(workspace: Workspace, job_id: str) -> int:
    """Do the work of one job; returns the exit code of the process."""
    wait_as_a_job()
    store = JobStore(EventLog(workspace))
    job = store.get(job_id)
    context = JobContext(workspace, job_id, store, store.folder(job))
    signal.signal(signal.SIGTERM, context.note_cancel)
    try:
        result = _entry(job.spec["entry"])(context, **job.spec["arguments"])
    except JobCancelledError:
        context.record()
        return 1
    except LlmopsError as error:
        # Foreseen, and said in full: where in the code it was noticed helps nobody.
        sys.stderr.write(safe_line(error.told, limit=2000) + "\n")
        context.record(cause=error.told)
        return 1
    except Exception as error:  # noqa: BLE001  the border of the job: every failure becomes a recorded cause
        traceback.print_exc()
        told = explain_system_error(error)
        context.record(cause=told.told if told else f"{type(error).__name__}: {error}"[:500])
        return 1
    if noted_something():
        # What was written outside of the job's folder, such as a model; that is left to the supervisor.
        record_checksums_at_end(workspace)
    context.record(result=json.dumps(result))
    return 0


def _entry(name: str) -> Callable[..., Mapping[str, object]]:
    module, _, function = MOVED.get(name, name).partition(":")
    if not module.startswith("llmops_tui."):
        raise LlmopsError("job_entry_refused", f"{name} is not part of llmops")
    entry: Any = getattr(importlib.import_module(module), function, None)
    # What a module merely imports is no part of it.
    if getattr(entry, "__module__", "") != module:
        raise LlmopsError("job_entry_refused", f"{name} is not part of llmops")
    return cast("Callable[..., Mapping[str, object]]", entry)


if __name__ == "__main__":
    # The lock of the folder, held as long as this process works there, and by nothing that it starts.
    os.set_inheritable(int(sys.argv[4]), False)
    die_with_parent(int(sys.argv[3]))
    sys.exit(run(Workspace(Path(sys.argv[1])), sys.argv[2]))
