"""Runs side by side on the screen, narrowed by metric and by slice; one key opens a case in the playground."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from llmops_tui.evaluation.columns.side_by_side import CaseAcross
from llmops_tui.workspace.layout import Workspace
from screens.evaluation.columns_screen import ColumnsScreen
from screens.playground.screen import PlaygroundScreen
from screens.widgets.table import Table
from tests.fakes import start_no_processes
from tests.screens.conftest import OpenApp, notices, settle, until
from tests.screens.test_evaluation import open_evaluation, pretend


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    start_no_processes(monkeypatch)


def shown(screen: ColumnsScreen) -> list[int]:
    rows: list[CaseAcross] = screen.table.shown
    return [row.case.index for row in rows]


def told(screen: ColumnsScreen, name: str) -> str:
    return str(screen.query_one(f"#columns-{name}", Static).content)


async def open_columns(pilot: Pilot[int]) -> ColumnsScreen:
    await pilot.press("C")
    await until(pilot, lambda: isinstance(pilot.app.screen, ColumnsScreen))
    screen = pilot.app.screen
    assert isinstance(screen, ColumnsScreen)
    await settle(pilot)
    return screen


async def test_runs_stand_side_by_side_and_a_case_is_opened_in_the_playground(
    open_app: OpenApp, sample: Workspace
) -> None:
    names = [pretend(sample, values) for values in ([1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0])]
    async with open_app(size=(150, 40)) as pilot:
        await open_evaluation(pilot)
        # Of one column alone there is nothing to put beside it.
        await pilot.press("C")
        await until(pilot, lambda: "is the only finished run of its suite" in notices(pilot))
        await pilot.press("space", "down", "space", "down", "space")
        await settle(pilot)
        screen = await open_columns(pilot)
        # On 2 and 3 the scores differ.
        assert shown(screen) == [2, 3, 0, 1]
        assert "4 cases of 4" in told(screen, "head")
        assert "2 disagree" in told(screen, "head")
        text = told(screen, "text")
        assert all(name in text for name in names)
        assert "question 2" in text
        assert "\x1b" not in text
        await pilot.press("f")
        await settle(pilot)
        assert shown(screen) == [2, 3]
        await pilot.press("slash", *"slices:odd", "enter")
        await settle(pilot)
        assert shown(screen) == [3]
        # Escape gives up the filter first.
        await pilot.press("escape")
        await settle(pilot)
        assert shown(screen) == [2, 3]
        await pilot.press("down")
        await settle(pilot)
        # The digit of a run opens the case as that run asked it.
        await pilot.press("2")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlaygroundScreen))
        playground = pilot.app.screen
        assert isinstance(playground, PlaygroundScreen)
        await until(pilot, lambda: playground.state.draft.variables.get("message", "").startswith("question 3"))
        assert playground.state.prompt == "triage"
        assert playground.state.model_name == "support-base"


@pytest.mark.slow
async def test_the_case_under_the_cursor_is_opened_in_the_playground(open_app: OpenApp, sample: Workspace) -> None:
    pretend(sample, [1.0, 0.0, 1.0])
    async with open_app() as pilot:
        screen = await open_evaluation(pilot)
        await until(pilot, lambda: screen.opened is not None)
        screen.query_one("#case-list", Table).focus()
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlaygroundScreen))
        playground = pilot.app.screen
        assert isinstance(playground, PlaygroundScreen)
        # The wrong one comes first.
        await until(pilot, lambda: playground.state.draft.variables.get("message", "").startswith("question 1"))
