from __future__ import annotations

import pytest

from screens.shell.base import BaseScreen
from screens.shell.help import HelpScreen
from screens.shell.key_line import KeyLine
from screens.shell.tab_line import TabLine
from tests.screens.conftest import OpenApp, settle


def shown(line: KeyLine) -> str:
    return line.render().plain.rstrip()


@pytest.mark.parametrize("width", [60, 80, pytest.param(120, marks=pytest.mark.slow)])
async def test_keys_are_whole_and_help_and_palette_are_always_among_them(open_app: OpenApp, width: int) -> None:
    async with open_app(size=(width, 24)) as pilot:
        line = pilot.app.screen.query_one(KeyLine)
        assert len(shown(line)) <= width
        assert shown(line).startswith("f5 Run  ")
        assert "f1 Help" in shown(line)
        assert "^p Palette" in shown(line)


@pytest.mark.slow
async def test_a_click_on_a_key_presses_it(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        line = pilot.app.screen.query_one(KeyLine)
        await pilot.click(line, offset=(shown(line).index("f1 Help") + 2, 0))
        await settle(pilot)
        assert isinstance(pilot.app.screen, HelpScreen)
        await pilot.press("escape")
        await pilot.click(line, offset=(shown(line).index("  f1 Help"), 0))
        await settle(pilot)
        assert isinstance(pilot.app.screen, BaseScreen)


@pytest.mark.slow
async def test_each_screen_has_its_own_keys(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        lines, tabs = set(), set()
        for digit in "0123456789":
            await pilot.press("f9", digit)
            await settle(pilot)
            lines.add(shown(pilot.app.screen.query_one(KeyLine)))
            tabs.add(pilot.app.screen.query_one(TabLine).render().plain)
        assert len(lines) == 10
        # What is the same everywhere stays where it is, and so do all tabs: a change of screen need not write them.
        ends = {line[line.index("^q Quit") :] for line in lines}
        assert len({len(line) for line in lines}) == len(ends) == len(tabs) == 1
