"""A workspace that was made to harm its user, opened with every screen and every action: nothing runs, is read or sent."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from llmops_tui.child_python import module_command
from llmops_tui.settings import Settings
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import untrusted_reason
from screens.actions import SCREEN_KEYS, actions_of
from screens.app import LlmopsApp
from screens.shell.base import BaseScreen
from screens.widgets.panel import Panel
from tests.fakes import FakeModelServer
from tests.screens.conftest import PROFILE, FakeServices, note_asking, settle, until
from tests.screens.hostile import (
    ACTING,
    CANARY,
    ESCAPING,
    FORBIDDEN,
    Watch,
    make_hostile,
    no_job_starts,
    seen_of,
    watched,
)
from tests.waiting import wait_for

# What ends the app; and what only goes to where the test goes by itself.
_NOT_TRIED = {"app.quit_app", *(f"app.screen_{digit}" for digit in SCREEN_KEYS)}
_BAD = ACTING + ESCAPING
# Commands that look, those that would ask a model of the maker's, and those that are given the maker's names.
COMMANDS = (
    ("check",), ("data", "list"), ("prompt", "list"), ("model", "list"), ("job", "list"), ("traces", "list"), ("eval", "list"),
    ("train", "list"), ("train", "recipes"), ("sql", "SELECT 1"), ("monitor", "alerts"), ("monitor", "--once"), ("gc",), ("doctor",),
    ("trust",), ("backup", "OUT"), ("model", "show", "helpful"), ("model", "show", "elsewhere"), ("model", "verify", "elsewhere"),
    ("model", "estimate", "elsewhere"), ("model", "show", _BAD), ("data", "head", _BAD), ("data", "log", _BAD),
    ("prompt", "show", _BAD), ("prompt", "show", "support"), ("prompt", "run", "support", "--model", "helpful"),
    ("generate", "--model", "helpful", "--prompt", "hi"), ("embed", "--model", "helpful", "--text", "hi"), ("lineage", "model:helpful"),
)  # fmt: skip
# Where nothing is shown that somebody else wrote.
_OURS_ALONE = {"settings"}


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
    """Leave whatever is open or comes up, saying no to all of it."""
    await settle(pilot)
    while not isinstance(pilot.app.screen, BaseScreen):
        seen_of(pilot)
        before = pilot.app.screen
        await pilot.press("down", "escape")
        await until(pilot, lambda before=before: pilot.app.screen is not before)  # type: ignore[misc]
        await settle(pilot)


async def try_everything(pilot: Pilot[int], name: str) -> str:
    """Every pane of a screen, some rows of it, and every action that the registry has for it; all that was shown."""
    app, shown = pilot.app, []
    await app.switch_mode(name)
    await calm(pilot)
    screen = app.screen
    assert isinstance(screen, BaseScreen)
    for panel in screen.query(Panel):
        screen.reveal(panel)
        panel.focus_inside()
        for key in ("down", "down", "end", "up", "home"):
            await pilot.press(key)
            shown.append(await calm(pilot))
    screen.query(Panel).first().focus_inside()
    for action in actions_of(screen.scope, "app"):
        if action.id in _NOT_TRIED:
            continue
        await app.run_action(action.target, default_namespace=screen)
        await pilot.pause()
        shown.append(seen_of(pilot))
        await close_all(pilot)
        if app.screen is not screen:
            await app.switch_mode(name)
            await calm(pilot)
    return "\n".join(shown)


def nothing_happened(workspace: Workspace, watch: Watch) -> None:
    assert watch.seen == []
    assert watch.connections == 0
    assert not watch.marker.exists()
    assert untrusted_reason(workspace)
    held = [p for p in workspace.root.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]
    assert held == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SCREEN_KEYS.values())
async def test_every_action_of_every_screen(
    hostile: Workspace, watch: Watch, server: FakeModelServer, name: str
) -> None:
    services = LocalServices(hostile, Settings())
    services.fake = server
    services.servers.find = lambda _name: None  # type: ignore[method-assign]
    app = LlmopsApp(hostile, profile=PROFILE, services=services)
    note_asking(app)
    with no_job_starts():
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            await until(pilot, lambda: "untrusted" in seen_of(pilot))
            shown = await try_everything(pilot, name)
            assert "untrusted" in seen_of(pilot)
            assert "PWN" in shown or name in _OURS_ALONE
        services.close()
    nothing_happened(hostile, watch)


def test_the_watch_sees_what_it_is_there_to_see(watch: Watch) -> None:
    assert (watch.victim / "secret.txt").read_text() == CANARY
    with socket.create_connection(("127.0.0.1", watch.port)):
        wait_for(lambda: watch.connections == 1)
    assert len(watch.seen) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command(hostile: Workspace, watch: Watch, tmp_path: Path) -> None:
    """What they say has no escape in it and nothing of the victim's, and each ends in its own time."""
    for arguments in COMMANDS:
        given = [str(tmp_path / "out.tar") if word == "OUT" else word for word in arguments]
        done = subprocess.run(
            module_command("llmops_tui", "--workspace", str(hostile.root), *given),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        said = done.stdout + done.stderr
        assert done.returncode in {0, 1, 3}, (arguments, said)
        assert "Traceback" not in said, arguments
        assert CANARY not in said, arguments
        assert not set(said) & FORBIDDEN, arguments
    nothing_happened(hostile, watch)
