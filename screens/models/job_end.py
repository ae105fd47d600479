"""Say how a job of a model ended."""

from __future__ import annotations

import asyncio

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import Job, JobState
from screens.actions import screen_place
from screens.shell.shell import Shell

_SECONDS = 0.2


async def tell_end(shell: Shell, job: Job, done: str) -> None:
    """Wait for a job's end and say how it ended, ``done`` where it did well."""
    shell.say(f"{job.title} goes on in the background; {screen_place('jobs')} shows it.")
    while not job.state.final:
        await asyncio.sleep(_SECONDS)
        job = await asyncio.to_thread(shell.services.jobs.store.get, job.id)
    if job.state == JobState.DONE:
        shell.say(" ".join([done, *(job.result or {}).get("notes", [])]))
    else:
        shell.report(LlmopsError("job_failed", f"{job.title}: {job.state.value}: {job.cause}", "Jobs has its log."))
