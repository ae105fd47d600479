"""Ask for the name of a new prompt."""

from __future__ import annotations

from llmops_tui.prompts.store import check_name
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog


async def ask_prompt_name(shell: Shell) -> str:
    """The name, with no spaces in it; empty where none was given.

    Raises:
        InputRefusedError: ``bad_name``.
    """
    name = await shell.ask(LineDialog("New prompt", "Its name: letters, digits and . _ -"))
    if not name:
        return ""
    check_name(name.replace(" ", "-"))
    return name.replace(" ", "-")
