"""The home screen: an overview of the lifecycle, the next step, recent requests, and jobs."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Grid, Horizontal, Vertical
from textual.events import Resize

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.store import JobState
from llmops_tui.monitoring.courses import Courses, last_look, note_look, read_courses
from llmops_tui.monitoring.overview import Overview, next_steps, read_overview
from llmops_tui.training.history import HistoryReader
from llmops_tui.workspace.layout import within
from screens.actions import bindings_of
from screens.home import rendering
from screens.home.arrangement import heights, widths
from screens.home.panes import DayPane, RecentPane, RunningPane, StepsPane, TilePane, WayPane
from screens.navigation import TraceFilterPlace
from screens.shell.hidden_panes import UNUSED
from screens.shell.live_screen import LiveScreen
from screens.shell.pane_layout import set_height
from screens.training.rendering import duration_between
from screens.widgets.panel import Panel
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from screens.services import Services
    from screens.terminal import TerminalProfile


# Seconds after which it is told that what stands here is being read anew.
_PATIENCE = 0.3
# Of a pane above and below.
_BORDERS = 2


def make(services: Services, profile: TerminalProfile) -> HomeScreen:
    """Make the screen."""
    return HomeScreen(services, profile)


class HomeScreen(LiveScreen):
    """Tiles above; steps, requests and jobs below. Each is a way to where it points."""

    CSS_PATH = "screen.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-low"), (22, "-middle"), (36, "-high")]  # noqa: RUF012  declared so by Textual
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
        self._courses = Courses()
        self._since: float | None = None
        self._losses: HistoryReader | None = None
        # Which jobs were at work when everything was read.
        self._at_work: set[str] = set()
        self._returned = self._read_once = False
        # What comparisons of two runs said on a metric.
        self._verdicts: dict[tuple[str, str, str], str] = {}
        # Where the newest training run is, in the words of its own screen.
        self._newest_run = ""

    def compose_body(self) -> ComposeResult:
        """Six tiles, three lists and a chart."""
        with Vertical(id="home-rows"):
            with Grid(id="home-tiles"):
                for name, title, key, screen in rendering.TILES:
                    yield TilePane(name, title, key, screen)
            yield StepsPane()
            with Horizontal(id="home-below"):
                yield RecentPane()
                yield RunningPane()
            yield DayPane()

    async def refresh_all(self, select: str = "") -> None:  # noqa: ARG002  there is no run to select
        """Read what has changed, and draw it."""
        services = self.services
        self._jobs = await asyncio.to_thread(lambda: services.jobs.store.all(50))
        self.shell.show_jobs(self._jobs)
        stamp = await asyncio.to_thread(self._stamp_now)
        if stamp == self._stamp:
            await self._draw()
            return
        # What was drawn before may be long out of date, and others may keep the catalog: jobs are known already.
        self.query_one(RunningPane).show(self._jobs, self._since)
        if self._read_once and self._at_work == {job.id for job in self._jobs if job.state == JobState.RUNNING}:
            await self._draw()
        reading = asyncio.ensure_future(asyncio.to_thread(self._read))
        await asyncio.wait({reading}, timeout=_PATIENCE)
        self.query_one(StepsPane).tell_reading(reads=self._returned and not reading.done())
        await reading
        self._returned, self._read_once = False, True
        self.query_one(StepsPane).tell_reading(reads=False)
        await self.query_one(RecentPane).load(self._jobs)
        await self._draw()
        # As it was before all was read: what changed meanwhile is seen the next time.
        self._stamp = stamp
        if await asyncio.to_thread(self._judge):
            await self._draw()

    async def _draw(self) -> None:
        services = self.services
        self._seen.jobs[:] = self._jobs
        moment = services.recorder.moment
        self.query_one(RunningPane).show(self._jobs, self._since)
        if not self._read_once:
            self._arrange()
            return
        if self._losses is not None:
            await asyncio.to_thread(self._losses.poll)
        history = self._losses.history if self._losses is not None else None
        values = history.series.get("loss", {}) if history is not None else {}
        remaining = history.remaining() if history is not None else None
        drawn = rendering.tiles(
            self._seen,
            moment,
            self._courses,
            [values[step] for step in sorted(values)],
            left=duration_between(remaining[0], 2 * remaining[1]) if remaining is not None else "",
            state=self._newest_run,
            utf8=self.profile.utf8,
        )
        for name, tile in drawn.items():
            self.query_one(f"#tile-{name}", TilePane).show(tile)
        self.query_one(StepsPane).show(next_steps(self._seen, moment))
        self.query_one(RecentPane).tell_since(self._courses.since, self._since)
        self.query_one(DayPane).show(self._courses)
        self._arrange()

    def _arrange(self) -> None:
        """Give each pane the room that it needs; what somebody resized stays as it is."""
        rows = self.query_one("#home-rows").size
        if not rows.area:
            return
        grid, steps, day = self.query_one("#home-tiles"), self.query_one(StepsPane), self.query_one(DayPane)
        recent, jobs = self.query_one(RecentPane), self.query_one(RunningPane)
        needs = [tile.tile.needs for tile in self.query(TilePane)]
        columns = len(needs) if self.has_class("-wide") else len(needs) // 2
        across = [max(width for width, _ in needs[place::columns]) for place in range(columns)]
        grid.styles.grid_columns = " ".join(str(width) for width in widths(rows.width, across))
        if self.has_class("-low"):
            for widget in (grid, steps, day, self.query_one("#home-below")):
                set_height(widget, None)
            day.styles.inline.clear_rule("display")
            return
        given = heights(
            rows.height,
            tiles=[max(lines for _, lines in needs[at : at + columns]) for at in range(0, len(needs), columns)],
            steps=len(steps.steps),
            lists=max(recent.lines, jobs.lines),
            chart=not day.has_class(UNUSED),
        )
        # Whoever looks at a chart for which there is no room sees it in the place of the lists.
        folded = self.has_class("-day") and not given.chart
        set_height(grid, given.tiles)
        set_height(steps, given.steps)
        set_height(self.query_one("#home-below"), 0 if folded else given.lists)
        set_height(day, given.lists if folded else given.chart)
        day.display = folded or bool(given.chart)
        for pane in (recent, jobs):
            # As high as its neighbour: nothing else would stand below the lower one.
            set_height(pane, max(recent.lines, jobs.lines) + _BORDERS, most=True)

    def on_resize(self, event: Resize) -> None:
        """There is other room."""
        super().on_resize(event)
        self.call_after_refresh(self._arrange)

    def _stamp_now(self) -> object:
        services = self.services
        return services.catalog.stamp(), services.event_log.newest(), services.archive.by_kind()

    def _read(self) -> None:
        services = self.services
        if self._stamp is None:
            self._since = last_look(services.event_log)
        self._seen = read_overview(
            services.catalog, services.event_log, self._jobs, archived=services.archive.by_kind()
        )
        self._at_work = {job.id for job in self._jobs if job.state == JobState.RUNNING}
        runs = self._seen.runs[:1]
        self._newest_run = ""
        # One that cannot be read has no state; the training screen and the check tell of it.
        with contextlib.suppress(LlmopsError):
            states = services.training.states([services.training.get(name) for name, _ in runs], self._jobs)
            self._newest_run = states[0].state if states else ""
        self._tell_verdicts()
        self._courses = read_courses(services.catalog, self._seen, self._since)
        folder = None
        # A catalog that came from elsewhere may name any folder; the training screen tells of it.
        with contextlib.suppress(InputRefusedError):
            folder = within(services.workspace.runs, self._courses.job) if self._courses.job else None
        if folder is None:
            self._losses = None
        elif self._losses is None or self._losses.path.parent != folder:
            self._losses = HistoryReader(folder)

    def _judge(self) -> bool:
        """Compare each newest evaluation with the one before it, as its own screen does; whether anything new is known.

        That reads all answers: what was compared is not compared again.
        """
        from llmops_tui.evaluation.run_comparison import verdict_on

        pairs = {(score.before_run, score.run, score.metric) for score in self._seen.scores if score.before_run}
        new = pairs - self._verdicts.keys()
        for pair in new:
            self._verdicts[pair] = ""
            # Without the answers of one there is no verdict; the screen of evaluations tells why.
            with contextlib.suppress(LlmopsError, OSError):
                self._verdicts[pair] = verdict_on(self.services.evaluation, *pair)
        self._tell_verdicts()
        return bool(new)

    def _tell_verdicts(self) -> None:
        """Those that are known."""
        self._seen.scores[:] = [
            replace(score, verdict=self._verdicts.get((score.before_run, score.run, score.metric), ""))
            for score in self._seen.scores
        ]

    def on_screen_resume(self) -> None:
        """Whoever comes back is told where reading takes long; Textual calls what the base class does, too."""
        self._returned = True

    def on_screen_suspend(self) -> None:
        """What is here was seen; what comes now is new the next time. Behind a dialog it is still in front."""
        super().on_screen_suspend()
        if self.app.current_mode != self.scope:
            self.act("look", self._note_look)

    def on_unmount(self) -> None:
        """Whoever quits from here has seen it, too."""
        if self.app.current_mode == self.scope:
            with contextlib.suppress(LlmopsError, OSError):
                note_look(self.services.event_log)

    async def _note_look(self) -> None:
        await asyncio.to_thread(note_look, self.services.event_log)
        self._stamp = None

    def reveal(self, panel: Panel) -> None:
        """Unfold what a low terminal has no room for."""
        self.set_class(panel.id in {"home-recent", "home-jobs", "home-day"}, "-below")
        self.set_class(panel.id == "home-day", "-day")
        self._arrange()

    # ── actions ──

    def action_look(self) -> None:
        """Read everything again."""
        self._stamp = None
        self.act("load", self.refresh_all)

    def action_queue(self) -> None:
        """Go to the review queue."""
        self.shell.open_place(TraceFilterPlace("is:queue"))

    @on(Table.Chosen)
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
