"""An answer on its way is a run among the others, and what it came to can be copied, also where that is an error."""

from __future__ import annotations

import pytest

from llmops_tui.errors import LlmopsError
from screens.playground.answer_pane import AnswerPane
from screens.playground.runs_pane import RunList, RunsPane
from screens.shell.copy_menu import Copier
from screens.shell.jump import JumpScreen
from tests.fakes import FailingEnsure, FakeModelServer
from tests.screens.conftest import OpenApp, settle, until


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was copied, by name: no clipboard of this machine is written."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(Copier, "_put", lambda _self, name, text: found.append((name, text)))
    return found


async def test_a_run_that_goes_on_is_the_first_of_the_runs(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app() as pilot:
        screen = pilot.app.screen
        runs, pane = screen.query_one(RunList), screen.query_one(RunsPane)
        server.gated = True
        await pilot.press("f5")
        server.release(1)
        await until(pilot, lambda: screen.query_one(AnswerPane).text == "Hel")
        assert [run.output for run in runs.rows] == [""]
        assert "@2 · 1" in str(pane.border_title)
        server.release(3)
        await settle(pilot)
        await until(pilot, lambda: [run.output for run in runs.rows] == ["Hello world."])
        assert "@2 · 1" in str(pane.border_title)
        server.gated = False
        await pilot.press("f5")
        await settle(pilot)
        await until(pilot, lambda: runs.count == 2)
        # Whoever does not go through the runs has the cursor on the newest.
        assert runs.current is not None
        assert runs.current.id == screen.query_one(AnswerPane).run.id  # type: ignore[union-attr]
        assert len({run.id for run in runs.rows}) == 2


async def test_two_keys_copy_the_answer_from_an_editor(
    open_app: OpenApp, server: FakeModelServer, copied: list[tuple[str, str]]
) -> None:
    async with open_app() as pilot:
        await pilot.press("f5")
        await settle(pilot)
        await pilot.press("f9")
        await until(pilot, lambda: isinstance(pilot.app.screen, JumpScreen))
        assert "y  Copy answer" in pilot.app.screen.query_one("#jump-screens").render().plain  # type: ignore[union-attr]
        await pilot.press("y")
        await settle(pilot)
        assert copied == [("answer", "Hello world.")]


async def test_an_error_in_place_of_an_answer_is_what_is_copied(
    open_app: OpenApp, copied: list[tuple[str, str]]
) -> None:
    async with open_app() as pilot:
        error = LlmopsError("model_load_failed", "there is no memory", "Unload another model")
        pilot.app.services.runner._ensure = FailingEnsure(error)  # type: ignore[attr-defined]
        await pilot.press("f5")
        await settle(pilot)
        await pilot.press("alt+y")
        await settle(pilot)
        assert copied == [("error", "there is no memory. Unload another model")]
