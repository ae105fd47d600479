"""Who answers in a chat, and how: the model, the parameters, the system text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llmops_tui.errors import InputRefusedError
from llmops_tui.prompts.chats.tree import Chat
from screens.playground.choose_model import choose_model
from screens.playground.parameters_dialog import ParametersDialog
from screens.shell.external_editor import edit_outside
from screens.shell.shell import Shell

Change = Callable[[Chat], Chat]


async def change_chat(shell: Shell, chat: Chat | None, what: str) -> Change | None:
    """Ask for another ``model`` or other ``parameters``; what changes the chat so, none where nothing does.

    Raises:
        InputRefusedError: ``no_chat``: none is open.
    """
    if chat is None:
        raise InputRefusedError("no_chat", "no chat is open", "n begins one.")
    if what == "model":
        name = await choose_model(shell)
        return None if name is None else lambda now: replace(now, model=name)
    parameters = await shell.ask(ParametersDialog(chat.parameters))
    return None if parameters is None else lambda now: replace(now, parameters=parameters)


def change_system(shell: Shell, chat: Chat) -> Change | None:
    """Open the system text in $EDITOR; what changes the chat so, none where it stays."""
    text = edit_outside(shell, chat.system, f"{chat.name}-system.txt")
    return None if text is None or text == chat.system else lambda now: replace(now, system=text)
