"""Split a version into parts, as a job."""

from __future__ import annotations

import asyncio

from llmops_tui.counts import counted
from llmops_tui.datasets.version import DatasetVersion
from screens.datasets.operation import Split
from screens.shell.job_progress import follow_job
from screens.shell.shell import Shell
from screens.widgets.panel import Panel

_JOB = "llmops_tui.datasets.operations.splits:run_split"


async def split_version(shell: Shell, progress: Panel, split: Split) -> list[DatasetVersion]:
    """Make the parts, and say what they are.

    Raises:
        LlmopsError: ``job_failed``.
    """
    services, ref = shell.services, split.version.ref
    job = await asyncio.to_thread(
        lambda: services.jobs.start(
            kind="dataset",
            title=f"split {ref}",
            entry=_JOB,
            arguments={"ref": ref, "parts": split.parts, "options": split.options},
        )
    )
    made = await follow_job(services, progress, job)
    refs = [f"{part['dataset']}@{part['version']}" for part in made["parts"]]
    parts = await asyncio.to_thread(lambda: [services.datasets.get(name) for name in refs])
    told = ", ".join(f"{part.ref} {counted(part.rows, 'row')}" for part in parts)
    undoes = " z undoes it." if await asyncio.to_thread(services.undo.note_rows, *parts) else ""
    shell.say(f"{told}.{undoes}")
    return parts
