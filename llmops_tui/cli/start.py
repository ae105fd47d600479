"""Open the app: the one place where the engine's entry point reaches for the face."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.workspace.layout import Workspace


def need_terminal() -> None:
    """Refuse to go on where there is no terminal to draw on.

    Raises:
        LlmopsError: ``no_terminal``, a matter of usage.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LlmopsError(
            "no_terminal", "the app needs a terminal", "llmops --help lists the commands.", exit_code=ExitCode.USAGE
        )


def open_app(workspace: Workspace, notes: Sequence[str] = ()) -> int:
    """Open the app on a workspace, with something to say at once where there is; returns its exit code."""
    need_terminal()
    from screens.launch import launch

    return launch(workspace, notes)
