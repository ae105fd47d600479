"""Take back what was done last, on whichever screen; do it again; and the history of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from screens.shell.base import BaseScreen
from screens.shell.keymap_again import read_again
from screens.shell.notices import is_news
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    from llmops_tui.maintenance.acts import Act


async def step(shell: Shell, *, undo: bool) -> Act | None:
    """One act back, or forth; says what was done, and has the screen in front read it again."""
    history = shell.services.undo
    try:
        act = await asyncio.to_thread(history.undo if undo else history.redo)
    except LlmopsError as error:
        shell.report(error)
        return None
    if act is None:
        shell.say("There is nothing to undo." if undo else "There is nothing to redo.", severity="warning")
        return None
    screen = shell.screen
    elsewhere = isinstance(screen, BaseScreen) and screen.scope != act.screen
    where = f" ({act.screen})" if elsewhere else ""
    # What was told of the act, or of its undoing, says what is no longer so.
    shell.unsay(is_news)
    shell.say(
        f"{'Undone' if undo else 'Done again'}{where}: {act.holds}. {'Z does it again' if undo else 'z undoes it'}."
    )
    if act.kind == "keys":
        await read_again(shell)
    if isinstance(screen, BaseScreen):
        await screen.undone(act)
        await screen.show_archive()
    return act


async def show_history(shell: Shell) -> None:
    """Show all acts; the chosen one is the last that stays done, or is done again."""
    acts = await asyncio.to_thread(shell.services.undo.acts)
    # What was done at once goes back at once.
    steps_of = list({act.at: act for act in acts}.values())
    choices = [
        Choice(str(place), f"{'  undone  ' if act.undone else ''}{act.told}", _when(act.at))
        for place, act in enumerate(steps_of)
    ]
    title = "What was done, newest first. Enter takes back all down to the one under the cursor, or does it again."
    chosen = await shell.ask(ChoiceDialog(title, choices, "Nothing yet that can be taken back."))
    if chosen is None:
        return
    if await asyncio.to_thread(shell.services.undo.acts) != acts:
        shell.say(
            "Something was done meanwhile, and nothing is taken back: U shows the history as it is now.",
            severity="warning",
        )
        return
    place = int(chosen)
    undo = not steps_of[place].undone
    # What is undone are the newest: back to the chosen one, or forth to it.
    before, after = steps_of[: place + 1], steps_of[place:]
    steps = sum(not act.undone for act in before) if undo else sum(act.undone for act in after)
    for _ in range(steps):
        if await step(shell, undo=undo) is None:
            return


def _when(at: float) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(at))
