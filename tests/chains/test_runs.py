"""Runs of chains among other jobs."""

from __future__ import annotations

import json

import pytest

from llmops_tui.chains.runs import KIND, all_runs, get_run
from llmops_tui.errors import NotFoundError
from llmops_tui.jobs.store import _INSERT, JobStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace


def test_a_run_is_found_however_many_jobs_came_since(workspace: Workspace) -> None:
    jobs = JobStore(EventLog(workspace))
    spec = json.dumps({"entry": "llmops_tui.chains.job:run", "arguments": {"asked": {"chain": "desk"}}})
    with jobs.event_log.transaction() as connection:
        connection.execute(_INSERT, ("job_000001", KIND, "chain desk", spec, 1.0, None))
        connection.execute(_INSERT, ("job_000002", KIND, "chain desk", spec, 2.0, "job_000001"))
        others = [
            (f"job_9{n:05}", "import", "others", '{"entry": "x:y", "arguments": {}}', 3.0, None) for n in range(1001)
        ]
        connection.executemany(_INSERT, others)
    # By its first job, with what the newest says.
    found = get_run(jobs, "job_0000")
    assert (found.id, found.job.id) == ("job_000001", "job_000002")
    assert get_run(jobs, "job_000002").id == "job_000001"
    assert [one.id for one in all_runs(jobs)] == ["job_000001"]
    with pytest.raises(NotFoundError, match="no chain run 'job_90'"):
        get_run(jobs, "job_90")
