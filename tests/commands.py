"""The command line as tests call it."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from llmops_tui.workspace.layout import Workspace
from tests.maintenance.forked_cli import ForkedCommands
from tests.processor_time import note_forked

_started: list[ForkedCommands] = []


def _commands() -> ForkedCommands:
    """One for all tests of this process; it is started by the first that needs it."""
    if not _started or not _started[-1].alive:
        _started.append(ForkedCommands())
        atexit.register(_started[-1].close)
    return _started[-1]


def llmops(
    *arguments: str, workspace: Workspace | None = None, stdin: str = "", seconds: float = 800.0
) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own, with the environment and the folder that this process has now.

    ``stdin`` is what it finds at its standard input. Where the start of the interpreter, its streams or its terminal are
    what is tested, a process is started without this.

    Raises:
        subprocess.TimeoutExpired: it was killed after so many seconds.
    """
    place = () if workspace is None else ("--workspace", str(workspace.root))
    done = _commands().run(
        *place, *arguments, seconds=seconds, stdin=stdin, environment=os.environ, folder=str(Path.cwd())
    )
    note_forked(done.seconds)
    if done.code is None:
        raise subprocess.TimeoutExpired(["llmops", *arguments], seconds, done.output, done.errors)
    return subprocess.CompletedProcess(["llmops", *arguments], done.code, done.output, done.errors)


class Llmops:
    """The command line on one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def run(self, *arguments: str, code: int = 0) -> Any:
        """What a command prints with --json; it must exit with this code."""
        done = llmops("--json", *arguments, workspace=self.workspace, seconds=900)
        assert done.returncode == code, f"{arguments}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        lines = done.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines else None
