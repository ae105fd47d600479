"""Ask for the name of a new prompt."""

from __future__ import annotations

from llmops_tui.names import RULE, as_name, is_name
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog


async def ask_prompt_name(shell: Shell) -> str:
    """The name, with no spaces in it; empty where none was given."""
    name = await shell.ask(LineDialog("New prompt", f"Its name. {RULE}", check=_problem))
    return as_name(name) if name else ""


def _problem(text: str) -> str:
    return "" if is_name(as_name(text)) else f"{text!r} is no name of a prompt."
