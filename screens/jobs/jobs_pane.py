"""The list of jobs, and the actions on the selected one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.counts import counted
from llmops_tui.jobs.outcomes import outcome, seconds_left
from llmops_tui.jobs.store import Job, JobState
from llmops_tui.safe_text import safe_line
from llmops_tui.states import mark_of, tone_of
from screens.actions import screen_place
from screens.jobs.places import place_of_job
from screens.shell.pane import Pane
from screens.shell.removal import offer_removal
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.table import Table

_EMPTY = f"No jobs yet.\nOther screens start them, for example verify on {screen_place('models')}."
_MOST = 200
_HELP = (
    "What runs or waits, then the newest; > and < sort. enter opens what a job made, space selects, x cancels, r resumes, "
    "D deletes."
)

# What is said of a job from the key on that asks it to stop.
STOPPING = "stopping …"
_FIRST = {JobState.RUNNING: 0, JobState.QUEUED: 1}
_BAR_CELLS = 6
# Lines of the pane beside its rows: its border and the head of the list.
_AROUND = 3


def _took(job: Job) -> float | None:
    """Seconds at work, until now where it is not over."""
    return None if job.started_at is None else max(0.0, (job.finished_at or time.time()) - job.started_at)


def _share(job: Job) -> Part:
    """How far it is, or came; of one that is done its state says it."""
    if job.state in {JobState.DONE, JobState.QUEUED} or (job.state.final and not job.progress):
        return "", "muted"
    if job.state != JobState.RUNNING:
        return units.share(job.progress), "muted"
    return f"{units.bar(job.progress, _BAR_CELLS)} {units.share(job.progress):>3}", "accent"


def _left(job: Job) -> Part:
    left = None if job.stopping else seconds_left(job, time.time())
    return ("", "muted") if left is None else (units.clock_time(left), "plain")


def _outcome(job: Job) -> Part:
    """What it says of its work now, what it made, or why it ended as it did."""
    if job.state.final and job.state != JobState.DONE and not job.cause:
        return safe_line(job.message, 300), "muted"  # how far it came has a column of its own
    return safe_line(outcome(job), 300), "bad" if job.cause else "plain" if job.state == JobState.DONE else "muted"


def _state(job: Job) -> Part:
    word = job.word
    return (f"{mark_of('stopped')} {STOPPING}", "warn") if job.stopping else (f"{mark_of(word)} {word}", tone_of(word))


COLUMNS: list[Column[Job]] = [
    Column("state", _state),
    Column("done", _share, lambda job: job.progress, unit="%", right=True, falling=True, rank=1, spare=True),
    Column("job", lambda job: safe_line(job.title, 200), share=2, least=16),
    Column("outcome", _outcome, share=3, least=16, rank=2),
    Column(
        "began", lambda job: units.moment(job.started_at or job.created_at),
        lambda job: job.started_at or job.created_at, falling=True, rank=5,
    ),
    Column(
        "took", lambda job: "–" if (took := _took(job)) is None else units.clock_time(took), _took,
        unit="m:s", right=True, falling=True, rank=3, least=8,
    ),
    Column("left", _left, lambda job: seconds_left(job, time.time()), unit="m:s", right=True, spare=True, rank=6, least=8),
    Column("kind", lambda job: (safe_line(job.kind), "muted"), rank=7, chosen=False),
    Column("id", lambda job: (job.id, "muted"), rank=8, chosen=False),
]  # fmt: skip


def in_order(jobs: list[Job]) -> list[Job]:
    """Those at work, those that wait, then the others as they are: the newest first."""
    return sorted(jobs, key=lambda job: _FIRST.get(job.state, len(_FIRST)))


class JobsPane(Pane):
    """Those at work, then those that wait, then the newest first."""

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
            help_text=_HELP,
        )
        # Those that were asked to stop here, before that is recorded.
        self._stopping: set[str] = set()

    def compose(self) -> ComposeResult:
        """The list."""
        yield Table(COLUMNS, id="job-list", key=lambda job: job.id, empty=_EMPTY, reads=True)

    async def load(self, select: str = "") -> None:
        """Read the jobs again; with ``select`` put the cursor on one."""
        jobs = await asyncio.to_thread(lambda: self.services.jobs.store.all(_MOST))
        jobs = [replace(job, stop_asked=True) if job.id in self._stopping else job for job in in_order(jobs)]
        self.shell.show_jobs(jobs)
        before = self.current
        if not jobs or jobs != self._jobs.rows or select or any(not job.state.final for job in jobs):
            self._jobs.fill(jobs, select)
        counts = [(state.value, sum(job.state == state for job in jobs)) for state in _FIRST]
        told = [f"{count:,} {state}" for state, count in counts if count]
        self.set_title("Jobs", " · ".join([f"{len(jobs):,}", *told]))
        # Few jobs leave their log the room that they do not need, where nobody gave them another share.
        if not self.styles.inline.has_rule("height"):
            self.styles.max_height = _AROUND + max(2, len(jobs))
        if self.current is not None and (self.current != before or select):
            self.post_message(self.CursorMoved(self.current))

    @property
    def _jobs(self) -> Table[Job]:
        return self.query_one(Table)

    @property
    def jobs(self) -> list[Job]:
        """All that were read, those that are not over first."""
        return self._jobs.rows

    @property
    def current(self) -> Job | None:
        """The job under the cursor."""
        return self._jobs.current

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        if self.current is not None:
            self.post_message(self.CursorMoved(self.current))

    # ── actions ──

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        self.action_open()

    def action_open(self) -> None:
        """Go to what the job made, or works on."""
        if self.current is None:
            return
        if (place := place_of_job(self.current)) is not None:
            self.shell.open_place(place)
        else:
            self.shell.say(f"Jobs such as {self.current.title} have no place of their own; the log has all.")

    def action_cancel_job(self) -> None:
        """Ask, then ask the jobs to stop."""
        jobs = [job for job in self._jobs.picked if not job.state.final]
        if not jobs:
            self.shell.say("This job has ended already.", severity="warning")
        else:
            self.ask_by("cancel", self._cancel, jobs)

    async def _cancel(self, jobs: list[Job]) -> None:
        what = safe_line(jobs[0].title) if len(jobs) == 1 else counted(len(jobs), "job")
        if await self.shell.ask(ConfirmDialog(f"Cancel {what}?", "r on this screen resumes it.")):
            self._say_stopping(jobs)
            try:
                for job in jobs:
                    await asyncio.to_thread(self.services.jobs.cancel, job.id)
            finally:
                self._stopping -= {job.id for job in jobs}  # from now on the records say it
            self.post_message(self.Changed())

    def _say_stopping(self, jobs: list[Job]) -> None:
        """Say at once that it was heard: on a busy machine it takes a while until that is recorded, and jobs end."""
        self._stopping |= {job.id for job in jobs}
        told = [replace(job, stop_asked=True) if job.id in self._stopping else job for job in self._jobs.rows]
        self._jobs.fill(told)
        if self.current is not None:
            self.post_message(self.CursorMoved(self.current))

    def action_resume(self) -> None:
        """Start the ended job's work again."""
        if self.current is None:
            return
        if self.current.state == JobState.DONE:
            self.shell.say(f"{self.current.title} is done: nothing is left to resume.", severity="warning")
        else:
            self.act("resume", self._resume, self.current.id)

    async def _resume(self, job: str) -> None:
        await asyncio.to_thread(self.services.jobs.resume, job)
        self.post_message(self.Changed())

    def action_remove(self) -> None:
        """Ask, then delete the ended jobs."""
        if self._jobs.picked:
            self.ask_by(
                "removal", offer_removal, self.shell, "job", [job.id for job in self._jobs.picked], self._removed
            )

    async def _removed(self) -> None:
        self.post_message(self.Changed())
