"""Say how a job of a model ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import Job, JobState
from screens.actions import screen_place
from screens.shell.shell import Shell

_SECONDS = 0.2


@dataclass(frozen=True)
class Begun:
    """A job that a flow began, and what is said when it ended well."""

    job: Job
    done: str


async def tell_end(shell: Shell, begun: Begun) -> None:
    """Wait for a job's end and say how it ended."""
    job = begun.job
    shell.say(f"{job.title} goes on in the background; {screen_place('jobs')} shows it.")
    while not job.state.final:
        await asyncio.sleep(_SECONDS)
        job = await asyncio.to_thread(shell.services.jobs.store.get, job.id)
    if job.state == JobState.DONE:
        shell.say(" ".join([begun.done, *(job.result or {}).get("notes", [])]))
    else:
        shell.report(LlmopsError("job_failed", f"{job.title}: {job.state.value}: {job.cause}", "Jobs has its log."))
