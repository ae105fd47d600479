"""The user's keys as their file has them now."""

from __future__ import annotations

import asyncio

from screens.keymap import load_keymap
from screens.shell.shell import Shell


async def read_again(shell: Shell) -> None:
    """Use the keymap as its file is now, where that differs from what is in force; what is wrong in it is told."""
    keymap, problems = await asyncio.to_thread(load_keymap)
    if keymap != shell.user_keymap:
        for problem in problems:
            shell.say(problem, severity="warning")
        shell.use_keymap(keymap)
