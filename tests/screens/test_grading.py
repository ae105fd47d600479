"""Grading on the screen: one key an answer, blind; two people on two screens of one workspace at once."""

from __future__ import annotations

import asyncio

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from llmops_tui.evaluation.grading.agreement import agreement_of
from llmops_tui.evaluation.grading.opening import grade_sheet
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.settings import Settings
from llmops_tui.workspace.layout import Workspace
from screens.evaluation.grade_screen import GradeScreen
from screens.widgets.dialogs import ChoiceDialog, LineDialog
from screens.widgets.table import Table
from tests.evaluation.test_grading import graded_run
from tests.fakes import start_no_processes
from tests.screens.conftest import OpenApp, notices, settle, until


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    start_no_processes(monkeypatch)


async def open_grading(pilot: Pilot[int], key: str = "h") -> GradeScreen:
    await pilot.press("f9", "4")
    await settle(pilot)
    await pilot.press(key)
    if key == "h":
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, GradeScreen))
    screen = pilot.app.screen
    assert isinstance(screen, GradeScreen)
    await until(pilot, lambda: screen.current is not None)
    return screen


def text(screen: GradeScreen, name: str = "text") -> str:
    return str(screen.query_one(f"#grade-{name}", Static).content)


async def test_one_key_grades_blind_and_shows_the_next(sample: Workspace, open_app: OpenApp) -> None:
    store = EvaluationStore(sample)
    name = graded_run(store, [1.0, 5.0, 3.0], "said \x1b[31m[b]")
    async with open_app(settings=Settings(grader="anna")) as pilot:
        screen = await open_grading(pilot)
        sheet = grade_sheet(store, [name], "anna")
        first = screen.current
        assert first == sheet.queue()[0]
        assert "said" in text(screen)
        assert "\x1b" not in text(screen)
        assert name not in text(screen) + text(screen, "head")
        await pilot.press("4")
        await until(pilot, lambda: screen.current not in {first, None})
        assert sheet.own() == {first: "4"}
        # What is not on the scale says nothing; z takes the word back and shows its item again.
        await pilot.press("9", "z")
        await until(pilot, lambda: screen.current == first)
        assert sheet.own() == {}
        await pilot.press("4")
        await until(pilot, lambda: screen.current not in {first, None})
        await pilot.press("space")
        await settle(pilot)
        while screen.current is not None:
            before = screen.current
            await pilot.press("2")
            await until(pilot, lambda: screen.current != before)  # noqa: B023
        assert sorted(sheet.own().values()) == ["2", "2", "4"]
        await pilot.press("a")
        await until(pilot, lambda: "judge · anna" in text(screen))
        await pilot.press("escape")
        await until(pilot, lambda: "Every answer is graded" in text(screen))
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("enter")
        await until(pilot, lambda: "graded@1: 3 answers graded" in notices(pilot))
        await pilot.press("e")
        await until(pilot, lambda: "is shown 3 graded answers" in notices(pilot))
        await pilot.press("escape")
        await settle(pilot)
        assert not isinstance(pilot.app.screen, GradeScreen)


