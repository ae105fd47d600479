"""The jobs screen: what runs in the background, how far it is, what it printed, how it ended."""

from __future__ import annotations

import asyncio
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.jobs.store import Job, JobState
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.workspace.files import open_regular
from llmops_tui.workspace.notices import read_notices
from screens.actions import bindings_of, screen_place
from screens.base import BaseScreen
from screens.removing import offer_removal
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile

_EMPTY = f"No jobs yet.\nThey start where the work is: verify on {screen_place('models')}, for example."
_LOG_BYTES = 20_000
_SECONDS = 1.0
_STYLES = {
    JobState.QUEUED: "$muted", JobState.RUNNING: "$accent", JobState.DONE: "$success", JobState.FAILED: "$error",
    JobState.CANCELLED: "$warning", JobState.KILLED: "$error", JobState.LOST: "$error",
}  # fmt: skip


def make(services: Services, profile: TerminalProfile) -> JobsScreen:
    """Make the screen."""
    return JobsScreen(services, profile)


class JobsScreen(BaseScreen):
    """A list at the left, the log at the right, notices of the workspace above."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("jobs")  # type: ignore[assignment]
    AUTO_FOCUS = "#job-list"
    scope = "jobs"
    about = (
        "Jobs are processes of their own: they go on when this app, tmux or the SSH connection ends, and are found "
        "again at the next start. One that died says of what."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self._jobs: list[Job] = []
        self._drawn: list[Job] = []
        self._timer: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Notices, then two panes."""
        yield Static("", id="notices", markup=False)
        with Horizontal(id="columns"):
            with Panel(
                title="Jobs",
                jump_key="j",
                id="jobs",
                help_text="The newest first. x cancels, r starts again, D deletes.",
            ):
                yield OptionList(id="job-list", markup=False, compact=True)
            with Panel(title="Log", jump_key="g", id="log", help_text="The end of what the job printed."):
                with VerticalScroll(id="log-scroll"):
                    yield Static("", id="log-text", markup=False)

    def on_screen_resume(self) -> None:
        """Look again, and go on looking while the screen is in front."""
        self.action_refresh_jobs()
        self._timer = self._timer or self.set_interval(_SECONDS, self.action_refresh_jobs)
        self._timer.resume()

    def on_screen_suspend(self) -> None:
        """Nothing is read while the screen is hidden."""
        if self._timer is not None:
            self._timer.pause()

    def action_refresh_jobs(self) -> None:
        """Look now."""
        self.act("load", self._refresh)

    async def _refresh(self) -> None:
        self._jobs = await asyncio.to_thread(lambda: self.services.jobs.store.all(200))
        notices = await asyncio.to_thread(read_notices, self.services.workspace)
        banner = "\n".join(f"⚠ {safe_text(text)}" for _, text in notices)
        shown = self.query_one("#notices", Static)
        shown.display = bool(notices)
        shown.update(banner)
        if self._jobs != self._drawn or not self._jobs:
            self._draw()
        await self._show_log()

    def _draw(self) -> None:
        self._drawn = self._jobs
        options = self.query_one("#job-list", OptionList)
        kept = options.highlighted or 0
        options.clear_options()
        for job in self._jobs:
            when = time.strftime("%H:%M", time.localtime(job.created_at))
            share = f" {job.progress:.0%}" if job.state == JobState.RUNNING else ""
            options.add_option(
                Option(
                    Content.assemble(
                        (f"{job.state.value:9}", _STYLES[job.state]),
                        f"{share} {safe_line(job.title)}",
                        (f"  {when}", "$muted"),
                    ),
                    id=job.id,
                )
            )
        if not self._jobs:
            options.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))
        else:
            options.highlighted = min(kept, len(self._jobs) - 1)

    @property
    def current(self) -> Job | None:
        """The job under the cursor."""
        index = self.query_one("#job-list", OptionList).highlighted
        return self._jobs[index] if index is not None and index < len(self._jobs) else None

    @on(OptionList.OptionHighlighted)
    def _looked(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.act("log", self._show_log)

    async def _show_log(self) -> None:
        job = self.current
        if job is None:
            return
        path = self.services.jobs.store.folder(job) / "output.log"
        text = await asyncio.to_thread(_tail, path)
        head: list[tuple[str, str] | str] = [(job.id, "bold"), f"  {job.state.value}"]
        head += [(f"  {safe_line(job.cause)}", "$error")] if job.cause else []
        head += [f"\n{safe_line(job.message)}"] if job.message else []
        self.query_one("#log-text", Static).update(Content.assemble(*head, "\n\n", safe_text(text)))

    def action_cancel_job(self) -> None:
        """Ask, then ask the job to stop."""
        job = self.current
        if job is None or job.state.final:
            self.app.say("This job has ended already.", severity="warning")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.act("cancel", self._cancel, job.id)

        self.app.push_screen(
            ConfirmDialog(f"Cancel {safe_line(job.title)}?", "It can be started again with r."), answered
        )

    async def _cancel(self, job_id: str) -> None:
        await asyncio.to_thread(self.services.jobs.cancel, job_id)
        await self._refresh()

    def action_resume(self) -> None:
        """Start the ended job's work again."""
        job = self.current
        if job is not None:
            self.act("resume", self._resume, job.id)

    async def _resume(self, job_id: str) -> None:
        await asyncio.to_thread(self.services.jobs.resume, job_id)
        await self._refresh()

    def action_remove(self) -> None:
        """Ask, then delete the ended job."""
        job = self.current
        if job is not None:
            offer_removal(self, "job", job.id, self._refresh)

    async def undo(self) -> str:
        """Dismiss the notices that were read."""
        notices = await asyncio.to_thread(read_notices, self.services.workspace)
        for path, _ in notices:
            path.unlink(missing_ok=True)
        await self._refresh()
        return f"{len(notices)} notices dismissed" if notices else ""

    def copy_choices(self) -> list[tuple[str, str]]:
        """The id and the command."""
        job = self.current
        return [("job id", job.id), ("command", self.cli_command())] if job is not None else []

    def cli_command(self) -> str:
        """``llmops job show``."""
        job = self.current
        return shlex.join(["llmops", "job", "show", job.id]) if job is not None else "llmops job list"


def _tail(path: Path) -> str:
    try:
        with open_regular(path) as reader:
            size = reader.seek(0, 2)
            reader.seek(max(0, size - _LOG_BYTES))
            return reader.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
