"""Wait for a job on a screen, with its progress at the border of a pane."""

from __future__ import annotations

import asyncio
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import Job, JobState
from screens.services import Services
from screens.widgets.panel import Panel

_SECONDS = 0.2


async def follow_job(services: Services, panel: Panel, job: Job) -> dict[str, Any]:
    """A job's result once it has ended; its progress is the pane's note until then.

    Raises:
        LlmopsError: ``job_failed``.
    """
    while not job.state.final:
        panel.set_note(f"{job.title} {job.progress:.0%} {job.message}")
        await asyncio.sleep(_SECONDS)
        job = await asyncio.to_thread(services.jobs.store.get, job.id)
    panel.set_note("")
    if job.state != JobState.DONE:
        raise LlmopsError("job_failed", f"{job.title}: {job.state.value}: {job.cause}", "Jobs has its log.")
    return job.result or {}
