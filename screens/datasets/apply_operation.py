"""Apply an operation to a version: small ones at once, others as a job."""

from __future__ import annotations

import asyncio
from functools import partial

from llmops_tui.counts import counted
from llmops_tui.datasets.version import DatasetVersion
from screens.datasets.operation import Operation
from screens.shell.job_progress import follow_job
from screens.shell.shell import Shell
from screens.widgets.panel import Panel

_JOB = "llmops_tui.datasets.operations.base:run_job"
_AT_ONCE = {"filter", "sample", "sort", "edit", "select", "map", "noise"}
_AT_ONCE_ROWS = 100_000


async def apply_operation(shell: Shell, progress: Panel, operation: Operation) -> DatasetVersion:
    """Make the version, and say what became of it; a job's progress is shown at the panel's border.

    Raises:
        LlmopsError: it was refused, or its job failed.
    """
    from llmops_tui.datasets.operations.base import apply

    services, version = shell.services, operation.version
    refs = [version.ref, *operation.others]
    if operation.name in _AT_ONCE and version.rows <= _AT_ONCE_ROWS:
        name = operation.name_of_made or None
        made = await asyncio.to_thread(
            partial(apply, services.datasets, operation.name, refs, operation.parameters, name=name)
        )
    else:
        job = await asyncio.to_thread(
            lambda: services.jobs.start(
                kind="dataset",
                title=f"{operation.name} {version.ref}",
                entry=_JOB,
                arguments={
                    "operation": operation.name,
                    "refs": refs,
                    "parameters": operation.parameters,
                    "name": operation.name_of_made or None,
                },
            )
        )
        result = await follow_job(services, progress, job)
        made = await asyncio.to_thread(services.datasets.get, f"{result['dataset']}@{result['version']}")
    if made.sha256 == version.sha256:
        shell.say(f"Nothing changed: {made.note}.")
    else:
        shell.say(f"{made.ref}: {counted(made.rows, 'row')}, {made.note}. z undoes it.")
    return made
