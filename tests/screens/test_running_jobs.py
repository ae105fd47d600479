"""One job has one progress on all of the screen, and home does not show what was before as what is."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace

import pytest
from textual.widgets import Static

from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.process import identify
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.home.panes import StepsPane
from screens.jobs.jobs_pane import COLUMNS, JobsPane
from screens.shell.running_jobs import RunningJobs
from screens.shell.status_feed import model_told
from screens.shell.status_line import StatusLine
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.line_list import LineList
from tests.screens.conftest import OpenApp, settle, until
from tests.screens.test_tabs import job


def begun(store: JobStore) -> str:
    """A job at work, whose process is this one."""
    own = identify(os.getpid())
    assert own is not None
    made = store.add(kind="verify", title="verify small", spec={"entry": "", "arguments": {}})
    store.update(made.id, state="running", pid=own.pid, pid_started=own.started, progress=0.1, started_at=1.0)
    return made.id


def test_whoever_read_last_is_believed() -> None:
    running = RunningJobs()
    first, second = replace(job("a"), progress=0.1), replace(job("b"), progress=0.2)
    running.take([first, second], complete=True)
    assert running.told() == {"jobs": 2, "job_title": "b 20%"}
    running.take([replace(second, progress=0.5)], complete=False)
    assert running.told() == {"jobs": 2, "job_title": "b 50%"}
    running.take([replace(second, state=JobState.DONE)], complete=False)
    assert running.told() == {"jobs": 1, "job_title": "a 10%"}
    running.take([], complete=True)
    assert running.told() == {"jobs": 0, "job_title": ""}


def test_before_a_model_is_chosen_the_one_that_is_loaded_is_named() -> None:
    own = identify(os.getpid())
    assert own is not None
    dead, small = EngineLoad("gone", own, state="dead"), EngineLoad("small", own)
    assert model_told(None, []) == (None, False)
    assert model_told(None, [dead]) == (None, False)
    assert model_told(None, [dead, small]) == ("small", True)
    assert model_told("other", [small]) == ("other", False)
    assert model_told("small+adapter", [small]) == ("small+adapter", True)
    # None is registered: a screen has said so.
    assert model_told("", [small]) == ("", False)


def test_whoever_leaves_is_told_what_goes_on() -> None:
    running = RunningJobs()
    assert running.told_at_end() == ""
    running.take([replace(job("a"), progress=0.1, title="train x\x1b[2J")], complete=True)
    told = running.told_at_end()
    assert told.startswith("train x")
    assert "goes on, 10% done" in told
    assert "\x1b" not in told
    assert told.endswith("\n")


async def test_the_status_line_tells_of_a_job_what_the_screen_tells(open_app: OpenApp, sample: Workspace) -> None:
    store = JobStore(EventLog(sample))
    name = begun(store)
    async with open_app() as pilot:
        await pilot.press("f9", "8")
        await settle(pilot)
        for share in (0.42, 0.7):
            store.update(name, progress=share)
            await pilot.press("f5")
            await settle(pilot)
            assert f"verify small {share:.0%}" in pilot.app.status.job_title  # type: ignore[attr-defined]
            part = pilot.app.screen.query_one(StatusLine).query_one("#status-jobs")
            assert f"{share:.0%}" in str(part.visual)  # type: ignore[attr-defined]
        store.update(name, state="done", progress=1.0, finished_at=2.0)
        await pilot.press("f5")
        await settle(pilot)
        assert pilot.app.status.jobs == 0  # type: ignore[attr-defined]


async def test_whoever_comes_home_sees_jobs_at_once_and_that_the_rest_is_being_read(
    open_app: OpenApp, sample: Workspace
) -> None:
    store, catalog = JobStore(EventLog(sample)), Catalog(sample)
    name = begun(store)
    async with open_app() as pilot:
        await pilot.press("f9", "0")
        await settle(pilot)
        home = pilot.app.screen
        await pilot.press("f9", "8")
        await settle(pilot)
        store.update(name, progress=0.9)
        catalog.write(lambda connection: connection.execute("DELETE FROM prompt_labels"))
        entered, leave = threading.Event(), threading.Event()

        def keep(_connection: object) -> None:
            entered.set()
            leave.wait()

        kept = asyncio.ensure_future(asyncio.to_thread(catalog.read, keep))
        try:
            await until(pilot, entered.is_set)
            await pilot.press("f9", "0")
            await until(pilot, lambda: pilot.app.screen is home)
            await until(pilot, lambda: "reading what changed" in str(home.query_one(StepsPane).border_title))
            listed = home.query_one("#home-job-list", LineList)
            assert "running 90%" in listed.render_line(1).text
        finally:
            leave.set()
        await kept
        await settle(pilot)
        assert "reading" not in str(home.query_one(StepsPane).border_title)
        tile = home.query_one("#lines-prompts", LineList)
        assert "nothing in production" in "".join(tile.render_line(y).text for y in range(tile.size.height))


async def test_what_runs_is_the_first_row_and_what_is_done_has_no_share(open_app: OpenApp, sample: Workspace) -> None:
    store = JobStore(EventLog(sample))
    begun(store)
    for began, title in ((1.0, "import a"), (2.0, "import b")):
        made = store.add(kind="import", title=title, spec={"entry": "", "arguments": {}})
        store.update(made.id, state="done", progress=1.0, started_at=began, finished_at=began + 7)
    async with open_app() as pilot:
        await pilot.press("f9", "8")
        await settle(pilot)
        table = pilot.app.screen.query_one("#job-list", LineList)
        rows = [table.render_line(y).text for y in range(1, 4)]
        assert ["verify small" in rows[0], "import b" in rows[1], "import a" in rows[2]] == [True] * 3
        assert "10" in rows[0].split()
        assert not any("100" in row for row in rows)
        assert "0:07" in rows[1]
        assert "3 · 1 running" in str(pilot.app.screen.query_one("#jobs-list").border_title)
        log = str(pilot.app.screen.query_one("#log-head").visual)  # type: ignore[attr-defined]
        assert log.startswith("▶ running  ━━───")
        assert "verify small" in str(pilot.app.screen.query_one("#log").border_title)
        assert "x cancel" in str(pilot.app.screen.query_one("#log").border_subtitle)
        await pilot.press("down", "r")
        await settle(pilot)
        assert any("import b is done: nothing is left" in one.message for one in pilot.app._notifications)
        assert len(store.all()) == 3


async def test_that_a_job_was_asked_to_stop_is_said_at_once(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, asked = threading.Event(), threading.Event()
    store = JobStore(EventLog(sample))

    def cancel(launcher: JobLauncher, given: str) -> Job:
        asked.set()
        go.wait()
        store.update(given, cancel_requested=1)
        return store.get(given)

    monkeypatch.setattr(JobLauncher, "cancel", cancel)
    async with open_app() as pilot:
        made = begun(store)
        await pilot.press("f9", "8")
        await until(pilot, lambda: bool(pilot.app.screen.query(JobsPane)))
        pane = pilot.app.screen.query_one(JobsPane)
        await until(pilot, lambda: pane.current is not None)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        try:
            await pilot.press("y")
            await until(pilot, asked.is_set)
            assert COLUMNS[0].cell(pane.jobs[0]) == ("■ stopping …", "warn")
        finally:
            go.set()
        await settle(pilot)
        # What was recorded says so, too, and to whoever looks from elsewhere.
        assert store.get(made).stopping
        assert COLUMNS[0].cell(pane.jobs[0]) == ("■ stopping …", "warn")
        told = str(pilot.app.screen.query_one("#log-head", Static).content)
        assert told.startswith("■ stopping …")
        assert "left" not in told
