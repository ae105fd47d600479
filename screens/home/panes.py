"""The panes of the home screen: six tiles, next steps, recent requests, jobs, the traffic."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.app import ComposeResult

from llmops_tui.jobs.store import JobState
from llmops_tui.monitoring.courses import Courses
from llmops_tui.monitoring.overview import Step
from llmops_tui.monitoring.recent_requests import RecentRequests, WorkRequests, read_recent
from llmops_tui.states import mark_of, tone_of
from screens.actions import screen_place
from screens.home import list_rendering, rendering
from screens.home.tile import READING, Tile, reading
from screens.jobs.jobs_pane import COLUMNS, in_order
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
from screens.widgets.columns import Part
from screens.widgets.line_list import LineList
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job

# The most that are read of both kinds of requests, and of jobs the most that are shown.
_OWN, _WORK, _JOBS = 60, 4, 50
# In a narrow pane it is worth more when one began than what came of it; how far it is stands beside its state.
_RANKS = {"began": 1, "outcome": 4, "took": 3}
_SHARES = {"job": 3, "outcome": 2}
_ORDER = {"state": 0, "began": 1}


def _state(job: Job) -> Part:
    word = job.word
    share = f" {job.progress:.0%}" if job.state == JobState.RUNNING else ""
    return f"{mark_of(word)} {word}{share}", tone_of(word)


_JOB_COLUMNS = sorted(
    (
        replace(
            column, rank=_RANKS.get(column.name, column.rank), cell=_state if column.name == "state" else column.cell
        )
        for column in COLUMNS
        if column.name != "done"
    ),
    key=lambda column: _ORDER.get(column.name, len(_ORDER)),
)


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
        self._screen = screen
        self.tile = reading()

    def compose(self) -> ComposeResult:
        """The lines."""
        yield LineList(id=f"lines-{self._stage}", marks=False)

    def on_resize(self) -> None:
        """More fits now, or less."""
        self.show(self.tile)

    def show(self, tile: Tile) -> None:
        """Draw what is new of it."""
        self.tile = tile
        lines = self.query_one(LineList)
        # Before the first layout there is no room yet; the resize that comes with it draws.
        if lines.size.area:
            lines.show_lines(tile.lines(lines.size.width, lines.size.height, utf8=self.shell.profile.utf8))

    def destination(self) -> Destination:
        """The screen of the stage."""
        return ScreenPlace(self._screen)


class DayPane(WayPane):
    """What the last hours were like."""

    def __init__(self) -> None:
        super().__init__(title="Last hours", jump_key="h", id="home-day", help_text=rendering.HELP_DAY)
        self._courses = Courses()

    def compose(self) -> ComposeResult:
        """The bars."""
        yield LineList(id="day-lines", marks=False)

    def on_resize(self) -> None:
        """Draw in the room there is now."""
        self.show(self._courses)

    def show(self, courses: Courses) -> None:
        """Draw it; requests in no more than one part of the time take no room."""
        self._courses = courses
        self.set_title(*list_rendering.day_title(courses))
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

    def on_mount(self) -> None:
        """What the list says until it is read."""
        self.query_one(LineList).placeholder = READING

    def show(self, steps: list[Step]) -> None:
        """Show these steps."""
        self.steps = steps
        utf8 = self.shell.profile.utf8
        lines = self.query_one(LineList)
        screens = max((len(screen_place(step.screen)) for step in steps), default=0)
        told = [list_rendering.step_line(step, screens, utf8=utf8) for step in steps]
        if lines.size.area and any(sum(cell_len(text) for text, _ in line) > lines.room for line in told):
            # Where they are done is said of all of them, or of none: enter goes there.
            told = [list_rendering.step_line(step, 0, utf8=utf8) for step in steps]
        lines.show_lines(told)

    def tell_reading(self, *, reads: bool) -> None:
        """Say that what stands on the screen is of before, and is being read anew."""
        self.set_title("Next steps", "reading what changed …" if reads else "")

    def destination(self) -> Destination | None:
        """Where the step is done."""
        at = self.query_one(LineList).cursor
        if at >= len(self.steps):
            return None
        return place_of(self.steps[at])


def place_of(step: Step) -> Destination:
    """Where a step is done: the thing itself where it names one."""
    if step.screen == "traces":
        return TraceFilterPlace(step.target)
    if step.screen == "datasets" and step.target:
        # What leads there are rows with problems.
        return DatasetPlace(step.target, checks=True)
    places = {
        "playground": PromptPlace, "jobs": JobPlace, "training": RunPlace, "evaluation": EvaluationPlace,
    }  # fmt: skip
    make = places.get(step.screen)
    return make(step.target) if make is not None and step.target else ScreenPlace(step.screen)


class RecentPane(WayPane):
    """The newest requests: those of other work are one line for each run of it."""

    def __init__(self) -> None:
        super().__init__(title="Recent requests", jump_key="a", id="home-recent", help_text=rendering.HELP_RECENT)
        self.recent = RecentRequests()
        self._known = False

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(
            list_rendering.RECENT_COLUMNS,
            id="recent-list",
            key=list_rendering.recent_key,
            empty=rendering.NO_RECENT,
            sorts=False,
            filters=False,
            selects=False,
            reads=True,
        )

    def on_resize(self) -> None:
        """More fits now, or less."""
        if self._known:
            self._fill()

    async def load(self, jobs: list[Job]) -> None:
        """Read them; ``jobs`` are known ones."""
        titles = {folder: job.title for job in reversed(jobs) for folder in (job.resumes or job.id, job.id)}
        self.recent = await asyncio.to_thread(read_recent, self.services.traces, _OWN, _WORK, titles)
        self._known = True
        self._fill()

    def _fill(self) -> None:
        table: Table[list_rendering.Recent] = self.query_one(Table)
        table.fill(list_rendering.recent_rows(self.recent, table.size.height - table.head_lines))

    @property
    def lines(self) -> int:
        """Those of all it has to show, with the head."""
        return len(self.recent.own) + len(self.recent.work) + 1

    def tell_since(self, counts: tuple[int, int] | None, since: float | None) -> None:
        """Say in the title how many came since somebody last looked."""
        note = ""
        if counts is not None and since is not None and counts[0]:
            failed = f", {counts[1]:,} failed" if counts[1] else ""
            note = f"{counts[0]:,} since {list_rendering.clock(since)}{failed}"
        self.set_title("Recent requests", note)

    def destination(self) -> Destination | None:
        """The trace, or the list of those of the work."""
        row = self.query_one(Table).current
        if isinstance(row, WorkRequests):
            return TraceFilterPlace(row.wanted)
        return TracePlace(row.id) if row is not None else None


class RunningPane(WayPane):
    """The newest jobs, in the columns and the order of their own screen."""

    def __init__(self) -> None:
        super().__init__(title="Jobs", jump_key="j", id="home-jobs", help_text=rendering.HELP_JOBS)
        self._jobs: list[Job] = []
        self._since: float | None = None

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(
            _JOB_COLUMNS,
            id="home-job-list",
            key=lambda job: job.id,
            empty=rendering.NO_JOBS,
            mark=self._mark,
            filters=False,
            selects=False,
            reads=True,
        )

    def _mark(self, job: Job) -> Part:
        return (
            ("• " if self.shell.profile.utf8 else "* ", "accent")
            if list_rendering.is_new(job, self._since)
            else ("", "plain")
        )

    @property
    def lines(self) -> int:
        """Those of all it has to show, with the head."""
        return max(len(self._jobs), 1) + 1

    def show(self, jobs: list[Job], since: float | None) -> None:
        """Show these jobs, those at work first; what ended after ``since`` is marked."""
        table: Table[Job] = self.query_one(Table)
        jobs = in_order(jobs)[:_JOBS]
        # Those at work are drawn anew each second: how long they take is told.
        if jobs != self._jobs or since != self._since or not table.rows or any(not job.state.final for job in jobs):
            self._jobs, self._since = jobs, since
            table.fill(jobs)
        new = sum(list_rendering.is_new(job, since) for job in jobs)
        told = f"• {new:,} ended since {list_rendering.clock(since)}" if new and since is not None else ""
        self.set_title("Jobs", told if self.shell.profile.utf8 else told.replace("•", "*"))

    def destination(self) -> Destination:
        """The job, on the screen of jobs."""
        job = self.query_one(Table).current
        return JobPlace(job.id) if job is not None else ScreenPlace("jobs")
