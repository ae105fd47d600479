"""A command of llmops in a process of its own: its output as it comes, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from llmops_tui.child_python import module_command
from llmops_tui.safe_text import safe_text

# A line longer than this is told in pieces; and so long a command has to end once it is asked to.
_PIECE = 4096
_GRACE = 3.0


class ChildCommand:
    """One command. It has no terminal and nothing to read, so what asks refuses and says how to answer beforehand."""

    def __init__(self, workspace: Path, words: Sequence[str], width: int) -> None:
        self._command = module_command("llmops_tui", "--workspace", str(workspace), *words)
        self._environment = {
            **os.environ,
            "COLUMNS": str(width),
            "NO_COLOR": "1",
            "TERM": "dumb",
            "PYTHONUNBUFFERED": "1",
        }
        self._process: asyncio.subprocess.Process | None = None
        self._ended = self.cancelled = False

    async def run(self, told: Callable[[str], None]) -> int:
        """Run it; each line of what it says goes to ``told``, harmless. Returns its exit code.

        Ended with whoever waits.
        """
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=self._environment, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        rest = b""
        try:
            while piece := await process.stdout.read(_PIECE):
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > _PIECE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    # A bar that is drawn over itself is one line: its last state.
                    told(safe_text(line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")))
            if rest:
                told(safe_text(rest.decode("utf-8", "replace")))
            return await process.wait()
        finally:
            if process.returncode is None:
                self._signal(signal.SIGKILL)
            self._ended = True

    async def cancel(self) -> None:
        """Ask it to end as ctrl+c does, and end it where it does not."""
        self.cancelled = True
        self._signal(signal.SIGINT)
        await asyncio.sleep(_GRACE)
        # Also where it ended itself, and what it started holds its output.
        if not self._ended:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
