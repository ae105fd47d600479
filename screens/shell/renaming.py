"""Ask for another name of a prompt, dataset or model, or for that of a copy, and do it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.models.names import RULE as MODEL_RULE
from llmops_tui.models.names import check_name
from llmops_tui.names import RULE, as_name, is_name
from llmops_tui.safe_text import safe_line
from screens.shell.shell import Shell
from screens.widgets.dialogs import ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.maintenance.archiving import Archivable, Kept
    from llmops_tui.maintenance.renaming import Renaming
    from llmops_tui.workspace.layout import Workspace


async def rename(shell: Shell, kind: Kept | Archivable, name: str) -> str:
    """The name it has now; empty where it was left as it is.

    Raises:
        LlmopsError: the name is taken, or a job is at work with it.
    """
    new = await _ask_name(shell, kind, f"Another name for {kind.value} {safe_line(name)}", name)
    if not new or new == name:
        return ""
    planned = await asyncio.to_thread(_plan, shell.services.workspace, kind, name, new)
    if planned.uses and not planned.in_the_way:
        told = "\n".join(safe_line(use) for use in planned.uses)
        question = f"{told}\n\nThey name it as it is called now, and would not find it. z takes it back."
        if not await shell.ask(ConfirmDialog(f"Call {safe_line(name)} {new}?", question)):
            return ""
    await asyncio.to_thread(shell.services.undo.rename, kind, name, new, force=bool(planned.uses))
    shell.say(f"{name} is called {new}; z undoes.")
    return new


def _plan(workspace: Workspace, kind: Kept | Archivable, name: str, new: str) -> Renaming:
    from llmops_tui.maintenance.archiving import Kept
    from llmops_tui.maintenance.model_renaming import plan_model_renaming
    from llmops_tui.maintenance.renaming import plan_renaming

    if isinstance(kind, Kept):
        return plan_renaming(workspace, kind, name, new)
    return plan_model_renaming(workspace, name, new)


async def copy(shell: Shell, kind: Kept | Archivable, ref: str) -> str:
    """What was made of another: a version, the first of its name, or a model; empty where none was.

    Raises:
        LlmopsError: the name is taken.
    """
    name = ref.partition("@")[0]
    new = await _ask_name(shell, kind, f"The name of the copy of {safe_line(ref)}", f"{name}-copy")
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
    new = await _ask_name(shell, kind, f"The name of the copy of {safe_line(ref)}", f"{ref.partition('@')[0]}-copy")
    if not new:
        return ""
    made = await asyncio.to_thread(shell.services.undo.copy, kind, ref, new)
    shell.say(f"{made} is a copy of {ref}; z undoes. & archives the old one.")
    return made


async def _ask_name(shell: Shell, kind: Kept | Archivable, title: str, value: str) -> str:
    if kind.value == "model":
        return await shell.ask(LineDialog(title, MODEL_RULE, value, check=_model_problem)) or ""
    text = await shell.ask(LineDialog(title, RULE, value, check=_problem))
    return as_name(text) if text else ""


def _model_problem(text: str) -> str:
    try:
        check_name(text)
    except InputRefusedError as error:
        return error.message
    return ""


def _problem(text: str) -> str:
    return "" if is_name(as_name(text)) else f"{text!r} is no name."
