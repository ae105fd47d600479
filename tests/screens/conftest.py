"""The app with a fake model server, for tests of screens."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation
from textual.notifications import SeverityLevel
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import TextArea
from textual.worker import Worker, WorkerState, get_current_worker

from llmops_tui.settings import Settings
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.app import LlmopsApp
from screens.services import Services
from screens.shell import background_tasks, key_queue, telling
from screens.shell.notices import Notice
from screens.terminal import TerminalProfile
from tests.fakes import FakeModelServer
from tests.waiting import slowed

# Each app parses the same style sheets anew, which takes longer than most tests: here the process keeps what they mean.
_meanings: dict[tuple[Any, ...], list[RuleSet]] = {}
PARSE_RULES = Stylesheet._parse_rules


def _parse_once(
    sheet: Stylesheet,
    css: str,
    read_from: CSSLocation,
    is_default_rules: bool = False,
    tie_breaker: int = 0,
    scope: str = "",
) -> list[RuleSet]:
    variables = frozenset(sheet._variables.items())
    asked = (css, read_from, is_default_rules, tie_breaker, scope)
    if (variables, asked) not in _meanings:
        _meanings[variables, asked] = PARSE_RULES(sheet, *asked)
    return _meanings[variables, asked]


@pytest.fixture(autouse=True)
def styles_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a style sheet means with these variables is worked out by the first app that asks."""
    monkeypatch.setattr(Stylesheet, "_parse_rules", _parse_once)


DRAW = Screen._compositor_refresh
PAUSE = Pilot.pause


def _draw_later(screen: Screen[Any]) -> None:
    """What changed stays to be drawn; screens behind another tell it what changed, as ever."""
    if screen is not screen.app.screen:
        DRAW(screen)
        return
    screen._dirty_widgets.clear()
    screen.app._update_mouse_over(screen)


# While it stands, nothing is drawn: the first frame of an app whose test goes to another screen at once is nobody's.
_unseen: list[Pilot[int]] = []


async def _pause_and_draw(pilot: Pilot[int], delay: float | None = None) -> None:
    await PAUSE(pilot, delay)
    if pilot not in _unseen and pilot.app.screen._compositor._dirty_regions:
        DRAW(pilot.app.screen)


@pytest.fixture(autouse=True)
def drawn_where_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are drawn where a test waits and may look, not sixty times a second in between: half of all its time."""
    monkeypatch.setattr(Screen, "_compositor_refresh", _draw_later)
    monkeypatch.setattr(Pilot, "pause", _pause_and_draw)


@pytest.fixture(autouse=True)
def no_screen_is_loaded_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds after its start the app imports all screens, of which most tests see one."""

    async def nothing() -> None:
        pass

    monkeypatch.setattr(background_tasks, "load_screens", nothing)


@pytest.fixture(autouse=True)
def keys_wait_as_long_as_the_machine_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen that takes long to come has its keys delivered all the same; where the machine is busy, that is later."""
    for limit in ("_LONGEST", "_LONGEST_READING"):
        monkeypatch.setattr(key_queue, limit, getattr(key_queue, limit) * slowed())


def _lasting(message: str, title: str, severity: SeverityLevel, seconds: float, markup: bool) -> Notice:
    return Notice(message, title, severity, 100 * seconds, markup)


@pytest.fixture(autouse=True)
def notices_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told is found however long the machine takes to come to where the test looks."""
    monkeypatch.setattr(telling, "Notice", _lasting)


PROFILE = TerminalProfile(remote=False, multiplexed=True, utf8=True, stream_interval=0.02, cells_per_second=1_000_000)
OpenApp = Callable[..., AbstractAsyncContextManager[Pilot[int]]]


@pytest.fixture
def server(sample: Workspace) -> Iterator[FakeModelServer]:
    with tempfile.TemporaryDirectory(prefix="fake") as folder:
        made = FakeModelServer(Path(folder) / "s", ["Hel", "lo ", "wor", "ld."], EventLog(sample))
        yield made
        made.close()


# Workers that wait for the answer to a dialog.
# Of a twentieth of a second each, so that a test in which something never ends says what, before its own time is over.
_MOST_ROUNDS = 3000
_asking: set[Worker[Any]] = set()


async def _ask(app: LlmopsApp, dialog: Any) -> Any:
    worker = get_current_worker()
    _asking.add(worker)
    try:
        return await LlmopsApp.ask(app, dialog)
    finally:
        _asking.discard(worker)


def note_asking(app: LlmopsApp) -> None:
    """Have :func:`settle` know which workers of the app wait for the answer to a dialog."""
    app.ask = partial(_ask, app)  # type: ignore[method-assign]


class FakeServices(Services):
    """The real engine, with a model server that says what the test wants."""

    fake: FakeModelServer

    def ensure_server(self, model):  # type: ignore[no-untyped-def]
        return self.fake.ensure(model)

    async def check_dataset(self, version):  # type: ignore[no-untyped-def]
        """Nothing is checked unasked."""


@pytest.fixture
def open_app(sample: Workspace, server: FakeModelServer) -> OpenApp:
    @asynccontextmanager
    async def opened(
        size: tuple[int, int] = (120, 40),
        settings: Settings | None = None,
        typed_early: str = "",
        pressed_early: Sequence[str] = (),
        **options: object,
    ) -> AsyncIterator[Pilot[int]]:
        services = FakeServices(sample, settings or Settings())
        services.fake = server
        services.servers.find = lambda _name: None  # type: ignore[method-assign]
        app = LlmopsApp(sample, theme=services.settings.theme, profile=PROFILE, services=services, **options)  # type: ignore[arg-type]
        note_asking(app)
        async with app.run_test(size=size, notifications=True) as pilot:
            if typed_early:
                await pilot.pause()
                app.screen.query_one("#user", TextArea).insert(typed_early)
            await pilot.press(*pressed_early)
            _unseen.append(pilot)
            await until(pilot, lambda: bool(app.screen.state.versions))  # type: ignore[attr-defined]
            await settle(pilot)
            _unseen.remove(pilot)
            yield pilot
        services.close()

    return opened


async def settle(pilot: Pilot[int]) -> None:
    """Wait until no worker but the endless ones of the status line and of backups is at work, and all is drawn.

    A worker that waits for the answer to a dialog is not at work.
    """
    for _ in range(_MOST_ROUNDS):
        await pilot.pause()
        working = [
            w for w in pilot.app.workers if w.group not in {"status", "scheduled"} and w.is_running and w not in _asking
        ]
        if not working:
            return
        await asyncio.wait([w._task for w in working if w._task is not None], timeout=0.05)
        for worker in working:
            if worker.state == WorkerState.ERROR and worker.error is not None:
                raise worker.error
    raise AssertionError(f"still at work: {[(worker.group, worker.description) for worker in working]}")


async def until(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    """Let the app go on until something holds."""
    for asked in range(3000):
        if condition():
            # A dialog that was just opened is not composed yet.
            await pilot.pause()
            return
        # What comes soon is drawn once, when it is there.
        await (PAUSE(pilot, 0.01) if asked < 20 else pilot.pause(0.01))
    raise AssertionError("it never happened")


def notices(pilot: Pilot[int]) -> str:
    """The texts of all notifications."""
    return "\n".join(f"{n.title} {n.message}" for n in pilot.app._notifications)
