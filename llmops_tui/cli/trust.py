"""``llmops trust``: allow a workspace from elsewhere to use remote models, keys and commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.safe_text import safe_line

_WORD = "trust"


def trust(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation; for scripts.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Withdraw the trust.")] = False,
) -> None:
    """Show what trusting the workspace allows, and ask."""
    from llmops_tui.maintenance.trust_review import consent, describe, inspect
    from llmops_tui.workspace.trust import withdraw as stop

    session = session_of(context)
    workspace = session.unvetted
    if withdraw:
        stop(workspace)
        session.emit({"trusted": False}, lambda: f"{workspace.root} is no longer trusted")
        return
    request = inspect(workspace)
    if not request.is_new:
        session.emit(request.as_dict() | {"trusted": True}, lambda: "\n".join(map(safe_line, describe(request))))
        return
    if not yes:
        session.say("\n".join(map(safe_line, describe(request))))
        if not sys.stdin.isatty():
            session.emit(request.as_dict() | {"trusted": False}, lambda: "nothing was changed; --yes allows it")
            return
        sys.stderr.write(f"Type {_WORD} to allow this: ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() != _WORD:
            raise LlmopsError("interrupted", "nothing was changed", exit_code=ExitCode.INTERRUPTED)
    aside = consent(workspace, request)
    if aside is not None:
        session.say(
            f"others may know the API key of its servers: the key file was renamed to {aside.name}; "
            "the next llmops serve makes a new key"
        )
    session.emit(request.as_dict() | {"trusted": True}, lambda: f"{workspace.root} is trusted now")