@pytest.mark.slow
async def test_two_people_grade_fifty_cases_on_two_screens_at_once(sample: Workspace, open_app: OpenApp) -> None:
    store = EvaluationStore(sample)
    scores = [1.0 + i % 5 for i in range(50)]
    name = graded_run(store, scores)
    # Anna is the judge's opinion but on every tenth case, Ben one point lower where there is one.
    opinions = {
        "anna": [5 if i % 10 == 0 else 1 + i % 5 for i in range(50)],
        "ben": [max(1, i % 5) for i in range(50)],
    }

    async def person(who: str) -> None:
        items = grade_sheet(store, [name], who).items
        async with open_app(settings=Settings(grader=who)) as pilot:
            screen = await open_grading(pilot)
            while screen.current is not None:
                before = screen.current
                await pilot.press(str(opinions[who][items[before].result.case.index]))
                await until(pilot, lambda: screen.current != before)  # noqa: B023

    await asyncio.gather(*(asyncio.create_task(person(who)) for who in opinions))
    found = agreement_of(grade_sheet(store, [name], "anna"))
    assert found["graders"] == {"anna": 50, "ben": 50}
    for who, grades in opinions.items():
        sheet = grade_sheet(store, [name], who)
        assert {sheet.items[i].result.case.index: int(v) for i, v in sheet.own().items()} == dict(enumerate(grades))
    # By hand. Of ten in a row each grade 1 to 5 comes twice; the case 0 of ten is 5 for Anna and 1 for the judge. Both agree
    # on 45 of 50. Anna says 1 in 5 cases, 2 to 4 in 10, 5 in 15; the judge each in 10: by chance 10·(5+10+10+10+15)/2500 = 0.2.
    judge = found["judge"]["anna"]
    assert judge["kappa"] == pytest.approx((0.9 - 0.2) / (1 - 0.2))
    # Squares: 16 in 5 of 50 are 1.6 on average. By chance (a - b)² is the sum of the mean squares less twice the means.
    mean = (5 * 1 + 10 * (2 + 3 + 4) + 15 * 5) / 50
    square = (5 * 1 + 10 * (4 + 9 + 16) + 15 * 25) / 50
    chance = 11 + square - 2 * 3 * mean
    assert judge["kappa_quadratic"] == pytest.approx(1 - 1.6 / chance)
    # Ben: 1 on 0 and 1 of five, then 2, 3, 4: he agrees with the judge where it says 1.
    assert found["judge"]["ben"]["kappa"] == pytest.approx((0.2 - 0.2) / (1 - 0.2))
    assert found["judge"]["ben"]["kappa_quadratic"] == pytest.approx(
        1 - 0.8 / (11 + (20 * 1 + 10 * (4 + 9 + 16)) / 50 - 6 * 2.2)
    )


@pytest.mark.slow
async def test_before_a_run_votes_and_attacks_on_the_screen(sample: Workspace, open_app: OpenApp) -> None:
    store = EvaluationStore(sample)
    names = [graded_run(store, [1.0, 5.0, 3.0], said) for said in ("old", "new")]
    async with open_app(settings=Settings(grader="anna")) as pilot:
        await pilot.press("f9", "4")
        await settle(pilot)
        # The card is a view of the run; space makes it the baseline of the other.
        figures = pilot.app.screen.query_one("#figures-text", Static)
        for _ in range(6):
            await pilot.press("w")
        await settle(pilot)
        assert "energy" in str(figures.content)
        await pilot.press("space", "j")
        await settle(pilot)
        await pilot.press("v")
        await until(pilot, lambda: isinstance(pilot.app.screen, GradeScreen))
        screen = pilot.app.screen
        assert isinstance(screen, GradeScreen)
        await until(pilot, lambda: screen.current is not None)
        assert "── 2 ──" in text(screen)
        while screen.current is not None:
            before = screen.current
            await pilot.press("t")
            await until(pilot, lambda: screen.current != before)  # noqa: B023
        await pilot.press("a")
        await until(pilot, lambda: "3 votes (anna 3), 3 ties" in text(screen))
        assert all(name in text(screen) for name in names)
        await pilot.press("escape")
        await until(pilot, lambda: "Every pair is decided" in text(screen))
        await pilot.press("escape")
        await settle(pilot)
        await pilot.press("X")
        await until(pilot, lambda: "redteam@1 has the attacks" in notices(pilot))
        await pilot.press("K")
        await until(pilot, lambda: "no attack of" in notices(pilot))
        suites = pilot.app.screen.query_one("#suite-list", Table)
        suites.focus()
        suites.move_to(next(n for n, shown in enumerate(suites.shown) if "redteam" in str(shown)))
        await settle(pilot)
        await pilot.press("B")
        await settle(pilot)
        if isinstance(pilot.app.screen, ChoiceDialog):
            await pilot.press("enter")
        await until(
            pilot, lambda: "can show" in str(figures.content) or "none is one whose power" in str(figures.content)
        )
