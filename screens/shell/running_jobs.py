"""The jobs at work as they were read last, whoever read them: no two places tell a different share of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmops_tui.jobs.store import Job, JobState
from llmops_tui.safe_text import safe_line


class RunningJobs:
    """What the status line tells of jobs. The recorder reads them each second, a pane that follows one more often."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def take(self, jobs: Iterable[Job], *, complete: bool) -> None:
        """Jobs that were just read; all that are at work are among them with ``complete``."""
        read = {job.id: job for job in jobs}
        known = read if complete else self._jobs | read
        self._jobs = {name: job for name, job in known.items() if job.state == JobState.RUNNING}

    @property
    def jobs(self) -> list[Job]:
        """Those at work, the newest first."""
        return sorted(self._jobs.values(), key=lambda job: job.id, reverse=True)

    def told(self) -> dict[str, Any]:
        """The fields of the status that tell of them."""
        running = self.jobs
        return {
            "jobs": len(running),
            "job_title": f"{running[0].title} {running[0].progress:.0%}" if running else "",
        }

    def told_at_end(self) -> str:
        """What goes on when the app is left, a line for each job, with its line end."""
        return "".join(
            f"{safe_line(job.title, 200)} goes on, {job.progress:.0%} done: llmops shows it again, llmops job list tells of it.\n"
            for job in self.jobs
        )
