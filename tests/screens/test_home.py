"""The home screen: requests of other work as one, jobs in the order of their screen, and the room that panes have."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from textual.pilot import Pilot

from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.courses import Courses
from llmops_tui.monitoring.overview import Overview, Score, Step
from llmops_tui.monitoring.recent_requests import RecentRequests, WorkRequests
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.datasets.screen import DatasetsScreen
from screens.home.list_rendering import day_lines, recent_rows
from screens.home.panes import RecentPane, RunningPane, TilePane, place_of
from screens.home.rendering import tiles
from screens.home.tile import READING
from screens.jobs.jobs_pane import JobsPane
from screens.traces.list_pane import TraceListPane
from screens.widgets.line_list import Line, LineList
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


async def test_requests_of_an_evaluation_are_one_line_by_the_time_of_the_last_and_lead_to_their_list(
    open_app: OpenApp, sample: Workspace
) -> None:
    asked(sample, 2, 400)
    async with open_app(size=(200, 50)) as pilot:
        await at_home(pilot)
        shown = rows(pilot, "#recent-list")
        assert ["400 requests" in shown[1], "answer 1" in shown[2], "answer 0" in shown[3]] == [True] * 3
        assert "evaluation triage-7" in shown[1]
        assert not any(shown[4:])
        assert "2 requests" in "\n".join(rows(pilot, "#lines-serving"))
        assert "+400 by jobs" in "\n".join(rows(pilot, "#lines-serving"))
        await pilot.press("f9", "a", "g", "enter")
        await until(pilot, lambda: bool(pilot.app.screen.query(TraceListPane)))
        await settle(pilot)
        assert pilot.app.screen.query_one(TraceListPane).said == "work:triage-7"


def test_of_few_lines_ones_own_requests_have_most_and_other_work_one() -> None:
    def work(name: str, at: float) -> WorkRequests:
        return WorkRequests("evaluation", name, "", 9, 0, at)

    # A row is known by its name and time here, whichever kind it is.
    own = [work(name, at) for name, at in (("a", 9), ("b", 7), ("c", 5), ("d", 3), ("e", 1))]
    recent = RecentRequests(own, [work("x", 8), work("y", 6), work("z", 0)])  # type: ignore[arg-type]

    def shown(room: int) -> str:
        return "".join(row.name for row in recent_rows(recent, room) if isinstance(row, WorkRequests))

    assert shown(9) == "axbycdez"
    assert shown(6) == "axbycz"
    assert shown(4) == shown(1) == "axbc"


def test_of_a_change_that_may_be_chance_nothing_is_coloured() -> None:
    def told(verdict: str, suite: str = "s") -> Line:
        score = Score("s-2", suite, "exact", 1.0, None, None, 12, 1, 0.58, "s-1", verdict)
        return tiles(Overview(scores=[score]), None, Courses(), (), utf8=True)["evaluation"].state

    assert told("better")[-1] == ("  ▲0.42", "good")
    assert told("worse")[-1][1] == "bad"
    assert told("unclear")[-1] == ("  ▲0.42 unclear", "muted")
    assert told("")[-1] == ("  ▲0.42", "muted")
    # A suite that is called as its metric is told once.
    assert "".join(text for text, _ in told("better", "exact")) == "exact 1.00  ▲0.42"


def test_no_requests_have_no_bar_and_one_of_many_has_the_least() -> None:
    courses = Courses(traffic=(32.0, 0.0, 1.0, 0.0), latency=(5.0, math.nan, 5.0, math.nan), span=3600.0)
    lines = ["".join(text for text, _ in line) for line in day_lines(courses, 24, 5, utf8=True)]
    requests = next(line for line in lines if "requests" in line)[9:]
    assert set(requests.split()) == {"███", "▁▁▁"}
    assert "─ now" in lines[-1]


async def test_jobs_are_in_the_order_and_with_the_time_of_their_own_screen(
    open_app: OpenApp, sample: Workspace
) -> None:
    store = JobStore(EventLog(sample))
    for number, (began, ended) in enumerate(((100, 900), (200, 300), (400, 500))):
        made = store.add(kind="verify", title=f"verify {number}", spec={"entry": "", "arguments": {}})
        store.update(made.id, state="done", progress=1.0, started_at=float(began), finished_at=float(ended))
    made = store.add(kind="train", title="train r-1", spec={"entry": "", "arguments": {}})
    store.update(made.id, state="cancelled", started_at=10.0, finished_at=20.0)
    async with open_app(size=(120, 40)) as pilot:
        await at_home(pilot)
        here = [job.title for job in pilot.app.screen.query_one(RunningPane).query_one("#home-job-list").rows]  # type: ignore[attr-defined]
        words = [" ".join(row.split()[:2]) for row in rows(pilot, "#home-job-list")[1:5]]
        # A run that somebody ended is called so everywhere, as on its own screen.
        assert sorted(words) == ["■ stopped", "✓ done", "✓ done", "✓ done"]
        await pilot.press("f9", "8")
        await settle(pilot)
        jobs = pilot.app.screen.query_one(JobsPane)
        assert here == [job.title for job in jobs.jobs]
        assert words == [" ".join(row.split()[:2]) for row in rows(pilot, "#job-list")[1:5]]


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
            both = max(one.lines for one in pilot.app.screen.query("RecentPane, RunningPane"))  # type: ignore[attr-defined]
            assert not found.region.area or found.region.height <= both + 2
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
