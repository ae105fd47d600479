"""A workspace that was made to harm its user, opened with every screen and every action: nothing runs, is read or sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from llmops_tui.settings import Settings
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import distrust
from screens.actions import actions_of
from screens.app import SCREEN_KEYS, LlmopsApp
from screens.base import BaseScreen
from screens.widgets.panel import Panel
from tests.fakes import FakeModelServer
from tests.screens.conftest import PROFILE, FakeServices, settle, until
from tests.screens.hostile import CANARY, Watch, make_hostile, no_job_starts, seen_of, watched

# What ends the app; and what only goes to where the test goes by itself.
_NOT_TRIED = {"app.quit_app"}


class LocalServices(FakeServices):
    """The fake answers for models of this machine; one that is elsewhere is gone to as ever."""

    def ensure_server(self, model):  # type: ignore[no-untyped-def]
        if model.kind == "remote":
            return super(FakeServices, self).ensure_server(model)
        return self.fake.ensure(model)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with watched(tmp_path) as found:
        yield found


@pytest.fixture
def hostile(filled_once: Path, tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = make_hostile(filled_once, tmp_path, watch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("EDITOR", "true")
    watch.seen.clear()
    return made


async def calm(pilot: Pilot[int]) -> str:
    await settle(pilot)
    return seen_of(pilot)


async def close_all(pilot: Pilot[int]) -> None:
    """Leave whatever is open, saying no to all of it."""
    while not isinstance(pilot.app.screen, BaseScreen):
        seen_of(pilot)
        before = pilot.app.screen
        await pilot.press("down", "escape")
        await until(pilot, lambda before=before: pilot.app.screen is not before)  # type: ignore[misc]
    await settle(pilot)


async def try_everything(pilot: Pilot[int], name: str) -> None:
    """Every pane of a screen, some rows of it, and every action that the registry has for it."""
    app = pilot.app
    await app.switch_mode(name)
    await calm(pilot)
    screen = app.screen
    assert isinstance(screen, BaseScreen)
    for panel in screen.query(Panel):
        screen.reveal(panel)
        panel.focus_inside()
        for key in ("down", "down", "end", "up", "home"):
            await pilot.press(key)
            await calm(pilot)
    list(screen.query(Panel))[0].focus_inside()
    for action in actions_of(screen.scope, "app"):
        if action.id in _NOT_TRIED:
            continue
        await app.run_action(action.target, default_namespace=screen)
        await pilot.pause()
        seen_of(pilot)
        await close_all(pilot)
        if app.screen is not screen:
            await app.switch_mode(name)
            await calm(pilot)


def nothing_happened(workspace: Workspace, watch: Watch) -> None:
    assert watch.seen == []
    assert watch.connections == 0
    assert not watch.marker.exists()
    assert distrust(workspace)
    held = [p for p in workspace.root.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]
    assert held == []


@pytest.mark.parametrize("name", SCREEN_KEYS.values())
async def test_every_action_of_every_screen(
    hostile: Workspace, watch: Watch, server: FakeModelServer, name: str
) -> None:
    services = LocalServices(hostile, Settings())
    services.fake = server
    services.servers.find = lambda _name: None  # type: ignore[method-assign]
    app = LlmopsApp(hostile, profile=PROFILE, services=services)
    with no_job_starts():
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            await until(pilot, lambda: "untrusted" in seen_of(pilot))
            await try_everything(pilot, name)
            assert "untrusted" in seen_of(pilot)
        services.close()
    nothing_happened(hostile, watch)
