"""The command line as tests call it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from llmops_tui.workspace.layout import Workspace


class Llmops:
    """The command line on one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def run(self, *arguments: str, code: int = 0) -> Any:
        """What a command prints with --json; it must exit with this code."""
        done = subprocess.run(
            [sys.executable, "-m", "llmops_tui", "--workspace", str(self.workspace.root), "--json", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        lines = done.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines else None
