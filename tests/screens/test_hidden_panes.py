from __future__ import annotations

import pytest
from textual.widgets import Static

from screens.actions import SCREEN_KEYS
from screens.shell.hidden_panes import UNUSED, hidden_panes, is_seen
from screens.shell.status_line import Status, StatusLine
from screens.widgets.panel import Panel
from tests.representatives import representatives
from tests.screens.conftest import OpenApp, settle, until


def mark(app: object) -> str:
    return str(app.screen.query_one("#status-more", Static).content)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", representatives(sorted(set(SCREEN_KEYS.values())), 2))
async def test_what_has_no_place_on_a_small_terminal_is_named_with_the_key_by_which_it_comes(
    open_app: OpenApp, name: str
) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await pilot.app.switch_mode(name)
        await settle(pilot)
        hidden = hidden_panes(pilot.app.screen)
        said = mark(pilot.app)
        assert ("f9" in said) == bool(hidden), said
        if "not shown" in said:
            assert all(f"{panel.jump_key} {panel.title}" in said for panel in hidden)
        elif hidden:
            assert str(len(hidden)) in said


async def test_the_mark_goes_when_the_panes_come(open_app: OpenApp) -> None:
    # Narrow, and with room for all names whatever else the line tells.
    async with open_app(size=(99, 24)) as pilot:
        await settle(pilot)
        assert "v Versions" in mark(pilot.app)
        await pilot.press("f9", "v")
        await settle(pilot)
        assert pilot.app.screen.query_one("#playground-versions", Panel).region.area
        assert "v Versions" not in mark(pilot.app)
        await pilot.press("f11")
        await settle(pilot)
        # Now one pane fills the terminal, and another key shows the others.
        assert "F" in mark(pilot.app)
        await pilot.press("f11")
        await pilot.resize_terminal(200, 50)
        await settle(pilot)
        assert mark(pilot.app) == ""


@pytest.mark.parametrize(
    "title", ["", "train 6%", "train triage-qlora-1 66%", "train a-recipe-with-a-longer-name-1 66%"]
)
async def test_a_job_at_work_leaves_room_for_the_mark(open_app: OpenApp, title: str) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await settle(pilot)
        line = pilot.app.screen.query_one(StatusLine)
        line.show(Status("llmops-demo", model="support-base", cpu=(100.0,) * 5, jobs=1, job_title=title))
        await settle(pilot)
        assert mark(pilot.app).endswith(" f9")
        assert line.query_one("#status-more").region.width >= len(mark(pilot.app))


async def test_what_has_nothing_to_show_is_not_missed(open_app: OpenApp) -> None:
    async with open_app(size=(200, 50)) as pilot:
        await pilot.press("f9", "0")
        await settle(pilot)
        await until(pilot, lambda: pilot.app.screen.query_one("#home-day").has_class(UNUSED))
        await settle(pilot)
        assert not pilot.app.screen.query_one("#home-day").region.area
        assert mark(pilot.app) == ""
        # Whoever jumps there sees it all the same.
        await pilot.press("f9", "h")
        await settle(pilot)
        assert pilot.app.screen.query_one("#home-day").region.area


async def test_a_pane_behind_the_end_of_its_column_is_told(open_app: OpenApp) -> None:
    async with open_app(size=(200, 50)) as pilot:
        await pilot.app.switch_mode("chains")
        await settle(pilot)
        steps = pilot.app.screen.query_one("#chains-steps", Panel)
        assert is_seen(steps)
        pilot.app.screen.query_one("#chains-list", Panel).styles.min_height = 60
        await settle(pilot)
        assert steps.region.area
        assert hidden_panes(pilot.app.screen) == [pilot.app.screen.query_one("#chains-runs", Panel), steps]


@pytest.mark.parametrize(("name", "pane"), [("training", "training-recipes"), ("chains", "chains-steps")])
async def test_the_pane_with_the_focus_is_seen_in_another_size(open_app: OpenApp, name: str, pane: str) -> None:
    async with open_app(size=(120, 40)) as pilot:
        await pilot.app.switch_mode(name)
        await settle(pilot)
        panel = pilot.app.screen.query_one(f"#{pane}", Panel)
        panel.focus_inside()
        await settle(pilot)
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert panel.has_focus_within
        assert is_seen(panel)
