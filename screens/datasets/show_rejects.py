"""Show the records that the import of a version rejected."""

from __future__ import annotations

import asyncio

from llmops_tui.datasets.version import DatasetVersion
from screens.datasets.rejects_screen import RejectsScreen
from screens.shell.shell import Shell

_SHOWN = 500


async def show_rejects(shell: Shell, version: DatasetVersion, log: list[DatasetVersion]) -> None:
    """Find the import that a version goes back to in the versions of its dataset, and show its first rejects."""
    from llmops_tui.datasets.rejects import read_rejects

    by_number = {v.number: v for v in log}
    at = version
    while at.recipe.operation != "import" and at.parent is not None and at.parent in by_number:
        at = by_number[at.parent]
    found = await asyncio.to_thread(read_rejects, shell.services.workspace, at, _SHOWN)
    if found:
        await shell.ask(RejectsScreen(at, found))
    else:
        shell.say(f"Nothing was rejected when {at.ref} was imported.")
