"""The jobs screen: background jobs with progress, output and outcome."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_text
from llmops_tui.workspace.notices import read_notices
from screens.actions import bindings_of
from screens.jobs.jobs_pane import JobsPane
from screens.jobs.log_pane import LogPane
from screens.navigation import Destination, JobPlace
from screens.shell.live_screen import LiveScreen

if TYPE_CHECKING:
    from pathlib import Path

    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> JobsScreen:
    """Make the screen."""
    return JobsScreen(services, profile)


class JobsScreen(LiveScreen):
    """A list at the left, the log at the right, notices of the workspace above."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("jobs")  # type: ignore[assignment]
    AUTO_FOCUS = "#job-list"
    opens = (JobPlace,)
    scope = "jobs"
    about = (
        "Jobs are separate processes: they continue when this app, tmux or the SSH connection ends, and appear "
        "again at the next start. A failed job shows the cause."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self._told: list[Path] = []

    def compose_body(self) -> ComposeResult:
        """Notices, then two panes."""
        yield Static("", id="notices", markup=False)
        with Horizontal(id="columns"):
            yield JobsPane()
            yield LogPane()

    @property
    def _jobs(self) -> JobsPane:
        return self.query_one(JobsPane)

    async def refresh_all(self, select: str = "") -> None:
        """Read jobs, notices and the log again."""
        await self._jobs.load(select)
        notices = await asyncio.to_thread(read_notices, self.services.workspace)
        shown = self.query_one("#notices", Static)
        self._told = [path for path, _ in notices]
        shown.display = bool(notices)
        shown.update("\n".join(f"⚠ {safe_text(text)}" for _, text in notices))
        await self.query_one(LogPane).show(self._jobs.current)

    @on(JobsPane.CursorMoved)
    def _cursor_moved(self, event: JobsPane.CursorMoved) -> None:
        self.act("log", self.query_one(LogPane).show, event.job)

    @on(JobsPane.Changed)
    def _changed(self) -> None:
        self.action_refresh_jobs()

    def action_refresh_jobs(self) -> None:
        """Look now."""
        self.act("load", self.refresh_all)

    def action_dismiss_notices(self) -> None:
        """Dismiss the notices that were read."""
        self.act("notices", self._dismiss, self._told)

    async def _dismiss(self, told: list[Path]) -> None:
        """Those that were shown when the key was pressed: what came since was not read by anybody."""
        for path in told:
            path.unlink(missing_ok=True)
        await self.refresh_all()
        self.shell.say(f"{counted(len(told), 'notice')} dismissed." if told else "There are no notices.")

    # ── places ──

    async def go_to(self, destination: Destination) -> None:
        """Put the cursor on a job."""
        if isinstance(destination, JobPlace):
            self.act("load", self.refresh_all, destination.job)

    def place(self) -> JobPlace | None:
        """The job under the cursor."""
        return JobPlace(self._jobs.current.id) if self._jobs.current is not None else None

    def copy_choices(self) -> list[tuple[str, str]]:
        """The id and the command."""
        job = self._jobs.current
        return [("job id", job.id), ("command", self.cli_command())] if job is not None else []

    def cli_command(self) -> str:
        """``llmops job show``."""
        job = self._jobs.current
        return shlex.join(["llmops", "job", "show", job.id]) if job is not None else "llmops job list"
