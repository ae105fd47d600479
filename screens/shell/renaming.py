"""Ask for another name of a prompt or dataset, or for that of a copy, and do it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.names import RULE, as_name, is_name
from llmops_tui.safe_text import safe_line
from screens.shell.shell import Shell
from screens.widgets.dialogs import ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.maintenance.archiving import Archivable
    from llmops_tui.maintenance.record_removal import Kept


async def rename(shell: Shell, kind: Kept, name: str) -> str:
    """The name it has now; empty where it was left as it is.

    Raises:
        LlmopsError: the name is taken, or a job is at work with it.
    """
    from llmops_tui.maintenance.renaming import plan_renaming

    new = await _ask_name(shell, f"Another name for {kind.value} {safe_line(name)}", name)
    if not new or new == name:
        return ""
    planned = await asyncio.to_thread(plan_renaming, shell.services.workspace, kind, name, new)
    if planned.uses and not planned.in_the_way:
        told = "\n".join(safe_line(use) for use in planned.uses)
        question = f"{told}\n\nThey name it as it is called now, and would not find it. z takes it back."
        if not await shell.ask(ConfirmDialog(f"Call {safe_line(name)} {new}?", question)):
            return ""
    await asyncio.to_thread(shell.services.undo.rename, kind, name, new, force=bool(planned.uses))
    shell.say(f"{name} is called {new}; z undoes.")
    return new


async def copy(shell: Shell, kind: Kept, ref: str) -> str:
    """The version that was made of another, the first of its name; empty where none was.

    Raises:
        LlmopsError: the name is taken.
    """
    name = ref.partition("@")[0]
    new = await _ask_name(shell, f"The name of the copy of {safe_line(ref)}", f"{name}-copy")
    if not new:
        return ""
    made = await asyncio.to_thread(shell.services.undo.copy, kind, ref, new)
    shell.say(f"{made} is a copy of {ref}; z undoes.")
    return made


async def copy_definition(shell: Shell, kind: Archivable, ref: str) -> str:
    """The version that was made of a suite or a recipe, the first of its name; empty where none was.

    Raises:
        LlmopsError: the name is taken.
    """
    new = await _ask_name(shell, f"The name of the copy of {safe_line(ref)}", f"{ref.partition('@')[0]}-copy")
    if not new:
        return ""
    made = await asyncio.to_thread(shell.services.undo.copy, kind, ref, new)
    shell.say(f"{made} is a copy of {ref}; z undoes. & archives the old one.")
    return made


async def _ask_name(shell: Shell, title: str, value: str) -> str:
    text = await shell.ask(LineDialog(title, RULE, value, check=_problem))
    return as_name(text) if text else ""


def _problem(text: str) -> str:
    return "" if is_name(as_name(text)) else f"{text!r} is no name."
