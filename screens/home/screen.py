"""The home screen: an overview of the lifecycle, the next step, recent requests, and jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Grid, Horizontal, Vertical

from llmops_tui.monitoring.overview import Overview, next_steps, read_overview
from screens.actions import bindings_of
from screens.home import rendering
from screens.home.panes import RecentPane, RunningPane, StepsPane, TilePane, WayPane
from screens.navigation import TraceFilterPlace
from screens.shell.live_screen import LiveScreen

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> HomeScreen:
    """Make the screen."""
    return HomeScreen(services, profile)


class HomeScreen(LiveScreen):
    """Tiles above; steps, requests and jobs below. Each is a way to where it points."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("home")  # type: ignore[assignment]
    AUTO_FOCUS = "#step-list"
    scope = "home"
    about = (
        "Everything at a glance: data, prompts, training, evaluation, models, serving; what runs now, the latest "
        "requests, and the suggested next steps. enter opens the focused item."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self._seen = Overview()
        self._jobs: list[Job] = []
        self._stamp: object = None

    def compose_body(self) -> ComposeResult:
        """Six tiles and three lists."""
        with Vertical(id="home-rows"):
            with Grid(id="home-tiles"):
                for name, title, key, screen in rendering.TILES:
                    yield TilePane(name, title, key, screen)
            yield StepsPane()
            with Horizontal(id="home-below"):
                yield RecentPane()
                yield RunningPane()

    async def refresh_all(self, select: str = "") -> None:  # noqa: ARG002  there is no run to select
        """Read what has changed, and draw it."""
        services = self.services
        self._jobs = await asyncio.to_thread(lambda: services.jobs.store.all(50))
        stamp = await asyncio.to_thread(lambda: (services.catalog.stamp(), services.event_log.newest()))
        if stamp != self._stamp:
            await self.query_one(RecentPane).load()
            self._seen = await asyncio.to_thread(
                lambda: read_overview(services.catalog, services.event_log, self._jobs)
            )
            self._stamp = await asyncio.to_thread(lambda: (services.catalog.stamp(), services.event_log.newest()))
        self._seen.jobs[:] = self._jobs
        moment = services.recorder.moment
        for name, lines in rendering.tiles(self._seen, moment, utf8=self.profile.utf8).items():
            self.query_one(f"#tile-{name}", TilePane).show(lines)
        self.query_one(StepsPane).show(next_steps(self._seen, moment))
        self.query_one(RunningPane).show(self._jobs)

    # ── actions ──

    def action_look(self) -> None:
        """Read everything again."""
        self._stamp = None
        self.act("load", self.refresh_all)

    def action_queue(self) -> None:
        """Go to the review queue."""
        self.shell.open_place(TraceFilterPlace("is:queue"))

    def action_go(self) -> None:
        """Go where the focus points."""
        pane = self.focused_panel()
        place = pane.destination() if isinstance(pane, WayPane) else None
        if place is not None:
            self.shell.open_place(place)

    def copy_choices(self) -> list[tuple[str, str]]:
        """The steps."""
        return [("next steps", "\n".join(step.text for step in self.query_one(StepsPane).steps))]

    def cli_command(self) -> str:
        """``llmops monitor`` tells the machine's part of it."""
        return "llmops monitor --once"
