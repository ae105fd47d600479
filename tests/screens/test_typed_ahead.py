"""Keys that come in one packet, faster than screens are opened."""

from __future__ import annotations

import threading
import unicodedata

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from screens.actions import SCREEN_KEYS
from screens.evaluation.screen import EvaluationScreen
from screens.playground.prompts_pane import PromptList
from screens.shell.base import BaseScreen
from screens.shell.help import HelpScreen
from screens.widgets.dialogs import ChoiceDialog, LineDialog
from tests.representatives import representatives
from tests.screens.conftest import OpenApp, notices, settle, until


def type_at_once(pilot: Pilot[int], *keys: str) -> None:
    """What a terminal sends in one packet: all keys are there before the first is handled."""
    for key in keys:
        name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
        character = key if len(key) == 1 and unicodedata.category(key) != "Cc" else None
        event = events.Key(name, character)
        event.set_sender(pilot.app)
        pilot.app.post_message(event)


@pytest.mark.parametrize("digit", representatives(["0", "2", "5", "7", "8"], "2", "8"))
async def test_keys_after_a_jump_to_a_screen_are_for_that_screen(open_app: OpenApp, digit: str) -> None:
    async with open_app(size=(80, 24)) as pilot:
        type_at_once(pilot, "f9", digit, "f1")
        await settle(pilot)
        assert pilot.app.current_mode == SCREEN_KEYS[digit]
        assert isinstance(pilot.app.screen, HelpScreen)


async def test_keys_after_a_jump_to_a_pane_go_to_that_pane(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        prompts = pilot.app.screen.query_one("#prompt-list", PromptList)
        before = prompts.cursor
        type_at_once(pilot, "f9", "p", "home", "down", "down")
        await settle(pilot)
        assert pilot.app.focused is prompts
        assert (before, prompts.cursor) == (before, 2)


async def test_a_cursor_moves_in_rows_that_were_still_being_read(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        type_at_once(pilot, "f9", "2", "f9", "r", "down", "down", "down")
        await settle(pilot)
        focused = pilot.app.focused
        assert focused is not None
        assert getattr(focused, "cursor_row", getattr(focused, "cursor", None)) == 3


@pytest.mark.slow
async def test_screen_after_screen_ends_on_the_last(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        type_at_once(pilot, "f9", "8", "2", "5", "7", "0")
        await settle(pilot)
        assert pilot.app.current_mode == "home"
        assert isinstance(pilot.app.screen, BaseScreen)


async def test_text_is_written_in_its_order(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        type_at_once(pilot, "f9", "s", *"abc def ")
        pilot.app.post_message(events.Paste("pasted"))
        type_at_once(pilot, *" ghi")
        await settle(pilot)
        assert getattr(pilot.app.focused, "text", "").startswith("abc def pasted ghi")


@pytest.mark.slow
async def test_keys_behind_one_that_reads_before_its_dialog_are_for_that_dialog(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as pilot:
        await pilot.press("f9", "4")
        await settle(pilot)
        screen, gate = pilot.app.screen, threading.Event()
        assert isinstance(screen, EvaluationScreen)
        models, read = screen.services.models, screen.services.models.runnable

        def slowly() -> object:
            gate.wait()
            return read()

        monkeypatch.setattr(models, "runnable", slowly)
        # Enter on the list of suites begins it by a message of the list, and F5 by itself: the same holds for both.
        for begins in (["f9", "s", "enter"], ["f5"]):
            type_at_once(pilot, *begins, "n", "o", "n", "e", "enter", "escape")
            await pilot.pause(0.1)
            assert pilot.app.screen is screen
            gate.set()
            # What was typed narrowed the choice to nothing, which enter does not take.
            await settle(pilot)
            await until(pilot, lambda: pilot.app.screen is screen)
            gate.clear()
        gate.set()
        assert "started" not in notices(pilot)
        assert not screen.model.runs


@pytest.mark.slow
async def test_the_second_dialog_of_a_flow_gets_what_was_typed_behind_the_first(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await pilot.press("f9", "2")
        await settle(pilot)
        seen: list[str] = []

        def note(dialog: object) -> None:
            if isinstance(dialog, ChoiceDialog | LineDialog):
                seen.append(type(dialog).__name__)

        pilot.app.screen_change_signal.subscribe(pilot.app, note, immediate=True)
        type_at_once(pilot, "o", *"sample", "enter", *"3 7", "enter")
        await until(pilot, lambda: "triage@2" in notices(pilot))
        assert seen == ["ChoiceDialog", "LineDialog"]
        assert "3 rows" in notices(pilot)
