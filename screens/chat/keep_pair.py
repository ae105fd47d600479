"""Keep an answer as chosen over the other ways in which it was said: preference pairs of a dataset."""

from __future__ import annotations

import asyncio

from llmops_tui.counts import counted
from llmops_tui.evaluation.columns.kept_votes import keep_pairs
from llmops_tui.prompts.chats.tree import ASSISTANT, Chat, Turn
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog


async def keep_pair(shell: Shell, chat: Chat, turn: Turn) -> None:
    """Ask for the dataset, and add the pairs as its next version."""
    ways = chat.beside(turn)
    if turn.role != ASSISTANT or len(ways) < 2:
        shell.say("Put the cursor on an answer that has other ways: r has it answered again.", severity="warning")
        return
    hint = f"the answer under the cursor is chosen, {counted(len(ways) - 1, 'other')} rejected; a new version is made"
    name = await shell.ask(LineDialog("Into the dataset", hint, f"{chat.name}-preferences"))
    if not name:
        return
    messages = [{"role": str(one["role"]), "content": str(one["content"])} for one in chat.as_messages(turn.parent)]
    texts, sources = [one.text for one in ways], [one.run for one in ways]
    made = await asyncio.to_thread(
        keep_pairs, shell.services.datasets, name, messages, texts, ways.index(turn), sources
    )
    undoes = " z undoes it." if await asyncio.to_thread(shell.services.undo.note_rows, made) else ""
    shell.say(f"{made.ref}: {counted(made.rows, 'row')}.{undoes}")
