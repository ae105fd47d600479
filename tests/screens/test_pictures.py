from __future__ import annotations

import asyncio
import time

import pytest
from textual.pilot import Pilot

from llmops_tui.chains.store import ChainStore
from llmops_tui.settings import Settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.app import LlmopsApp
from screens.chains.screen import ChainsScreen
from screens.chains.steps_pane import StepsPane
from screens.shell.status_feed import StatusFeed
from screens.widgets import units
from tests.fakes import FakeModelServer
from tests.representatives import representatives
from tests.screens.conftest import PROFILE, FakeServices, settle, until
from tests.screens.test_chains import SPANS, record_run


@pytest.fixture
def app_for(sample: Workspace, server: FakeModelServer, monkeypatch: pytest.MonkeyPatch):
    """An app whose pictures are the same every time: no load of this machine, no times of day."""

    async def nothing(_self: StatusFeed) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(StatusFeed, "run", nothing)
    monkeypatch.setattr(units, "moment", lambda _at, _now=None: ("12:00:00", "muted"))

    def make(theme: str) -> LlmopsApp:
        services = FakeServices(sample, Settings(theme=theme))
        services.fake = server
        services.servers.find = lambda _name: None  # type: ignore[method-assign]
        return LlmopsApp(sample, theme=theme, profile=PROFILE, services=services)

    return make


async def ready(pilot: Pilot[int]) -> None:
    await settle(pilot)
    await asyncio.sleep(0.1)
    await settle(pilot)
    screen = pilot.app.screen
    screen.query_one("#user").focus()
    await settle(pilot)


# Each size and each theme once; the other pairs are of the slow tests.
_PAIRS = {((80, 24), "llmops-light"), ((120, 40), "llmops-dark"), ((200, 50), "ansi-dark")}


@pytest.mark.parametrize(
    ("size", "theme"),
    [
        pytest.param(size, theme, id=f"{theme}-size{number}", marks=() if (size, theme) in _PAIRS else pytest.mark.slow)
        for theme in ("llmops-dark", "llmops-light", "ansi-dark")
        for number, size in enumerate(((80, 24), (120, 40), (200, 50)))
    ],
)
def test_the_playground_looks_as_it_did(snap_compare, app_for, size: tuple[int, int], theme: str) -> None:
    assert snap_compare(app_for(theme), terminal_size=size, run_before=ready)


def test_help_looks_as_it_did(snap_compare, app_for) -> None:
    async def press(pilot: Pilot[int]) -> None:
        await ready(pilot)
        await pilot.press("f1")

    assert snap_compare(app_for("llmops-dark"), terminal_size=(120, 40), run_before=press)


@pytest.mark.slow
def test_jump_mode_looks_as_it_did(snap_compare, app_for) -> None:
    async def press(pilot: Pilot[int]) -> None:
        await ready(pilot)
        await pilot.press("f9")

    assert snap_compare(app_for("colour-blind-dark"), terminal_size=(120, 40), run_before=press)


@pytest.mark.parametrize(
    ("size", "theme"), representatives([((80, 24), "llmops-light"), ((120, 40), "llmops-dark")], 0)
)
def test_home_looks_as_it_did(snap_compare, app_for, size: tuple[int, int], theme: str) -> None:
    async def press(pilot: Pilot[int]) -> None:
        await ready(pilot)
        await pilot.press("f9", "0")
        await settle(pilot)

    assert snap_compare(app_for(theme), terminal_size=size, run_before=press)


def test_the_chains_look_as_they_did(snap_compare, app_for, sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain with its drawing, a run, and a step of it that failed."""
    store = ChainStore(Catalog(sample))
    text = store.get("desk").text
    record_run(sample, text, SPANS, created_at=1_700_000_000.0)
    Catalog(sample).write(
        lambda connection: connection.execute(
            "UPDATE prompt_versions SET created_at = 1700000000 WHERE prompt = 'chain/desk'"
        )
    )
    monkeypatch.setattr(time, "localtime", lambda at=0.0: time.gmtime(at))

    async def look(pilot: Pilot[int]) -> None:
        await settle(pilot)
        await pilot.press("escape", "K")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChainsScreen))
        await settle(pilot)
        screen = pilot.app.screen
        await until(pilot, lambda: screen.query_one(StepsPane).current is not None)
        screen.query_one(StepsPane).focus_inside()
        await pilot.press("G")
        await settle(pilot)

    assert snap_compare(app_for("llmops-dark"), terminal_size=(140, 42), run_before=look)
