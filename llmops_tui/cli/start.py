"""Open the app: the only place where the engine's entry point imports the TUI."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError
from llmops_tui.safe_text import safe_line
from llmops_tui.workspace.layout import Workspace, nearby_text
from llmops_tui.workspace.marker import existing, make_workspace


def need_terminal() -> None:
    """Refuse to go on where there is no terminal to draw on.

    Raises:
        LlmopsError: ``no_terminal``, a matter of usage.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LlmopsError(
            "no_terminal", "the app needs a terminal", "llmops --help lists the commands.", exit_code=ExitCode.USAGE
        )


def offered(workspace: Workspace) -> Workspace:
    """The workspace the app is to open on; where there is none, the user is asked whether to make one.

    Raises:
        LlmopsError: ``no_terminal``; ``interrupted``: none was wanted; or as :func:`~llmops_tui.workspace.marker.existing`.
    """
    need_terminal()
    try:
        return existing(workspace)
    except InputRefusedError as error:
        if error.code != "no_workspace":
            raise
    near = nearby_text(workspace)
    sys.stdout.write(f"{safe_line(near, 1000)}\n" if near else "")
    sys.stdout.write(f"There is no workspace yet. Make one at {safe_line(str(workspace.root))}? [Y/n] ")
    sys.stdout.flush()
    wanted = sys.stdin.readline()
    if wanted.strip().lower() not in {"y", "yes"} and wanted != "\n":
        raise LlmopsError("interrupted", "no workspace was made", exit_code=ExitCode.INTERRUPTED)
    return make_workspace(workspace)


def open_app(workspace: Workspace, notes: Sequence[str] = (), *, tour: bool = False) -> int:
    """Open the app on a workspace, with something to say at once where there is, and the tour; returns its exit code."""
    need_terminal()
    from screens.launch import launch

    return launch(workspace, notes, tour=tour)
