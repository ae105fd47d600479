"""Show the records that the import of a version rejected, or the rows that fell when a model wrote it."""

from __future__ import annotations

import asyncio

from llmops_tui.datasets.version import DatasetVersion
from screens.datasets.funnel_screen import FunnelScreen
from screens.datasets.rejects_screen import RejectsScreen
from screens.shell.shell import Shell

_SHOWN = 500


async def show_rejects(shell: Shell, version: DatasetVersion, log: list[DatasetVersion]) -> None:
    """Find the import or the synthesis that a version goes back to in the versions of its dataset, and show its first rejects."""
    from llmops_tui.datasets.rejects import HAVE_REJECTS, read_rejects
    from llmops_tui.synthesis.funnel import fallen_of, is_written

    by_number = {v.number: v for v in log}
    at = version
    while at.recipe.operation not in HAVE_REJECTS and at.parent is not None and at.parent in by_number:
        at = by_number[at.parent]
    if is_written(at):
        await shell.ask(FunnelScreen(at, await asyncio.to_thread(fallen_of, shell.services.workspace, at)))
        return
    found = await asyncio.to_thread(read_rejects, shell.services.workspace, at, _SHOWN)
    if found:
        await shell.ask(RejectsScreen(at, found))
    else:
        shell.say(f"Nothing was rejected when {at.ref} was imported.")
