"""``llmops mcp``: the workspace as a server of tools for agents."""

from __future__ import annotations

from typing import Annotated

import typer

from llmops_tui.cli.output import session_of


def mcp(
    context: typer.Context,
    allow_write: Annotated[
        bool,
        typer.Option(
            "--allow-write", help="Also offer tools that save, label, evaluate, rate and cancel, and ask remote models."
        ),
    ] = False,
) -> None:
    """Serve the workspace's abilities to an agent, by the Model Context Protocol over standard input and output."""
    session = session_of(context)
    workspace = session.workspace
    from llmops_tui.mcp_server.server import serve

    serve(workspace, allow_write=allow_write)
