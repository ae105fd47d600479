"""A change of screen is seen at once: no part of the new screen is written between parts of the old one."""

from __future__ import annotations

import pytest
from rich.console import RenderableType
from textual._compositor import LayoutUpdate
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.screen import Screen

from screens.app import LlmopsApp
from tests.screens.conftest import DRAW, PAUSE, OpenApp, settle, until


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
        # As the app draws: by its clock, and not where a test waits.
        monkeypatch.setattr(Screen, "_compositor_refresh", DRAW)
        monkeypatch.setattr(Pilot, "pause", PAUSE)
        monkeypatch.setattr(LlmopsApp, "_display", display)
        await pilot.app.switch_mode(name)
        pilot.app.screen.refresh(layout=True)
        await until(pilot, lambda: any(scope == name for scope, _ in frames))
        await settle(pilot)
        drawn = [frame for scope, frame in frames if scope == name]
        assert isinstance(drawn[0], LayoutUpdate)
        assert sum(isinstance(frame, LayoutUpdate) for frame in drawn) == 1


async def test_a_screen_that_comes_back_is_styled_anew_only_where_the_app_changed(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        app = pilot.app
        styled: list[DOMNode] = []
        plain = app.update_styles

        def update_styles(node: DOMNode, animate: bool = True) -> None:
            styled.append(node)
            plain(node, animate)

        app.update_styles = update_styles  # type: ignore[method-assign]
        for name in ("jobs", "playground", "jobs"):
            await app.switch_mode(name)
            await settle(pilot)
        jobs = app.screen
        await app.switch_mode("playground")
        await settle(pilot)
        styled.clear()
        await app.switch_mode("jobs")
        await settle(pilot)
        assert jobs not in styled
        # The theme is changed, and back again, while others are in front; and one that stays.
        before = jobs.query_one("#job-list").rich_style
        for theme in ("llmops-light", "llmops-dark", "llmops-light"):
            await app.switch_mode("playground")
            app.theme = theme
            await settle(pilot)
            styled.clear()
            await app.switch_mode("jobs")
            await settle(pilot)
            assert jobs in styled, theme
        after = jobs.query_one("#job-list").rich_style
        assert before.bgcolor != after.bgcolor
        assert after.bgcolor == app.screen.query_one("#log-text").rich_style.bgcolor
