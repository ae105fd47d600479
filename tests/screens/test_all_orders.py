"""From every screen to every other: the terminal shows what the app has drawn, and little is written for it."""

from __future__ import annotations

import asyncio
import itertools

import pyte
import pytest
from rich.console import RenderableType
from textual._compositor import CompositorUpdate
from textual.screen import Screen

from llmops_tui.settings import Settings
from llmops_tui.workspace.layout import Workspace
from screens.actions import SCREEN_KEYS
from screens.app import LlmopsApp
from screens.shell.status_feed import StatusFeed
from screens.terminal_pen import REPEATS_ANSWER
from tests.emulated import EmulatedScreen, EmulatedStream
from tests.fakes import FakeModelServer
from tests.screens.conftest import PROFILE, FakeServices, settle

SIZE = (120, 40)
DIGITS = "0123456789"
# The goal, and what the rows of datasets take beside it.
MOST, MOST_OF_ROWS = 3000, 4500


class Shown:
    """What a terminal shows of what was written to it."""

    def __init__(self) -> None:
        self.screen = EmulatedScreen(*SIZE)
        self.screen.reset_mode(pyte.modes.DECAWM)
        self.stream = EmulatedStream(self.screen)

    def cells(self) -> list[tuple[object, ...]]:
        out: list[tuple[object, ...]] = []
        for y in range(SIZE[1]):
            for x in range(SIZE[0]):
                char = self.screen.buffer[y][x]
                front, back, turned = char.fg, char.bg, char.reverse
                if turned and "default" not in {front, back}:
                    front, back, turned = back, front, False
                seen = char.underscore, turned, char.strikethrough
                ink = (front, char.bold, char.italics) if char.data.strip() or any(seen) else ()
                out.append((char.data, back, seen, ink))
        return out


def differing(shown: Shown, app: LlmopsApp) -> list[tuple[object, ...]]:
    """The cells that the terminal shows in another way than the app has them, each with both."""
    whole, compositor = Shown(), app.screen._compositor
    to_be_drawn = set(compositor._dirty_regions)
    whole.stream.feed(compositor.render_full_update().render_segments(app.console))
    compositor._dirty_regions |= to_be_drawn
    both = enumerate(zip(shown.cells(), whole.cells(), strict=True))
    return [(divmod(at, SIZE[0]), *cells) for at, cells in both if cells[0] != cells[1]]


def all_orders() -> str:
    """A way through all screens on which each follows each other one once."""
    left = {one: [other for other in DIGITS if other != one] for one in DIGITS}
    way, found = ["1"], []
    while way:
        if left[way[-1]]:
            way.append(left[way[-1]].pop())
        else:
            found.append(way.pop())
    return "".join(reversed(found))


@pytest.mark.slow
@pytest.mark.parametrize("ascii_alone", [False, True])
async def test_after_each_change_of_screen_the_terminal_shows_what_was_drawn(
    sample: Workspace, server: FakeModelServer, monkeypatch: pytest.MonkeyPatch, ascii_alone: bool
) -> None:
    async def nothing(_self: StatusFeed) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(StatusFeed, "run", nothing)
    shown, written = Shown(), [0]
    shown.screen.ascii_alone = ascii_alone
    plain = LlmopsApp._display

    def display(app: LlmopsApp, screen: Screen[object], frame: RenderableType | None) -> None:
        if isinstance(frame, CompositorUpdate) and not app._batch_count:
            text = app._delta.render(frame, app.console)
            shown.stream.feed(text)
            written[-1] += len(text.encode())
        else:
            plain(app, screen, frame)

    monkeypatch.setattr(LlmopsApp, "_display", display)
    services = FakeServices(sample, Settings(theme="llmops-dark"))
    services.fake = server
    services.servers.find = lambda _name: None  # type: ignore[method-assign]
    app = LlmopsApp(sample, theme="llmops-dark", profile=PROFILE, services=services)
    if not ascii_alone:
        app._delta.answered(*REPEATS_ANSWER)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        way = all_orders()
        assert len(way) == len(DIGITS) * (len(DIGITS) - 1) + 1
        # Once to make them all.
        for digit in DIGITS + way[0]:
            await app.run_action(f"app.go('{SCREEN_KEYS[digit]}')")
            await settle(pilot)
        for before, digit in itertools.pairwise(way):
            written.append(0)
            await app.run_action(f"app.go('{SCREEN_KEYS[digit]}')")
            await settle(pilot)
            # A frame may still be on its way; one that was written wrongly stays so.
            for _ in range(40):
                if not (torn := differing(shown, app)):
                    break
                await pilot.pause(0.05)
            assert torn[:3] == [], f"from {before} to {digit}"
            if not ascii_alone and digit != "6":
                # A monitor writes figures that are new meanwhile, too.
                assert written[-1] <= (MOST_OF_ROWS if digit == "2" else MOST), f"from {before} to {digit}"
    services.close()
