"""Retention: rules are read strictly, what is due is shown, and goes where nothing needs it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.filed.files import FileStore
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.retention import apply_retention, plan_retention
from llmops_tui.retention_rules import RetentionRule, read_rules
from llmops_tui.settings import Settings, load_settings
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

DAY = 86_400.0


def test_rules_are_read_as_they_are_written() -> None:
    assert read_rules("traces 90d where model:m is:down; datasets 2y where is:untagged;") == (
        RetentionRule("traces", 90, "model:m is:down"), RetentionRule("datasets", 730, "is:untagged"),
    )  # fmt: skip
    assert [rule.told for rule in read_rules("jobs 2w")] == ["jobs 14d"]


@pytest.mark.parametrize(
    ("text", "why"),
    [("traces", "is no rule"), ("words 3d", "is not a kind"), ("traces 0d", "at least one day"),
     ("datasets 3d where colour:red", "is not a condition"), ("datasets 3d where is:old", "is not a condition")],
)  # fmt: skip
def test_what_is_no_rule_is_refused_and_told_by_the_settings(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match=why):
        read_rules(text)
    (tmp_path / "settings.toml").write_text(f'retention = "{text}"\n')
    settings, problems = load_settings(tmp_path / "settings.toml")
    assert settings.retention == ""
    assert why in problems[0]


@pytest.mark.slow
def test_what_is_old_goes_and_what_is_needed_stays_with_a_reason(
    workspace: Workspace, catalog: Catalog, tmp_path: Path
) -> None:
    store, event_log = DatasetStore(catalog), EventLog(workspace)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    (tmp_path / "c.jsonl").write_text('{"text": "c"}\n')
    for name, file in (("needed", "a.jsonl"), ("spare", "c.jsonl")):
        import_now(store, [tmp_path / file], name, "tabular")
    apply(store, "filter", ["needed"], {"where": "text = 'a'"}, name="made")
    (tmp_path / "b.jsonl").write_text('{"text": "other"}\n')
    import_now(store, [tmp_path / "b.jsonl"], "tagged", "tabular")
    store.tag("tagged", "gold")
    now = time.time()
    event_log.append_many(
        [
            ("request", f"run_{n}", {"started_at": now - n * DAY, "model": "m", "output": "x", "finish_reason": "stop",
                                     "parameters": {}, "total_ms": 1.0})
            for n in (1, 20, 200)
        ]
    )  # fmt: skip
    jobs = JobStore(event_log)
    for state in ("done", "running"):
        job = jobs.add(kind="verify", title="v", spec={"entry": "", "arguments": {}})
        jobs.update(job.id, state=state, finished_at=now - 50 * DAY if state == "done" else None)
    source = tmp_path / "in.jsonl"
    source.write_text("{}\n")
    with source.open("rb") as file:
        sent = FileStore(workspace, clock=lambda: now - 5 * DAY).add("key", "in.jsonl", file)
    old = workspace.logs / "old.log"
    old.write_text("old\n")
    os.utime(old, (now - 40 * DAY, now - 40 * DAY))
    settings = Settings(
        retention="traces 30d; datasets 1d where is:untagged; jobs 30d; files 4d; logs 30d; evaluations 1d; trainings 1d"
    )
    later = now + 2 * DAY
    due = {one.what: one for one in plan_retention(workspace, settings, later)}
    assert set(due) == {
        "1 trace with all feedback on them", "dataset needed@1", "dataset spare@1", "dataset made@1", f"file {sent['id']} of a client",
        "logs/old.log", f"job {jobs.all()[-1].id}",
    }  # fmt: skip
    assert "made@1 was made of it" in due["dataset needed@1"].stays
    assert TraceStore(catalog, event_log).page(TraceFilter(), 9)[1] == 3

    done = {one.what: one for one in apply_retention(workspace, settings, later)}
    assert {what for what, one in done.items() if not one.done} == {"dataset needed@1"}
    assert TraceStore(catalog, event_log).page(TraceFilter(), 9)[1] == 2
    assert [version.ref for version in store.all()] == ["needed@1", "tagged@1"]
    assert not old.exists()
    assert FileStore(workspace).records() == []
    assert [job.state.value for job in jobs.all()] == ["lost"]
    with pytest.raises(NotFoundError):
        store.get("made")
    # What stood in the way is gone now.
    assert [one.what for one in apply_retention(workspace, settings, later) if one.done] == ["dataset needed@1"]


def test_a_job_that_somebody_went_on_with_is_as_old_as_its_latest_end(workspace: Workspace, catalog: Catalog) -> None:
    jobs, now = JobStore(EventLog(workspace)), time.time()
    first = jobs.add(kind="verify", title="v", spec={"entry": "", "arguments": {}})
    jobs.update(first.id, state="cancelled", finished_at=now - 50 * DAY)
    again = jobs.add_resumed(jobs.get(first.id))
    jobs.update(again.id, state="done", finished_at=now - DAY)
    settings = Settings(retention="jobs 30d")
    assert plan_retention(workspace, settings, now) == []
    assert [one.what for one in plan_retention(workspace, settings, now + 31 * DAY)] == [f"job {first.id}"]


def test_nothing_goes_by_a_clock_that_is_years_ahead(workspace: Workspace, catalog: Catalog) -> None:
    event_log = EventLog(workspace)
    answered = {"started_at": time.time(), "model": "m", "output": "x", "finish_reason": "stop", "parameters": {}}
    event_log.append_many([("request", "run_1", {**answered, "total_ms": 1.0})])
    with pytest.raises(LlmopsError, match="the clock is"):
        apply_retention(workspace, Settings(retention="traces 90d"), time.time() + 2000 * DAY)
    assert TraceStore(catalog, event_log).page(TraceFilter(), 9)[1] == 1
    [done] = apply_retention(workspace, Settings(retention="traces 90d"), time.time() + 2000 * DAY, clock_is_right=True)
    assert done.done
