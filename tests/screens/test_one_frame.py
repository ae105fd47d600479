"""A change of screen is seen at once: no part of the new screen is written between parts of the old one."""

from __future__ import annotations

import pytest
from rich.console import RenderableType
from textual._compositor import LayoutUpdate
from textual.screen import Screen

from screens.app import LlmopsApp
from tests.screens.conftest import DRAW, OpenApp, settle


@pytest.mark.parametrize("name", ["training", "models"])
async def test_the_first_frame_of_a_screen_that_comes_back_is_the_whole_of_it(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frames: list[tuple[str, RenderableType]] = []
    plain = LlmopsApp._display

    def display(app: LlmopsApp, screen: Screen[object], frame: RenderableType | None) -> None:
        if frame is not None and not app._batch_count:
            frames.append((getattr(screen, "scope", ""), frame))
        plain(app, screen, frame)

    async with open_app() as pilot:
        # All screens have been in front, and lists that were filled meanwhile are laid out when theirs is in front again.
        for other in (name, "playground"):
            await pilot.app.switch_mode(other)
            await settle(pilot)
        monkeypatch.setattr(Screen, "_compositor_refresh", DRAW)
        monkeypatch.setattr(LlmopsApp, "_display", display)
        await pilot.app.switch_mode(name)
        pilot.app.screen.refresh(layout=True)
        await settle(pilot)
        drawn = [frame for scope, frame in frames if scope == name]
        assert isinstance(drawn[0], LayoutUpdate)
        assert sum(isinstance(frame, LayoutUpdate) for frame in drawn) == 1
