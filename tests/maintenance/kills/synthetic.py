"""The writer of synthetic rows, by a model that answers at once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

from llmops_tui.datasets.rejects import read_rejects
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.synthesis import job as synthesis_job
from llmops_tui.synthesis.attempts import Attempt, AttemptLog
from llmops_tui.synthesis.plan import check_plan
from llmops_tui.synthesis.prepared import prepare
from llmops_tui.synthesis.tasks import Task
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from tests.maintenance.kills.ledger import Kind, Known, Ledger, Place
from tests.maintenance.kills.work import TELL, at_once, working

ROWS = 4
FORM = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
PLAN = {"model": "tiny", "topics": [{"topic": "cards", "rows": ROWS}], "rows": ROWS, "form": FORM}


class _Writer:
    async def attempt(self, task: Task) -> Attempt:
        # The last answer is none, so that there is something that fell.
        text = f"text number {task.number} has words of its own {task.number * 7919}"
        return Attempt(task.number, json.dumps({"text": text}) if task.number < ROWS - 1 else "none", finish="stop")


@asynccontextmanager
async def _opened(*_: object) -> AsyncIterator[tuple[Any, Any]]:
    yield _Writer(), SimpleNamespace(cache=SimpleNamespace(flush=lambda: None))


class _KeepingLog(AttemptLog):
    def add(self, entry: Any) -> None:
        super().add(entry)
        TELL[0].noted("attempt", path=str(self.path), task=entry.task)


def stand_in() -> None:
    """Have the stand-ins write, in this process and in those that it forks."""
    module: Any = synthesis_job
    module.opened, module.AttemptLog = _opened, _KeepingLog


def write_synthesis(place: Place, tell: Ledger, _chance: Random) -> None:
    launcher, catalog = JobLauncher(place.workspace), Catalog(place.workspace)
    with working(tell, at_once):
        while True:
            for job in _unfinished(launcher.store):
                if _name(job).startswith(tell.label[0]):
                    with tell.doing("made", name=_name(job)):
                        launcher.resume(job.id)
            name = tell.fresh()
            arguments = synthesis_job.start_arguments(prepare(catalog, check_plan(PLAN)), name)
            with tell.doing("made", name=name):
                launcher.start(
                    kind=synthesis_job.KIND, title=name, entry=synthesis_job.ENTRY, arguments=arguments
                )  # fmt: skip


def _name(job: Job) -> str:
    return job.title


def _unfinished(store: JobStore) -> list[Job]:
    """The newest job of each folder, where it did not come to its end."""
    newest: dict[str, Job] = {}
    for job in sorted(store.all(100_000), key=lambda job: job.created_at):
        newest[job.resumes or job.id] = job
    return [job for job in newest.values() if job.state not in {JobState.DONE, JobState.RUNNING, JobState.QUEUED}]


def verify_synthesis(place: Place, known: Known, whole: bool) -> None:
    datasets, jobs = DatasetStore(Catalog(place.workspace)), JobStore(EventLog(place.workspace))
    logs = datasets.logs()
    for told in known.acknowledged("made"):
        assert told.facts["name"] in logs
    for told in known.begun("made"):
        # Once, and whole, whoever ended it.
        versions = logs.get(told.facts["name"], [])
        assert len(versions) <= 1
        for version in versions:
            assert (version.rows, version.rejected) == (ROWS - 1, 1)
            assert len(read_rejects(place.workspace, version)) == 1
    attempts: dict[str, set[int]] = {}
    for told in known.acknowledged("attempt"):
        attempts.setdefault(told.facts["path"], set()).add(told.facts["task"])
    for folder in place.workspace.runs.glob("job_*"):
        path = folder / "attempts.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        there = Counter(json.loads(line)[1]["task"] for line in lines)
        assert max(there.values(), default=0) <= 1
        assert attempts.get(str(path), set()) <= there.keys()
    assert not whole or not _unfinished(jobs)


KINDS = {"synthesis": Kind(write_synthesis, verify_synthesis)}
