"""Run all checks over all rows of a version, as a job."""

from __future__ import annotations

import asyncio

from llmops_tui.datasets.version import DatasetVersion
from screens.shell.job_progress import follow_job
from screens.shell.shell import Shell
from screens.widgets.panel import Panel

_JOB = "llmops_tui.datasets.checks.runner:run_check_job"


async def check_version(shell: Shell, progress: Panel, version: DatasetVersion) -> None:
    """Check it, and say so; the report is kept beside the version.

    Raises:
        LlmopsError: ``job_failed``.
    """
    services = shell.services
    job = await asyncio.to_thread(
        lambda: services.jobs.start(
            kind="check", title=f"check {version.ref}", entry=_JOB, arguments={"ref": version.ref, "parameters": {}}
        )
    )
    await follow_job(services, progress, job)
    shell.say(f"{version.ref} is checked.")
