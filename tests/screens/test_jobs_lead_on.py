"""From a job one comes to what it made, and jobs say how long they still take."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from llmops_tui.jobs.entries import JobSpec
from llmops_tui.jobs.outcomes import outcome, seconds_left
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.jobs.log_pane import head_of
from screens.jobs.places import place_of_job
from screens.navigation import DatasetPlace, Destination, EvaluationPlace, ModelPlace, RunPlace, ScreenPlace
from screens.widgets import units
from tests.screens.conftest import OpenApp, settle, until


def job(kind: str, result: dict[str, Any] | None = None, **arguments: Any) -> Job:
    spec = JobSpec(entry="", arguments=arguments)
    return Job("job_1", kind, kind, spec, JobState.DONE, "", None, 1.0, "", result, 0.0, 100.0, 200.0, 0, None)


@pytest.mark.parametrize(
    ("made", "place"),
    [
        (job("train", {"model": "a", "run": "mine-1"}, run_name="mine-1"), RunPlace("mine-1")),
        (job("eval", None, runs=["triage-1", "triage-2"]), EvaluationPlace("triage-1")),
        (job("eval", {"runs": [{"run": "triage-3"}]}, runs=["triage-3"]), EvaluationPlace("triage-3")),
        (job("import", {"dataset": "faq", "version": 2}), DatasetPlace("faq@2")),
        (job("dataset", {"parts": [{"dataset": "faq-train", "version": 1}]}), DatasetPlace("faq-train@1")),
        (job("verify", {"model": "small"}), ModelPlace("small")),
        (job("plan", {"model": "", "ok": True}), ScreenPlace("training")),
        (job("export", {"path": "/a.csv", "rows": 3}, ref="faq@2", target="/a.csv"), DatasetPlace("faq@2")),
        (job("export", None, name="small"), ScreenPlace("models")),
        (job("forget", None), ScreenPlace("privacy")),
        (job("backup", None), None),
    ],
)
def test_a_job_has_the_place_of_what_it_made(made: Job, place: Destination | None) -> None:
    assert place_of_job(made) == place


def test_a_figure_that_stands_in_the_title_is_told_all_the_same() -> None:
    made = replace(job("import", {"rows": 5, "files": 3, "model": "small"}), title="import 5 files for small")
    assert outcome(made) == "rows 5 · files 3"


def test_a_job_goes_on_as_fast_as_until_now() -> None:
    running = replace(job("train"), state=JobState.RUNNING, progress=0.25, finished_at=None)
    assert seconds_left(running, 110.0) == pytest.approx(30.0)
    assert seconds_left(replace(running, progress=0.01), 110.0) is None
    assert seconds_left(running, 100.5) is None
    # What was done before it was resumed says nothing of how fast it is.
    assert seconds_left(replace(running, resumes="job_0"), 110.0) is None
    assert seconds_left(replace(running, state=JobState.DONE), 110.0) is None


def test_the_head_of_a_log_says_how_far_a_job_is_and_why_it_ended() -> None:
    running = replace(job("train"), state=JobState.RUNNING, progress=0.25, finished_at=None, message="step 1 of 4")
    told = head_of(running, 100, 110.0).plain.splitlines()
    assert told[0].startswith("▶ running  ━━━━━───────────────  25%".replace("  25%", " 25%"))
    assert told[0].endswith("0:10 so far · about 0:30 left")
    assert told[1] == "step 1 of 4"
    failed = head_of(
        replace(job("train"), state=JobState.FAILED, cause="no memory left"), 100, 300.0
    ).plain.splitlines()
    assert failed[0].startswith("✗ failed")
    assert failed[0].endswith("took 1:40")
    assert failed[1] == "no memory left"
    made = job("import", {"dataset": "faq", "version": 2, "rows": 9, "id": "dsv_1"})
    assert head_of(made, 100, 300.0).plain.splitlines()[1:] == ["dataset  faq@2", "rows     9"]
    assert head_of(made, 100, 300.0, dense=True).plain.splitlines()[1:] == ["dataset faq@2 · rows 9"]


def test_a_bar_is_as_long_as_its_room() -> None:
    assert [units.bar(share, 4) for share in (0.0, 0.5, 1.0, 7.0)] == ["────", "━━──", "━━━━", "━━━━"]


async def test_enter_goes_to_what_a_job_made(open_app: OpenApp, sample: Workspace) -> None:
    store = JobStore(EventLog(sample))
    made = store.add(kind="import", title="import triage", spec={"entry": "", "arguments": {}})
    store.update(
        made.id, state="done", progress=1.0, started_at=1.0, finished_at=time.time(),
        result='{"dataset": "triage", "version": 1, "rows": 9}',
    )  # fmt: skip
    async with open_app() as pilot:
        await pilot.press("f9", "8")
        await until(pilot, lambda: "import triage" in str(pilot.app.screen.query_one("#log").border_title))
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.current_mode == "datasets")
