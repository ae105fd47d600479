"""Write a run to a file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.user_files import with_home
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun

_HINT = ".json for lm-eval results, .jsonl for samples, .csv, .parquet, .md, .xml for JUnit"


async def export_run(shell: Shell, run: EvalRun) -> None:
    """Ask for a file, whose ending says the form, and write the run to it.

    Raises:
        InputRefusedError: ``file_exists``.
    """
    from llmops_tui.evaluation.reports import export

    text = await shell.ask(LineDialog(f"Write {run.name} to", _HINT, f"{run.name}.json", path=True))
    if not text:
        return
    target = await asyncio.to_thread(with_home, text)
    if await asyncio.to_thread(target.exists):
        raise InputRefusedError("file_exists", f"{target} already exists", "Choose another name.")
    await asyncio.to_thread(export, run, target)
    shell.say(f"{target} is written.")
