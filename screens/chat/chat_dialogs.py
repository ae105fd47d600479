"""What is asked about a chat: its name, its model, whether it may go, how an answer begins."""

from __future__ import annotations

import asyncio

from llmops_tui.counts import counted
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.names import RULE, as_name, is_name
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.chats.tree import Chat, Turn
from llmops_tui.safe_text import safe_line
from screens.playground.choose_model import choose_model
from screens.shell.shell import Shell
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.dialogs import LineDialog


async def do_with_chat(shell: Shell, what: str, name: str) -> str | None:
    """Begin a chat (``new``), ``rename`` or ``remove`` one; the chat to open then, empty for any, none where nothing was done."""
    if what == "new":
        return await begin_chat(shell)
    if what == "rename":
        return await rename_chat(shell, name)
    return "" if await remove_chat(shell, name) else None


async def begin_chat(shell: Shell) -> str | None:
    """Ask for the model and the name of a new chat, and begin it; its name, none where it was left."""
    chats = Chats(shell.services.event_log)
    model = await choose_model(shell)
    if model is None:
        return None
    free = await asyncio.to_thread(chats.free_name)
    name = await shell.ask(LineDialog("New chat", f"Its name. {RULE}", free, check=_problem))
    if not name:
        return None
    return (await asyncio.to_thread(lambda: chats.begin(as_name(name), model=model))).name


async def rename_chat(shell: Shell, name: str) -> str | None:
    """Ask for another name and give it."""
    new_name = await shell.ask(LineDialog(f"Rename {name}", RULE, name, check=_problem))
    if not new_name or as_name(new_name) == name:
        return None
    await asyncio.to_thread(shell.services.undo.rename_chat, name, as_name(new_name))
    shell.say(f"{name} is called {as_name(new_name)}; z undoes.")
    return as_name(new_name)


async def remove_chat(shell: Shell, name: str) -> bool:
    """Ask, and delete a chat."""
    chats = Chats(shell.services.event_log)
    chat = await asyncio.to_thread(chats.load, name)
    told = f"{counted(len(chat.turns), 'turn')} on {counted(chat.branches(), 'branch', 'branches')}."
    if not await shell.ask(DangerDialog(f"Delete the chat {name}?", f"{told} The traces of its answers stay.")):
        return False
    await asyncio.to_thread(chats.remove, name)
    return True


async def confirm_cut(shell: Shell, chat: Chat, turn: Turn) -> bool:
    """Whether a turn and all that was said on it may go."""
    below = chat.below(turn)
    told = f"It goes with {counted(len(below) - 1, 'turn')} said on it."
    sure = await shell.ask(DangerDialog(f"Delete {safe_line(turn.text, 60)!r}?", told))
    return sure is True


async def ask_beginning(shell: Shell) -> str:
    """How an answer is to begin."""
    return await shell.ask(LineDialog("The answer begins with", "the model goes on from there")) or ""


def again_parameters(parameters: SamplingParameters, answered: int) -> SamplingParameters | None:
    """The parameters of one answer more, of which there are so many: another seed; none where a seed changes nothing."""
    if parameters.temperature == 0:
        return None
    return parameters.model_copy(update={"seed": (parameters.seed + answered) % (2**32 - 1)})


def _problem(text: str) -> str:
    return "" if is_name(as_name(text)) else f"{text!r} is no name of a chat."
