"""Wait for a job, and show its progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from textual.worker import NoActiveWorker, get_current_worker

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import Job, JobState
from screens.services import Services
from screens.shell.shell import Shell
from screens.widgets.panel import Panel

_SECONDS = 0.2


async def wait_for_job(services: Services, job: Job, told: Callable[[str], object]) -> dict[str, Any]:
    """A job's result once it has ended; its progress is told until then, and nothing at the end.

    Keys are not kept for a dialog that may follow it.

    Raises:
        LlmopsError: ``job_failed``.
    """
    app = None
    with suppress(NoActiveWorker):
        if isinstance(found := get_current_worker().node.app, Shell):
            app = found
            app.works_on()
    try:
        while not job.state.final:
            told(f"{job.title} {job.progress:.0%} {job.message}")
            await asyncio.sleep(_SECONDS)
            job = await asyncio.to_thread(services.jobs.store.get, job.id)
            if app is not None:
                app.show_jobs([job])
    finally:
        told("")  # whoever waits no longer must not go on telling how far it was
    if job.state != JobState.DONE:
        raise LlmopsError("job_failed", f"{job.title}: {job.state.value}: {job.cause}", "The jobs screen has its log.")
    return job.result or {}


async def follow_job(services: Services, panel: Panel, job: Job) -> dict[str, Any]:
    """As :func:`wait_for_job`, with the progress as the pane's note."""
    return await wait_for_job(services, job, panel.set_note)
