"""Ask where a chart is to be saved, and save it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from llmops_tui.user_files import with_home
from screens.shell.shell import Shell
from screens.widgets.chart_file import SUFFIXES, ChartFile, write_chart
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.dialogs import LineDialog

_HINT = "A path; .svg and .png are the picture, .csv the figures."


async def save_chart(shell: Shell, chart: ChartFile, name: str) -> None:
    """Save what is drawn; ``name`` is offered as the file's, in the folder where the app was started.

    Raises:
        LlmopsError: nothing is drawn yet, or the file cannot be written.
    """
    text = await shell.ask(
        LineDialog(f"Save the chart of {chart.title}", _HINT, f"{name}.svg", check=_problem, path=True)
    )
    if not text:
        return
    path, there = await asyncio.to_thread(_found, text)
    if there and not await shell.ask(DangerDialog(f"Replace {path}?", "What is in it goes.")):
        return
    await asyncio.to_thread(write_chart, path, chart, overwrite=there)
    shell.say(f"The chart is in {path}.")


def _found(text: str) -> tuple[Path, bool]:
    """The file that is meant, and whether it is there."""
    path = with_home(text).resolve()
    return path, path.exists()


def _problem(text: str) -> str:
    return "" if Path(text).suffix.lower() in SUFFIXES else f"The name ends with none of {', '.join(SUFFIXES)}."
