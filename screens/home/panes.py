"""The panes of the home screen: six tiles, next steps, recent requests, jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from llmops_tui.jobs.store import JobState
from llmops_tui.monitoring.courses import Courses
from llmops_tui.monitoring.overview import Step
from screens.home import list_rendering, rendering
from screens.navigation import (
    DatasetPlace,
    Destination,
    EvaluationPlace,
    JobPlace,
    PromptPlace,
    RunPlace,
    ScreenPlace,
    TraceFilterPlace,
    TracePlace,
)
from screens.shell.hidden_panes import set_unused
from screens.shell.pane import Pane
from screens.widgets.line_list import LineList, without_least

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from llmops_tui.traces.store import TraceLine

_RECENT = 30


class WayPane(Pane):
    """A pane that leads to another place."""

    def destination(self) -> Destination | None:
        """Where it leads, for what is under its cursor."""
        raise NotImplementedError


class TilePane(WayPane):
    """A stage of the lifecycle in a few lines."""

    def __init__(self, name: str, title: str, key: str, screen: str) -> None:
        super().__init__(
            title=title, jump_key=key, id=f"tile-{name}", help_text=rendering.HELP_TILE, classes="home-tile"
        )
        self._stage = name
        self._tile: rendering.Tile | None = None
        self._screen = screen

    def compose(self) -> ComposeResult:
        """The lines."""
        yield LineList(id=f"lines-{self._stage}", marks=False)

    def on_resize(self) -> None:
        """More fits now, or less."""
        if self._tile is not None:
            self.show(self._tile)

    def show(self, tile: rendering.Tile) -> None:
        """Draw what is new of it."""
        self._tile = tile
        lines = self.query_one(LineList)
        # Before the first layout there is no room yet; the resize that comes with it draws.
        if lines.size.area:
            lines.show_lines(tile.lines(lines.size.width, lines.size.height, utf8=self.shell.profile.utf8))

    def destination(self) -> Destination:
        """The screen of the stage."""
        return ScreenPlace(self._screen)


class DayPane(WayPane):
    """What the last day was like."""

    def __init__(self) -> None:
        super().__init__(title="Last 24 hours", jump_key="h", id="home-day", help_text=rendering.HELP_DAY)
        self._courses = Courses()

    def compose(self) -> ComposeResult:
        """The bars."""
        yield LineList(id="day-lines", marks=False)

    def on_resize(self) -> None:
        """Draw in the room there is now."""
        self.show(self._courses)

    def show(self, courses: Courses) -> None:
        """Draw it; a day with requests in no more than one hour takes no room."""
        self._courses = courses
        self.set_title("Last 24 hours", "requests an hour, median time of a whole answer")
        lines = self.query_one(LineList)
        lines.placeholder = rendering.NO_DAY
        set_unused(self, unused=not rendering.is_day_drawn(courses))
        if lines.size.area:
            utf8 = self.shell.profile.utf8
            lines.show_lines(list_rendering.day_lines(courses, lines.size.width, lines.size.height, utf8=utf8))

    def destination(self) -> Destination:
        """The monitor, which has any time."""
        return ScreenPlace("monitor")


class StepsPane(WayPane):
    """What is most worth doing next."""

    def __init__(self) -> None:
        super().__init__(title="Next steps", jump_key="n", id="home-steps", help_text=rendering.HELP_STEPS)
        self.steps: list[Step] = []

    def compose(self) -> ComposeResult:
        """The list."""
        yield LineList(id="step-list")

    def show(self, steps: list[Step]) -> None:
        """Show these steps."""
        self.steps = steps
        utf8 = self.shell.profile.utf8
        lines = self.query_one(LineList)
        told = [list_rendering.step_line(step, utf8=utf8) for step in steps]
        lines.show_lines([without_least(line, lines.room) for line in told] if lines.size.area else told)
        # As high as what it says, the borders with it.
        self.styles.height = len(steps) + 2

    def tell_reading(self, *, reads: bool) -> None:
        """Say that what stands on the screen is of before, and is being read anew."""
        self.set_title("Next steps", "reading what changed …" if reads else "")

    def destination(self) -> Destination | None:
        """Where the step is done."""
        at = self.query_one(LineList).cursor
        if at >= len(self.steps):
            return None
        return _place_of(self.steps[at])


def _place_of(step: Step) -> Destination:
    """Where a step is done: the thing itself where it names one."""
    if step.screen == "traces":
        return TraceFilterPlace(step.target)
    places = {
        "playground": PromptPlace, "datasets": DatasetPlace, "jobs": JobPlace, "training": RunPlace,
        "evaluation": EvaluationPlace,
    }  # fmt: skip
    make = places.get(step.screen)
    return make(step.target) if make is not None and step.target else ScreenPlace(step.screen)


class RecentPane(WayPane):
    """The newest requests."""

    def __init__(self) -> None:
        super().__init__(title="Recent requests", jump_key="a", id="home-recent", help_text=rendering.HELP_RECENT)
        self.recent: list[TraceLine] = []

    def compose(self) -> ComposeResult:
        """The list."""
        yield LineList(id="recent-list")

    def on_mount(self) -> None:
        """What the list says until it is read."""
        self.query_one(LineList).placeholder = rendering.READING

    async def load(self) -> None:
        """Read them."""
        self.recent, _ = await asyncio.to_thread(self._page)
        self.query_one(LineList).placeholder = rendering.NO_RECENT
        self.query_one(LineList).show_lines(list_rendering.recent_lines(self.recent))
        self.set_class(not self.recent, "-empty")

    def tell_since(self, counts: tuple[int, int] | None, since: float | None) -> None:
        """Say in the title how many came since somebody last looked."""
        note = ""
        if counts is not None and since is not None and counts[0]:
            failed = f", {counts[1]:,} failed" if counts[1] else ""
            note = f"{counts[0]:,} since {list_rendering.clock(since)}{failed}"
        self.set_title("Recent requests", note)

    def _page(self) -> tuple[list[TraceLine], int]:
        from llmops_tui.traces.store import TraceFilter

        return self.services.traces.page(TraceFilter(), _RECENT)

    def destination(self) -> Destination | None:
        """The trace."""
        at = self.query_one(LineList).cursor
        return TracePlace(self.recent[at].id) if at < len(self.recent) else None


class RunningPane(WayPane):
    """The newest jobs."""

    def __init__(self) -> None:
        super().__init__(title="Jobs", jump_key="j", id="home-jobs", help_text=rendering.HELP_JOBS)
        self._jobs: list[Job] = []
        self._since: float | None = None
        self._known = False
        self._alone = False

    def compose(self) -> ComposeResult:
        """The list."""
        yield LineList(id="home-job-list")

    def on_mount(self) -> None:
        """What the list says until it is read."""
        self.query_one(LineList).placeholder = rendering.READING

    def on_resize(self) -> None:
        """More fits now, or less."""
        if self._known:
            self.show(self._jobs, self._since)

    def show(self, jobs: list[Job], since: float | None, *, alone: bool | None = None) -> None:
        """Show these jobs, those at work first; what ended after ``since`` is marked. Nothing stands below it where ``alone``."""
        self._alone = self._alone if alone is None else alone
        self._jobs, self._since, self._known = sorted(jobs, key=lambda job: job.state != JobState.RUNNING), since, True
        lines = self.query_one(LineList)
        lines.placeholder = rendering.NO_JOBS
        utf8 = self.shell.profile.utf8
        lines.show_lines(list_rendering.job_lines(self._jobs, since, lines.room, utf8=utf8))
        # As high as what it says where something stands below it.
        self.styles.max_height = None if self._alone else max(len(jobs), 1) + 2
        self.set_class(not jobs, "-empty")
        new = sum(list_rendering.is_new(job, since) for job in jobs)
        self.set_title(
            "Jobs", f"{new:,} ended since {list_rendering.clock(since)}" if new and since is not None else ""
        )

    def destination(self) -> Destination:
        """The job, on the screen of jobs."""
        at = self.query_one(LineList).cursor
        return JobPlace(self._jobs[at].id) if at < len(self._jobs) else ScreenPlace("jobs")
