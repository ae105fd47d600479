"""Import of files, with a preview first."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.user_files import with_home
from screens.datasets.import_screen import ImportScreen
from screens.shell.job_progress import follow_job
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.datasets.import_preview import Preview
    from llmops_tui.datasets.reports import ImportArguments
    from llmops_tui.datasets.version import DatasetVersion

_HINT = "JSONL, JSON, CSV, Excel, Parquet, Arrow, text, SQLite, a dataset folder; compressed or not. They are previewed first."


async def ask_for_import(shell: Shell) -> ImportArguments | None:
    """Ask for files, show what they seem to hold, and ask how to read them; none where that was left.

    Raises:
        InputRefusedError: nothing there can be imported, or not so.
    """
    from llmops_tui.datasets.import_job import start_arguments

    text = await shell.ask(LineDialog("Path of a file or folder", _HINT, path=True))
    if not text:
        return None
    paths = _paths(text)
    inspected = await _inspect(shell, paths)
    if inspected is None:
        return None
    seen, table = inspected
    choice = await shell.ask(ImportScreen(seen, paths))
    return start_arguments(paths, choice.name, choice.format, choice.mapping, table=table) if choice else None


def _paths(text: str) -> list[Path]:
    """One path as it is, or several as a shell reads them."""
    whole = with_home(text)
    if whole.exists():
        return [whole]
    try:
        return [with_home(word) for word in shlex.split(text)]
    except ValueError:
        return [whole]


async def _inspect(shell: Shell, paths: list[Path]) -> tuple[Preview, str] | None:
    """What files seem to hold, and the table where one had to be chosen; none where none was."""
    from llmops_tui.datasets.import_preview import preview

    datasets = shell.services.datasets
    try:
        return await asyncio.to_thread(preview, datasets, paths), ""
    except InputRefusedError as error:
        if error.code != "table_needed":
            raise
    table = await _choose_table(shell, paths[0])
    return (await asyncio.to_thread(preview, datasets, paths, table=table), table) if table is not None else None


async def _choose_table(shell: Shell, path: Path) -> str | None:
    from llmops_tui.datasets.sources.discovery import tables_of

    choices = [Choice(name, name) for name in await asyncio.to_thread(tables_of, path)]
    return await shell.ask(ChoiceDialog(f"Which table of {path.name}", choices))


async def import_files(shell: Shell, progress: Panel, arguments: ImportArguments) -> DatasetVersion:
    """Read files into a version, as a job, and say what it holds.

    Raises:
        LlmopsError: ``job_failed``.
    """
    from llmops_tui.datasets.import_job import ENTRY

    services = shell.services
    job = await asyncio.to_thread(
        lambda: services.jobs.start(
            kind="import", title=f"import {arguments['name']}", entry=ENTRY, arguments=arguments
        )
    )
    made = await follow_job(services, progress, job)
    ref = f"{made['dataset']}@{made['version']}"
    apart = f", {made['rejected']:,} rejected" if made["rejected"] else ""
    version = await asyncio.to_thread(services.datasets.get, ref)
    # Of the same rows as before no version is made.
    undoes = " z undoes it." if await asyncio.to_thread(services.undo.note_rows, version) else ""
    shell.say(f"{ref}: {counted(made['rows'], 'row')}{apart}.{undoes}")
    return version
