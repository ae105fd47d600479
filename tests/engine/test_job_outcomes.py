from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from llmops_tui.jobs import worker
from llmops_tui.jobs.entries import JobSpec
from llmops_tui.jobs.outcomes import facts_of, outcome
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace


def job(state: JobState, *, cause: str = "", result: dict[str, Any] | None = None, progress: float = 1.0) -> Job:
    spec = JobSpec(entry="", arguments={})
    said = "row 1,999 of 2,000"
    return Job("a", "import", "import of it", spec, state, cause, None, progress, said, result, 0.0, 0.0, 1.0, 0, None)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (
            {"model": "tiny", "path": "/models/tiny.gguf", "size_bytes": 26_000_000, "sha256": "ab" * 32},
            "model tiny · path /models/tiny.gguf · size 26 MB",
        ),
        (
            {"name": "a", "added_at": time.mktime((2026, 11, 28, 9, 5, 7, 0, 0, -1)), "looked_at": 3},
            "name a · added at 2026-11-28 09:05 · looked at 3",
        ),
        ({"output": "", "total": 20, "failed": 0}, "total 20 · failed 0"),
        ({"runs": [{"run": "r1", "metrics": {}}, {"run": "r2", "metrics": {}}]}, "runs r1, r2"),
        (
            {
                "runs": [
                    {
                        "run": "r1",
                        "metrics": {"exact": {"mean": 0.125, "unit": "", "binary": True}, "latency": {"mean": 9.0}},
                    },
                    {"run": "r2", "metrics": {"latency": {"mean": 49.2035, "unit": "ms", "binary": False}}},
                ]
            },
            "runs r1 exact 12.5%, r2 latency 49.2 ms",
        ),
        # What was made is called as one calls it, and never by its id.
        (
            {
                "parts": [
                    {"dataset": "a-train", "version": 1, "id": "dsv_1", "rows": 155},
                    {"dataset": "a-eval", "version": 1, "id": "dsv_2", "rows": 1},
                ]
            },
            "parts a-train@1 155 rows, a-eval@1 1 row",
        ),
        (
            {"dataset": "a", "version": 2, "id": "dsv_3", "parent": 1, "rows": 170, "rejected": 0},
            "dataset a@2 · rows 170 · made of a@1 · rejected 0",
        ),
        ({"run": "triage-1", "id": "job_1", "batch": [16, 2]}, "run triage-1 · batch 16 × 2"),
        ({"index": {"ref": "docs@2", "chunks": 7}, "unchanged": False}, "index docs@2 · unchanged no"),
        # A record without a name is for programs; where nothing else is told the last words are better than none.
        ({"funnel": {"kept": 3}, "removed": []}, "row 1,999 of 2,000"),
        (None, "row 1,999 of 2,000"),
    ],
)
def test_what_is_told_of_a_job_that_is_done_is_what_it_made(result: dict[str, Any] | None, told: str) -> None:
    assert outcome(job(JobState.DONE, result=result)) == told


def test_one_that_ended_otherwise_tells_why_and_one_at_work_what_it_does() -> None:
    assert outcome(job(JobState.FAILED, cause="no room on the disk", result={"rows": 1})) == "no room on the disk"
    assert outcome(job(JobState.CANCELLED, progress=0.4)) == "at 40%: row 1,999 of 2,000"
    assert outcome(job(JobState.CANCELLED, progress=0.0)) == ""
    assert outcome(job(JobState.RUNNING)) == "row 1,999 of 2,000"


def test_the_facts_have_their_units_and_no_hashes() -> None:
    found = facts_of(
        job(JobState.DONE, result={"peak_bytes": 1_321_332_736, "loss": 0.59126311, "weights_sha256": "x"})
    )
    assert found == [("peak", "1.32 GB"), ("loss", "0.5913")]


def test_what_a_job_told_last_is_recorded_when_it_ends(workspace: Workspace) -> None:
    store = JobStore(EventLog(workspace))
    job = store.add(kind="kind", title="title", spec=JobSpec(entry="", arguments={}))
    context = worker.JobContext(workspace, job.id, store, store.folder(job))
    for row in range(3):
        context.report(row / 4, f"row {row}")
    assert store.get(job.id).message == "row 0"
    context.record(result='{"rows": 3}')
    ended = store.get(job.id)
    assert (ended.message, ended.progress, ended.result) == ("row 2", 0.5, {"rows": 3})
    store.update(job.id, message="of somebody else")
    context.record()
    assert store.get(job.id).message == "of somebody else"


def test_what_stands_in_the_title_is_not_told_again() -> None:
    made = job(JobState.DONE, result={"model": "tiny", "intact": True})
    assert outcome(made) == "model tiny · intact yes"
    assert outcome(replace(made, title="verify tiny")) == "intact yes"
    assert outcome(replace(made, title="verify tiny", result={"model": "tiny"})) == "model tiny"
