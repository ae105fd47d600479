"""Going to things on other screens, and the way back."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

import pytest

from llmops_tui.jobs.store import JobStore
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.actions import SCREEN_KEYS
from screens.jobs.jobs_pane import JobsPane
from screens.navigation import (
    DatasetPlace,
    Destination,
    JobPlace,
    ModelInPlayground,
    ModelPlace,
    Navigation,
    PlaceScreen,
    PromptPlace,
    RunPlace,
    ScreenPlace,
    TracePlace,
)
from screens.shell.base import BaseScreen
from screens.traces.list_pane import TraceListPane
from screens.widgets.dialogs import LineDialog
from tests.fakes import start_no_processes
from tests.screens.conftest import OpenApp, notices, settle, until


def kinds(of: type[Destination] = Destination) -> list[type[Destination]]:
    return [kind for kind in of.__subclasses__() if kind is not ScreenPlace]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_the_screen_of_each_kind_of_thing_can_show_it(kind: type[Destination]) -> None:
    module = import_module(f"screens.{kind.mode}.screen")
    screens = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, BaseScreen) and one.__module__ == module.__name__
    ]
    assert len(screens) == 1
    assert kind in screens[0].opens


def test_each_screen_asks_for_what_it_can_show_itself() -> None:
    for name in SCREEN_KEYS.values():
        module = import_module(f"screens.{name}.screen")
        for one in vars(module).values():
            if isinstance(one, type) and issubclass(one, BaseScreen) and one.__module__ == module.__name__:
                assert all(kind.mode == name for kind in one.opens), name


async def test_one_comes_back_to_where_one_was_and_goes_forward_again(open_app: OpenApp, sample: Workspace) -> None:
    for number in range(3):
        EventLog(sample).append(
            "request",
            f"run_{number:08d}",
            {
                "started_at": time.time() - 100 + number,
                "model": "support-base",
                "messages": [],
                "output": "Here.",
                "finish_reason": "stop",
                "parameters": {},
                "total_ms": 1.0,
            },
        )
    async with open_app() as pilot:
        shell = pilot.app
        first = shell.screen.place()  # type: ignore[attr-defined]
        assert isinstance(first, PromptPlace)
        await pilot.press("f9", "7")
        await settle(pilot)
        listed = shell.screen.query_one(TraceListPane)
        await until(pilot, lambda: len(listed.lines) == 3)
        await pilot.press("down")
        await settle(pilot)
        inspected = listed.line
        assert inspected is not None
        shell.open_place(ModelPlace("support-base"))  # type: ignore[attr-defined]
        await until(pilot, lambda: shell.current_mode == "models")
        await settle(pilot)
        assert shell.screen.place() == ModelPlace("support-base")  # type: ignore[attr-defined]
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: shell.current_mode == "traces")
        await settle(pilot)
        assert shell.screen.place() == TracePlace(inspected.id)  # type: ignore[attr-defined]
        await pilot.press("alt+left")
        await until(pilot, lambda: shell.current_mode == "playground")
        await settle(pilot)
        assert shell.screen.place() == first  # type: ignore[attr-defined]
        # In an editor a bracket is a bracket.
        await pilot.press("alt+right")
        await until(pilot, lambda: shell.current_mode == "traces")
        await settle(pilot)
        await pilot.press("alt+right")
        await until(pilot, lambda: shell.current_mode == "models")
        await settle(pilot)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "no next place" in notices(pilot))


@pytest.mark.slow
async def test_a_model_is_used_in_the_playground_and_a_job_that_is_gone_is_no_trouble(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        shell = pilot.app
        shell.open_place(JobPlace("job_gone"))  # type: ignore[attr-defined]
        await until(pilot, lambda: shell.current_mode == "jobs")
        await settle(pilot)
        shell.open_place(ModelInPlayground("support-base-q4"))  # type: ignore[attr-defined]
        await until(pilot, lambda: shell.current_mode == "playground")
        await settle(pilot)
        assert shell.screen.place().model == "support-base-q4"  # type: ignore[attr-defined]


@pytest.mark.slow
async def test_what_one_goes_to_gets_the_cursor_on_a_screen_that_was_seen_before(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_no_processes(monkeypatch)
    jobs = JobStore(EventLog(sample))
    jobs_there = [JobPlace(jobs.add(kind="verify", title=f"verify {n}", spec={}).id) for n in range(2)]
    # Those that have no cursor of themselves.
    places = [jobs_there[0], RunPlace(pretend_runs(sample)[0]), ModelPlace("support-base-q4")]
    async with open_app() as pilot:
        shell = pilot.app
        # Twice: what is seen for the first time reads before it is gone to, what was seen before afterwards.
        for place in (*places, *places):
            shell.open_place(place)  # type: ignore[attr-defined]
            await until(pilot, lambda wanted=place: shell.current_mode == wanted.mode)  # type: ignore[misc]
            await until(pilot, lambda wanted=place: shell.screen.place() == wanted)  # type: ignore[misc]
            await pilot.press("f9", "0")
            await settle(pilot)


def pretend_runs(workspace: Workspace) -> list[str]:
    """Two runs that nothing works at."""
    store = RunStore(workspace)
    recipe = check({"name": "mine", "base": "support-base-hf", "data": ["triage"]})
    return [store.start(recipe).name for _ in range(2)]


@pytest.mark.slow
async def test_going_to_the_screen_one_is_on_is_no_step_on_the_way_back(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        shell = pilot.app
        for digit in "555":
            await pilot.press("f9", digit)
            await settle(pilot)
        assert shell.current_mode == "models"
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: shell.current_mode == "playground")


class SlowScreen(PlaceScreen):
    """A screen that shows what it was asked for when the test lets it."""

    opens = (JobPlace,)

    def __init__(self) -> None:
        self.shown = JobPlace("none")
        self.asked: list[Destination] = []

    def call_later(self, _callback: object, *given: Any, **_named: Any) -> bool:
        self.asked += given
        return True

    def place(self) -> Destination:
        return self.shown

    def show(self) -> None:
        self.shown = self.asked[-1]  # type: ignore[assignment]


class OneScreen:
    """An app with that screen."""

    current_mode = "jobs"

    def __init__(self) -> None:
        self.screen_stack = [SlowScreen()]

    async def switch_mode(self, mode: str) -> None:
        self.current_mode = mode


async def test_back_pressed_before_a_screen_shows_what_it_was_asked_for_forgets_no_place() -> None:
    app = OneScreen()
    (screen,) = app.screen_stack
    navigation = Navigation(app)  # type: ignore[arg-type]
    places = [JobPlace(name) for name in "abcd"]
    for place in places:
        await navigation.open(place)
        screen.show()
    assert await navigation.back()
    assert await navigation.back()
    assert screen.asked[-1] == places[1]
    screen.show()
    # The place between was never shown, and is where it was.
    assert await navigation.forward()
    assert screen.asked[-1] == places[2]
    assert await navigation.forward()
    assert screen.asked[-1] == places[3]
    screen.show()
    # Where somebody moved the cursor meanwhile, that is the place one leaves.
    screen.shown = JobPlace("moved")
    assert await navigation.back()
    screen.show()
    assert await navigation.forward()
    assert screen.asked[-1] == JobPlace("moved")


@pytest.mark.slow
async def test_back_pressed_twice_at_once_goes_back_twice(open_app: OpenApp, sample: Workspace) -> None:
    jobs = JobStore(EventLog(sample))
    first, second, third = (JobPlace(jobs.add(kind="verify", title=f"verify {n}", spec={}).id) for n in range(3))
    async with open_app() as pilot:
        shell = pilot.app
        for place in (first, ModelPlace("support-base"), second, third):
            shell.open_place(place)  # type: ignore[attr-defined]
            await until(pilot, lambda wanted=place: shell.screen.place() == wanted)  # type: ignore[misc]
            await settle(pilot)
        # The screen shows the place before only when it has read it; whoever goes on does not wait for that.
        navigation = shell.navigation  # type: ignore[attr-defined]
        for _ in range(2):
            assert await navigation.back()
        await until(pilot, lambda: shell.screen.place() == ModelPlace("support-base"))  # type: ignore[attr-defined]
        for _ in range(2):
            assert await navigation.forward()
        await until(pilot, lambda: shell.screen.place() == third)  # type: ignore[attr-defined]
        assert await navigation.back()
        await until(pilot, lambda: shell.screen.place() == second)  # type: ignore[attr-defined]
        for _ in range(2):
            assert await navigation.back()
        await until(pilot, lambda: shell.screen.place() == first)  # type: ignore[attr-defined]


async def test_what_goes_wrong_in_a_pane_is_told(open_app: OpenApp) -> None:
    async def denied() -> None:
        raise PermissionError(13, "Permission denied", "/x/y")

    async def a_fault() -> None:
        raise KeyError("x")

    async with open_app() as pilot:
        await pilot.press("f9", "8")
        await settle(pilot)
        pane = pilot.app.screen.query_one(JobsPane)
        pane.act("work", denied)
        await until(pilot, lambda: "/x/y: Permission denied" in notices(pilot))
        pilot.app.screen.act("work", a_fault)  # type: ignore[attr-defined]
        await until(pilot, lambda: "KeyError: 'x'" in notices(pilot))


@pytest.mark.slow
async def test_what_ends_behind_a_dialog_still_leads_somewhere(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        shell = pilot.app
        first = shell.screen.place()  # type: ignore[attr-defined]
        await pilot.press("f9", "5")
        await settle(pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(shell.screen, LineDialog))
        shell.open_place(ModelInPlayground("support-base-q4"))  # type: ignore[attr-defined]
        await until(pilot, lambda: shell.current_mode == "playground")
        await settle(pilot)
        await until(pilot, lambda: shell.screen.place().model == "support-base-q4")  # type: ignore[attr-defined]
        await pilot.press("alt+left", "escape")
        await until(pilot, lambda: shell.current_mode == "models")
        assert first.screen == "playground"


@pytest.mark.slow
async def test_a_version_of_a_dataset_is_a_place(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        shell = pilot.app
        for _ in range(2):
            for ref in ("triage-test@1", "triage@1"):
                shell.open_place(DatasetPlace(ref))  # type: ignore[attr-defined]
                await until(pilot, lambda ref=ref: shell.screen.place() == DatasetPlace(ref))  # type: ignore[misc,attr-defined]
                await settle(pilot)
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: shell.screen.place() == DatasetPlace("triage-test@1"))  # type: ignore[attr-defined]
