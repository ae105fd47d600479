"""The home screen: the lifecycle in six tiles, the next sensible step, what was asked lately, what runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Grid, Horizontal, Vertical

from llmops_tui.monitoring.overview import Overview, Step, next_steps, read_overview
from screens.actions import bindings_of
from screens.home import drawing
from screens.looking_screen import LookingScreen
from screens.widgets.line_list import LineList
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from llmops_tui.traces.store import TraceLine
    from screens.services import Services
    from screens.terminal import TerminalProfile

_RECENT = 30


def make(services: Services, profile: TerminalProfile) -> HomeScreen:
    """Make the screen."""
    return HomeScreen(services, profile)


class HomeScreen(LookingScreen):
    """Tiles above; steps, requests and jobs below. Each is a way to where it points."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("home")  # type: ignore[assignment]
    AUTO_FOCUS = "#step-list"
    scope = "home"
    about = (
        "Everything at a glance: data, prompts, training, evaluation, models, serving; what runs now, what was asked lately, "
        "and what is most worth doing next. enter goes to whatever has the focus."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.seen = Overview()
        self.steps: list[Step] = []
        self.recent: list[TraceLine] = []
        self._jobs: list[Job] = []
        self._stamp: object = None

    def compose_body(self) -> ComposeResult:
        """Six tiles and three lists."""
        with Vertical(id="home-rows"):
            with Grid(id="home-tiles"):
                for name, title, key, _ in drawing.TILES:
                    with Panel(
                        title=title, jump_key=key, id=f"tile-{name}", help_text=drawing.HELP_TILE, classes="home-tile"
                    ):
                        yield LineList(id=f"lines-{name}", marks=False)
            with Panel(title="Next sensible step", jump_key="n", id="home-steps", help_text=drawing.HELP_STEPS):
                yield LineList(id="step-list")
            with Horizontal(id="home-below"):
                with Panel(title="Asked lately", jump_key="a", id="home-recent", help_text=drawing.HELP_RECENT):
                    yield LineList(id="recent-list")
                with Panel(title="Jobs", jump_key="j", id="home-jobs", help_text=drawing.HELP_JOBS):
                    yield LineList(id="home-job-list")

    def on_mount(self) -> None:
        """What empty lists say."""
        self.query_one("#recent-list", LineList).placeholder = drawing.NO_RECENT
        self.query_one("#home-job-list", LineList).placeholder = drawing.NO_JOBS

    async def refresh_all(self, select: str = "") -> None:  # noqa: ARG002  there is no run to select
        """Read what has changed, and draw it."""
        services = self.services
        self._jobs = await asyncio.to_thread(lambda: services.jobs.store.all(50))
        stamp = await asyncio.to_thread(lambda: (services.catalogue.stamp(), services.journal.newest()))
        if stamp != self._stamp:
            self.recent = (await asyncio.to_thread(self._recent))[0]
            self.seen = await asyncio.to_thread(lambda: read_overview(services.catalogue, services.journal, self._jobs))
            self._stamp = await asyncio.to_thread(lambda: (services.catalogue.stamp(), services.journal.newest()))
        self.seen.jobs[:] = self._jobs
        self._draw()

    def _recent(self) -> tuple[list[TraceLine], int]:
        from llmops_tui.traces.store import TraceFilter

        return self.services.traces.page(TraceFilter(), _RECENT)

    def _draw(self) -> None:
        utf8 = self.profile.utf8
        moment = self.services.recorder.moment
        for name, lines in drawing.tiles(self.seen, moment, utf8=utf8).items():
            self.query_one(f"#lines-{name}", LineList).show_lines(lines)
        self.steps = next_steps(self.seen, moment)
        self.query_one("#step-list", LineList).show_lines([drawing.step_line(s, utf8=utf8) for s in self.steps])
        self.query_one("#recent-list", LineList).show_lines([drawing.recent_line(line) for line in self.recent])
        self.query_one("#home-job-list", LineList).show_lines([drawing.job_line(job, utf8=utf8) for job in self._jobs])

    # ── actions ──

    def action_look(self) -> None:
        """Read everything again."""
        self._stamp = None
        self.act("load", self.refresh_all)

    def action_queue(self) -> None:
        """Go to the review queue."""
        self.act("go", self.app.going.trace, "", "is:queue")

    async def action_go(self) -> None:
        """Go where the focus points."""
        panel = self.focused_panel()
        if panel is None:
            return
        if panel.id == "home-steps":
            await self._take_step()
        elif panel.id == "home-recent":
            at = self.query_one("#recent-list", LineList).cursor
            if at < len(self.recent):
                await self.app.going.trace(self.recent[at].id)
        elif panel.id == "home-jobs":
            await self.app.switch_mode("jobs")
        else:
            place = next(screen for name, _, _, screen in drawing.TILES if panel.id == f"tile-{name}")
            await self.app.switch_mode(place)

    async def _take_step(self) -> None:
        at = self.query_one("#step-list", LineList).cursor
        if at >= len(self.steps):
            return
        step = self.steps[at]
        if step.screen == "traces":
            await self.app.going.trace("", step.target)
        elif step.screen == "playground" and step.target:
            await self.app.going.prompt(step.target)
        else:
            await self.app.switch_mode(step.screen)

    def copy_choices(self) -> list[tuple[str, str]]:
        """The steps."""
        return [("next steps", "\n".join(step.text for step in self.steps))]

    def cli_command(self) -> str:
        """``llmops monitor`` tells the machine's part of it."""
        return "llmops monitor --once"
