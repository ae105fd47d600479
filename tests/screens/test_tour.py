"""The tour goes on by what is done, can be skipped and left, and is on whichever screen is in front."""

from __future__ import annotations

from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import Static

from screens.shell import tour
from tests.screens.conftest import OpenApp, notices, settle, until


def told(pilot: Pilot[int]) -> str:
    found = pilot.app.screen_stack[0].query("#tour")
    return str(found.first(Static).content) if found else ""


async def test_each_step_is_done_by_doing_it(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "Tour 1 of 8" in told(pilot))
        await pilot.press("f5")
        await until(pilot, lambda: "Tour 2 of 8" in told(pilot))
        await pilot.press("f9", "7")
        await until(pilot, lambda: "Tour 3 of 8" in told(pilot))
        await settle(pilot)
        # The lists have the rest of the room: nothing lies under the tour.
        assert pilot.app.screen.query_one("#body").region.bottom <= pilot.app.screen.query_one("#tour").region.y
        await pilot.press("s")
        await until(pilot, lambda: "Tour 4 of 8" in told(pilot))
        await pilot.press("ctrl+n", "ctrl+n")
        await until(pilot, lambda: "Tour 6 of 8" in told(pilot))
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "Tour 7 of 8" in told(pilot))
        # It is on the screen in front and on none that was visited.
        stacks = [stack[0] for stack in pilot.app._screen_stacks.values() if stack]
        assert [bool(screen.query("#tour")) for screen in stacks] == [
            screen is pilot.app.screen_stack[0] for screen in stacks
        ]
        await pilot.press("escape", "alt+q")
        await until(pilot, lambda: not told(pilot))
        assert "The tour is over" in notices(pilot)
        assert not any(screen.query("#tour") for screen in stacks)
        # One press too many on the last step does not begin it again.
        await pilot.press(*["ctrl+n"] * (len(tour.STEPS) + 2))
        await until(pilot, lambda: "That was the tour" in notices(pilot))
        assert not told(pilot)
        # A frame that comes while updates are held back is not written, and made up for as soon as they are not.
        await settle(pilot)
        assert not pilot.app.screen._repaint_required
        with pilot.app.batch_update():
            pilot.app._display(pilot.app.screen, Text())
        assert pilot.app.screen._repaint_required


def test_every_step_names_its_keys() -> None:
    assert all(step.text.endswith(".") and step.keys for step in tour.STEPS)
