"""The same keys go through every list, table and text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.widget import Widget
from textual.widgets import OptionList

from screens.actions import ACTIONS, SCREEN_KEYS
from screens.widgets.cursor_scroll import CursorScroll
from screens.widgets.line_list import LineList
from screens.widgets.motions import MOTION_KEYS, Options, TextMotions
from tests.screens.conftest import OpenApp, settle

# Written out, so that a list of Textual's own is noticed where somebody adds it.
LISTS = (CursorScroll, Options, TextMotions)


@pytest.mark.parametrize("key", MOTION_KEYS)
def test_no_action_takes_a_motion(key: str) -> None:
    assert not [action.id for action in ACTIONS if key in action.keys.split(",")]


@pytest.mark.slow
async def test_every_list_of_every_screen_has_the_motions(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        found = 0
        for name in SCREEN_KEYS.values():
            await pilot.app.run_action(f"app.go('{name}')")
            await settle(pilot)
            for widget in pilot.app.screen.query("*"):
                if not (isinstance(widget, (OptionList, *LISTS)) and widget.can_focus):
                    continue
                assert isinstance(widget, LISTS), f"{name}: {widget!r}"
                keys = widget._bindings.key_to_bindings
                assert set(MOTION_KEYS) <= set(keys), f"{name}: {widget!r}"
                found += 1
        assert found > 30


async def test_the_motions_move(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await pilot.app.run_action("app.go('playground')")
        await settle(pilot)
        options: Options = Options(*(str(number) for number in range(100)), id="many")
        lines = LineList(id="lines")
        options.styles.height = lines.styles.height = 10
        await pilot.app.screen.mount(options, lines)
        lines.show_lines([[(str(number), "plain")] for number in range(100)])
        options.highlighted = 0
        places: list[tuple[Widget, Callable[[], int | None]]] = [
            (options, lambda: options.highlighted),
            (lines, lambda: lines.cursor),
        ]
        for widget, place in places:
            widget.focus()
            await settle(pilot)
            seen = []
            for key in ("j", "k", "j", "ctrl+d", "G", "j", "ctrl+u", "k", "g", "k"):
                await pilot.press(key)
                seen.append(place())
            assert seen == [1, 0, 1, 6, 99, 99, 94, 93, 0, 0]
