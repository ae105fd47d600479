"""The list of jobs, and the actions on the selected one."""

from __future__ import annotations

import asyncio
import time

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.jobs.store import Job, JobState
from llmops_tui.safe_text import safe_line
from screens.actions import screen_place
from screens.shell.pane import Pane
from screens.shell.removal import offer_removal
from screens.training.rendering import duration
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.motions import Options

_EMPTY = f"No jobs yet.\nOther screens start them, for example verify on {screen_place('models')}."
_MOST = 200
_DAY = 86_400
_STYLES = {
    JobState.QUEUED: "$muted", JobState.RUNNING: "$accent", JobState.DONE: "$success", JobState.FAILED: "$error",
    JobState.CANCELLED: "$warning", JobState.KILLED: "$error", JobState.LOST: "$error",
}  # fmt: skip


class JobsPane(Pane):
    """The newest first."""

    class CursorMoved(Message):
        """Another job is under the cursor."""

        def __init__(self, job: Job) -> None:
            super().__init__()
            self.job = job

    class Changed(Message):
        """Something was done with a job."""

    def __init__(self) -> None:
        super().__init__(
            title="Jobs",
            jump_key="j",
            id="jobs-list",
            help_text="Newest first. x cancels, r resumes, D deletes.",
        )
        self.jobs: list[Job] = []
        self._drawn: list[Job] = []

    def compose(self) -> ComposeResult:
        """The list."""
        yield Static(Content.styled("state      share  began  took     job", "$muted"), id="job-head", markup=False)
        yield Options(id="job-list", markup=False, compact=True)

    async def load(self, select: str = "") -> None:
        """Read the jobs again; with ``select`` put the cursor on one."""
        self.jobs = await asyncio.to_thread(lambda: self.services.jobs.store.all(_MOST))
        if self.jobs != self._drawn or not self.jobs:
            self._draw()
        place = next((n for n, job in enumerate(self.jobs) if job.id == select), None)
        if place is not None:
            self._options.highlighted = place

    @property
    def _options(self) -> OptionList:
        return self.query_one(OptionList)

    @property
    def current(self) -> Job | None:
        """The job under the cursor."""
        index = self._options.highlighted
        return self.jobs[index] if index is not None and index < len(self.jobs) else None

    def _draw(self) -> None:
        self._drawn = self.jobs
        options = self._options
        kept = options.highlighted or 0
        options.clear_options()
        for job in self.jobs:
            options.add_option(Option(_line(job), id=job.id))
        if not self.jobs:
            options.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))
        else:
            options.highlighted = min(kept, len(self.jobs) - 1)

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if self.current is not None:
            self.post_message(self.CursorMoved(self.current))

    # ── actions ──

    def action_cancel_job(self) -> None:
        """Ask, then ask the job to stop."""
        job = self.current
        if job is None or job.state.final:
            self.shell.say("This job has ended already.", severity="warning")
        else:
            self.act("cancel", self._cancel, job)

    async def _cancel(self, job: Job) -> None:
        if await self.shell.ask(ConfirmDialog(f"Cancel {safe_line(job.title)}?", "r resumes it.")):
            await asyncio.to_thread(self.services.jobs.cancel, job.id)
            self.post_message(self.Changed())

    def action_resume(self) -> None:
        """Start the ended job's work again."""
        if self.current is not None:
            self.act("resume", self._resume, self.current.id)

    async def _resume(self, job: str) -> None:
        await asyncio.to_thread(self.services.jobs.resume, job)
        self.post_message(self.Changed())

    def action_remove(self) -> None:
        """Ask, then delete the ended job."""
        if self.current is not None:
            self.act("removal", offer_removal, self.shell, "job", self.current.id, self._removed)

    async def _removed(self) -> None:
        self.post_message(self.Changed())


def _line(job: Job) -> Content:
    """A job in its columns: state, share of its work, when it began, how long it took so far, and what it does."""
    began = job.started_at or job.created_at
    form = "%H:%M" if time.time() - began < _DAY else "%d %b"
    took = "" if job.started_at is None else duration((job.finished_at or time.time()) - job.started_at)
    return Content.assemble(
        (f"{job.state.value:10} ", _STYLES[job.state]),
        (f"{job.progress:4.0%}   ", "" if job.state == JobState.RUNNING else "$muted"),
        (f"{time.strftime(form, time.localtime(began)):6} ", "$muted"),
        (f"{took:8} ", "$muted"),
        safe_line(job.title),
    )
