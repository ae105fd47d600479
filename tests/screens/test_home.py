"""The home screen: requests of other work as one, jobs in the order of their screen, and the room that panes have."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from textual.pilot import Pilot

from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.overview import Step
from llmops_tui.monitoring.recent_requests import RecentRequests
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.datasets.screen import DatasetsScreen
from screens.home.list_rendering import recent_rows
from screens.home.panes import RecentPane, RunningPane, TilePane, place_of
from screens.home.tile import READING
from screens.jobs.jobs_pane import JobsPane
from screens.traces.list_pane import TraceListPane
from screens.widgets.line_list import LineList
from screens.widgets.panel import Panel
from tests.screens.conftest import OpenApp, settle, until

WORK = json.dumps({"work": {"kind": "evaluation", "name": "triage-7", "prompt": "triage@3"}})


def asked(workspace: Workspace, own: int, of_work: int, ago: float = 30.0) -> None:
    """Requests of one's own, and newer ones of an evaluation."""

    def fill(connection: Any) -> None:
        for number in range(own + of_work):
            connection.execute(
                "INSERT INTO requests (id, started_at, model, output, finish_reason, total_ms, client) "
                "VALUES (?, ?, 'small', ?, 'stop', 9, ?)",
                [
                    f"run_{number}",
                    time.time() - ago + number / 1000,
                    f"answer {number}",
                    WORK if number >= own else None,
                ],
            )

    Catalog(workspace).write(fill)


def rows(pilot: Pilot[None], selector: str) -> list[str]:
    lines = pilot.app.screen.query_one(selector, LineList)
    return [lines.render_line(y).text.rstrip() for y in range(lines.size.height)]


async def at_home(pilot: Pilot[None]) -> None:
    await pilot.press("f9", "0")
    await until(pilot, lambda: bool(pilot.app.screen.query(RecentPane)))
    await until(pilot, lambda: pilot.app.screen.query_one("#tile-data", TilePane).tile.state != [(READING, "muted")])
    await settle(pilot)


async def test_requests_of_an_evaluation_are_one_line_below_ones_own_and_lead_to_their_list(
    open_app: OpenApp, sample: Workspace
) -> None:
    asked(sample, 2, 400)
    async with open_app(size=(200, 50)) as pilot:
        await at_home(pilot)
        shown = rows(pilot, "#recent-list")
        assert ["answer 1" in shown[1], "answer 0" in shown[2], "400 requests" in shown[3]] == [True] * 3
        assert "evaluation triage-7" in shown[3]
        assert not any(shown[4:])
        assert "2 requests" in "\n".join(rows(pilot, "#lines-serving"))
        assert "+400 by jobs" in "\n".join(rows(pilot, "#lines-serving"))
        await pilot.press("f9", "a", "G", "enter")
        await until(pilot, lambda: bool(pilot.app.screen.query(TraceListPane)))
        await settle(pilot)
        assert pilot.app.screen.query_one(TraceListPane).said == "work:triage-7"


def test_of_few_lines_ones_own_requests_have_most_and_other_work_one() -> None:
    recent = RecentRequests(["a", "b", "c", "d", "e"], ["x", "y", "z"])  # type: ignore[list-item]
    assert recent_rows(recent, 9) == ["a", "b", "c", "d", "e", "x", "y", "z"]
    assert recent_rows(recent, 6) == ["a", "b", "c", "x", "y", "z"]
    assert recent_rows(recent, 4) == recent_rows(recent, 1) == ["a", "b", "c", "x"]
    assert recent_rows(RecentRequests([], ["x", "y"]), 4) == ["x", "y"]  # type: ignore[list-item]


async def test_jobs_are_in_the_order_and_with_the_time_of_their_own_screen(
    open_app: OpenApp, sample: Workspace
) -> None:
    store = JobStore(EventLog(sample))
    for number, (began, ended) in enumerate(((100, 900), (200, 300), (400, 500))):
        made = store.add(kind="verify", title=f"verify {number}", spec={"entry": "", "arguments": {}})
        store.update(made.id, state="done", progress=1.0, started_at=float(began), finished_at=float(ended))
    async with open_app(size=(120, 40)) as pilot:
        await at_home(pilot)
        here = [job.title for job in pilot.app.screen.query_one(RunningPane).query_one("#home-job-list").rows]  # type: ignore[attr-defined]
        state = rows(pilot, "#home-job-list")[1].split()[:2]
        await pilot.press("f9", "8")
        await settle(pilot)
        jobs = pilot.app.screen.query_one(JobsPane)
        assert here == [job.title for job in jobs.jobs]
        assert state == rows(pilot, "#job-list")[1].split()[:2] == ["✓", "done"]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50), (60, 16)])
async def test_panes_are_as_high_as_what_they_say_and_none_covers_another(
    open_app: OpenApp, sample: Workspace, size: tuple[int, int]
) -> None:
    # In two quarters of an hour, so that there is a chart.
    asked(sample, 3, 0, ago=4000.0)
    Catalog(sample).write(
        lambda connection: connection.execute("UPDATE requests SET started_at = started_at + 2000 WHERE id = 'run_1'")
    )
    async with open_app(size=size) as pilot:
        await at_home(pilot)
        shown = [panel for panel in pilot.app.screen.query(Panel) if panel.region.area]
        for panel in shown:
            assert not any(panel.region.overlaps(other.region) for other in shown if other is not panel)
            assert panel.region.bottom <= size[1] - 2
        for pane in (RecentPane, RunningPane):
            found = pilot.app.screen.query_one(pane)
            assert not found.region.area or found.region.height <= found.lines + 2
        day = pilot.app.screen.query_one("#home-day")
        assert bool(day.region.area) == (size[1] >= 40)
        # Whatever its place, its key shows it.
        await pilot.press("f9", "h")
        await settle(pilot)
        assert day.region.area
        assert "now" in "\n".join(rows(pilot, "#day-lines"))


async def test_a_training_run_that_cannot_be_read_keeps_nothing_else_from_home(
    workspace: Workspace, open_app: OpenApp
) -> None:
    Catalog(workspace).write(
        lambda connection: connection.execute(
            "INSERT INTO training_runs (name, recipe, job, base_sha256, data, options, created_at) "
            "VALUES ('odd', '{}', 'job_1', 'small', '[]', '7', 1.0)"
        )
    )
    async with open_app() as pilot:
        await at_home(pilot)
        assert not [tile for tile in pilot.app.screen.query(TilePane) if tile.tile.state == [(READING, "muted")]]


async def test_rows_with_problems_lead_to_what_was_found(open_app: OpenApp) -> None:
    place = place_of(Step("triage@1: 9 rows with problems", "datasets", "triage@1"))
    async with open_app(size=(120, 40)) as pilot:
        pilot.app.open_place(place)  # type: ignore[attr-defined]
        await until(pilot, lambda: isinstance(pilot.app.screen, DatasetsScreen))
        await settle(pilot)
        focused = pilot.app.focused
        assert focused is not None
        assert "datasets-checks" in {node.id for node in focused.ancestors_with_self}
