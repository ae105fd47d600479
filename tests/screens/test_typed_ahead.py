"""Keys that come in one packet, faster than screens are opened."""

from __future__ import annotations

import unicodedata

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from screens.actions import SCREEN_KEYS
from screens.playground.prompts_pane import PromptList
from screens.shell.base import BaseScreen
from screens.shell.help import HelpScreen
from tests.representatives import representatives
from tests.screens.conftest import OpenApp, settle


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
