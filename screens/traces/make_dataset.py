"""Make a dataset version of the traces that are shown."""

from __future__ import annotations

import asyncio
import time

from screens.services import Services
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

_SHAPES = [
    Choice("messages", "Conversations", "corrections instead of the answers, and upvoted answers"),
    Choice(
        "preference", "Pairs of a better and a worse answer", "for DPO: corrections, and thumbs to the same question"
    ),
]
_HINT = "A new version is made. Personal data is redacted; llmops traces to-dataset --keep-personal keeps it."


async def make_dataset(shell: Shell, said: str) -> None:
    """Ask for the shape and the name, then make a version of the traces that the filter ``said`` finds."""
    shape = await shell.ask(ChoiceDialog("Make a dataset of the shown traces, as …", _SHAPES))
    if shape is None:
        return
    name = await shell.ask(LineDialog("Name of the dataset", _HINT, "feedback"))
    if name:
        shell.say(await asyncio.to_thread(_make, shell.services, said, shape, name), seconds=10.0)


def _make(services: Services, said: str, shape: str, name: str) -> str:
    from llmops_tui.traces.store import TraceFilter
    from llmops_tui.traces.to_dataset import gather, make_version

    gathered = gather(services.traces, TraceFilter.parse(said, time.time()), shape, "redact")
    version = make_version(services.datasets, name, gathered, shape, "redact")
    undoes = " z undoes it." if services.undo.note_rows(version) else ""
    left = sum(gathered.left_out.values())
    return f"{version.ref}: {version.note}" + (f"; {left} left out" if left else "") + f".{undoes}"
