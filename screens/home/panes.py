"""The panes of the home screen: six tiles, next steps, recent requests, jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from llmops_tui.monitoring.overview import Step
from screens.home import rendering
from screens.navigation import Destination, JobPlace, PromptPlace, ScreenPlace, TraceFilterPlace, TracePlace
from screens.shell.pane import Pane
from screens.widgets.line_list import Line, LineList

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
        self._screen = screen

    def compose(self) -> ComposeResult:
        """The lines."""
        yield LineList(id=f"lines-{self._stage}", marks=False)

    def show(self, lines: list[Line]) -> None:
        """Draw what is new of these lines."""
        self.query_one(LineList).show_lines(lines)

    def destination(self) -> Destination:
        """The screen of the stage."""
        return ScreenPlace(self._screen)


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
        self.query_one(LineList).show_lines([rendering.step_line(step, utf8=utf8) for step in steps])

    def destination(self) -> Destination | None:
        """Where the step is done."""
        at = self.query_one(LineList).cursor
        if at >= len(self.steps):
            return None
        step = self.steps[at]
        if step.screen == "traces":
            return TraceFilterPlace(step.target)
        if step.screen == "playground" and step.target:
            return PromptPlace(step.target)
        return ScreenPlace(step.screen)


class RecentPane(WayPane):
    """The newest requests."""

    def __init__(self) -> None:
        super().__init__(title="Recent requests", jump_key="a", id="home-recent", help_text=rendering.HELP_RECENT)
        self.recent: list[TraceLine] = []

    def compose(self) -> ComposeResult:
        """The list."""
        yield LineList(id="recent-list")

    def on_mount(self) -> None:
        """What an empty list says."""
        self.query_one(LineList).placeholder = rendering.NO_RECENT

    async def load(self) -> None:
        """Read them."""
        self.recent, _ = await asyncio.to_thread(self._page)
        self.query_one(LineList).show_lines([rendering.recent_line(line) for line in self.recent])

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

    def compose(self) -> ComposeResult:
        """The list."""
        yield LineList(id="home-job-list")

    def on_mount(self) -> None:
        """What an empty list says."""
        self.query_one(LineList).placeholder = rendering.NO_JOBS

    def show(self, jobs: list[Job]) -> None:
        """Show these jobs."""
        self._jobs = jobs
        utf8 = self.shell.profile.utf8
        self.query_one(LineList).show_lines([rendering.job_line(job, utf8=utf8) for job in jobs])

    def destination(self) -> Destination:
        """The job, on the screen of jobs."""
        at = self.query_one(LineList).cursor
        return JobPlace(self._jobs[at].id) if at < len(self._jobs) else ScreenPlace("jobs")
