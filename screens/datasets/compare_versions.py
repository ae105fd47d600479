"""Compare a version with another, row by row."""

from __future__ import annotations

import asyncio

from llmops_tui.counts import counted
from llmops_tui.datasets.version import DatasetVersion
from screens.datasets.diff_screen import VersionDiffScreen
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog


async def compare_versions(shell: Shell, version: DatasetVersion) -> None:
    """Ask what to compare with, its parent first, then its other versions and other datasets; show the differences."""
    logs = await asyncio.to_thread(lambda: shell.services.datasets.logs())
    others = [v for v in logs.get(version.dataset, []) if v.id != version.id]
    others.sort(key=lambda v: v.number != version.parent)
    others += [log[0] for name, log in logs.items() if name != version.dataset]

    def note(v: DatasetVersion) -> str:
        parent = v.dataset == version.dataset and v.number == version.parent
        return f"{counted(v.rows, 'row')}  {v.note}{'  parent' if parent else ''}"

    choices = [Choice(v.ref, v.ref, note(v), "dataset") for v in others]
    ref = await shell.ask(ChoiceDialog(f"Compare {version.ref} with", choices, "There is nothing to compare with."))
    if ref is not None:
        await shell.ask(VersionDiffScreen(next(v for v in others if v.ref == ref), version))
