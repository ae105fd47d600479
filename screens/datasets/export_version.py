"""Write a version to a file, as a job that reads the file again."""

from __future__ import annotations

import asyncio

from llmops_tui.counts import counted
from screens.datasets.operation import Export
from screens.shell.job_progress import follow_job
from screens.shell.shell import Shell
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.panel import Panel

_JOB = "llmops_tui.datasets.export_job:run_export_job"


async def export_version(shell: Shell, progress: Panel, export: Export) -> None:
    """Ask where the file is there already, write it, and say whether reading it gives the same rows.

    Raises:
        LlmopsError: ``job_failed``.
    """
    services, ref, target = shell.services, export.version.ref, export.target
    there = await asyncio.to_thread(target.exists)
    if there and not await shell.ask(DangerDialog(f"Replace {target}?", "What is in it goes.")):
        return
    job = await asyncio.to_thread(
        lambda: services.jobs.start(
            kind="export",
            title=f"export {ref}",
            entry=_JOB,
            arguments={"ref": ref, "target": str(target), "form": None, "file_type": None, "overwrite": there},
        )
    )
    made = await follow_job(services, progress, job)
    if made["reads_back"]:
        shell.say(f"{made['path']}: {counted(made['rows'], 'row')}; reading it back gives the same rows.")
    else:
        shell.say(
            f"{made['path']}: importing it gives different rows: {made['differs']}", severity="warning", seconds=12
        )
