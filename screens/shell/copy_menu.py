"""Copying from the app: the current item, a choice of items, or the matching command."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from screens.shell.shell import Shell

_AGAIN_SECONDS = 2.0
# Cells of what stands beside a name to choose by.
_PREVIEW = 60
_READING = "Reading …: there is nothing to copy yet."


class Copier:
    """Puts text on the clipboard for the app, and says which way it went."""

    def __init__(self, app: Shell) -> None:
        self._app = app
        self._copied_at = float("-inf")
        # What was copied last is what the clipboard holds in the end.
        self._turn = asyncio.Lock()

    def copy(self, choices: list[tuple[str, str]], *, reading: bool = False) -> None:
        """Copy the first of the (name, text) choices; called again at once, let the user choose among several."""
        from llmops_tui.safe_text import safe_line
        from screens.widgets.columns import fit
        from screens.widgets.dialogs import Choice, ChoiceDialog

        if not choices:
            self._app.say(_READING if reading else "There is nothing to copy here.", severity="warning")
            return
        if len(choices) == 1 or time.monotonic() - self._copied_at > _AGAIN_SECONDS:
            self._copied_at = time.monotonic()
            self._put(*choices[0])
            return
        shown = [
            Choice(str(i), name, fit(safe_line(text, 200), _PREVIEW).rstrip()) for i, (name, text) in enumerate(choices)
        ]

        def chosen(index: str | None) -> None:
            if index is not None:
                self._put(*choices[int(index)])

        self._app.push_screen(ChoiceDialog("Copy what?", shown), chosen)

    def copy_command(self, command: str, *, reading: bool = False) -> None:
        """Copy and show the command of a screen."""
        if reading:
            self._app.say(_READING, severity="warning")
            return
        if not command:
            self._app.say("This screen has no command of its own.", severity="warning")
            return
        command = self._from_here(command)
        self._put("command", command)
        self._app.say(command, title="From a shell", seconds=10)

    def _from_here(self, command: str) -> str:
        """The command as it works in the folder the app was started in, and in any other where that has another workspace."""
        from llmops_tui.workspace.layout import find_workspace

        workspace = self._app.services.workspace
        # The folder may be gone meanwhile.
        with contextlib.suppress(OSError):
            if find_workspace() == workspace:
                return command
        return command.replace("llmops", shlex.join(["llmops", "--workspace", str(workspace.folder)]), 1)

    def _put(self, name: str, text: str) -> None:
        self._app.run_worker(self._copy(name, text), group="copying", exit_on_error=False)

    async def _copy(self, name: str, text: str) -> None:
        """In a thread: programs that take a clipboard may need a moment, or hang."""
        from llmops_tui import clipboard

        app = self._app
        sequences: list[str] = []
        write = app.terminal_writer()
        file = app.services.workspace.root / "clipboard.txt"
        async with self._turn:
            message = await asyncio.to_thread(clipboard.copy, text, sequences.append if write else None, file)
            if write is not None:
                for sequence in sequences:
                    write(sequence)
        app.say(message, title=f"Copied {name}")
