"""Point a label at a version."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptVersion


async def move_label(shell: Shell, version: PromptVersion) -> bool:
    """Ask for a label and point it at the version; whether one was given."""
    hint = "The label moves from its current version to this one; z undoes."
    name = await shell.ask(LineDialog(f"Label for {version.ref}", hint, "production"))
    if not name:
        return False
    await asyncio.to_thread(shell.services.undo.move_label, version.ref, name)
    shell.say(f"{name} is now {version.ref}; z undoes.")
    return True
