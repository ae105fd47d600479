"""``llmops init``, ``demo`` and ``tour``: make a workspace, and open the app on one that is filled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.cli.start import need_terminal, open_app
from llmops_tui.errors import ExitCode, LlmopsError


def init(
    context: typer.Context,
    sample: Annotated[bool, typer.Option("--sample", help="Fill the workspace with the sample data.")] = False,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="With --sample: download the real model first (93 MB).")
    ] = False,
    lost: Annotated[
        bool,
        typer.Option("--replace-lost", help="Create an empty catalog or event log if the workspace has lost its own."),
    ] = False,
) -> None:
    """Make a workspace, and fill it on request."""
    from llmops_tui.workspace.marker import make_workspace, replace_lost

    session = session_of(context)
    if lost:
        names = replace_lost(session.place)
        session.say(
            f"created anew: {', '.join(names)}" if names else "neither the catalog nor the event log is missing"
        )
    session.used = workspace = make_workspace(session.place)
    if fetch and not sample:
        raise LlmopsError("usage", "--fetch requires --sample", exit_code=ExitCode.USAGE)
    if sample:
        from llmops_tui.cli.real_model import find_real_model, missing_text
        from llmops_tui.sample import fill

        real = find_real_model(session, fetch=fetch)
        facts = fill(workspace, real)
        if real is None:
            session.say(missing_text(("init", "--sample"), session.options.workspace))
    else:
        session.catalog.read(lambda _connection: None)
        facts = {
            "workspace": str(workspace.root),
            "models": [],
            "datasets": [],
            "prompts": [],
            "suites": [],
            "chains": [],
        }
    session.emit(facts, lambda: f"workspace ready: {facts['workspace']}")


Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="The folder of the demo workspace; default: llmops-demo.", show_default=False),
]
Fetch = Annotated[bool, typer.Option("--fetch", help="Download a real instruct model first (93 MB).")]


def demo(context: typer.Context, folder: Folder = None, fetch: Fetch = False) -> None:
    """Open the app on a workspace filled from the sample data."""
    _open_sample(context, "demo", folder, fetch=fetch)


def tour(context: typer.Context, folder: Folder = None, fetch: Fetch = False) -> None:
    """Show the app in two minutes, on the workspace of this folder or on one filled from the sample data."""
    session = session_of(context)
    if folder is None and not fetch and session.place.root.exists():
        from llmops_tui.workspace.marker import existing

        raise typer.Exit(open_app(existing(session.place), tour=True))
    _open_sample(context, "tour", folder, fetch=fetch)


def _open_sample(context: typer.Context, command: str, folder: Path | None, *, fetch: bool) -> None:
    """Fill the demo workspace, where it is not yet, and open the app on it."""
    from llmops_tui.cli.real_model import find_real_model, missing_text
    from llmops_tui.sample import fill
    from llmops_tui.workspace.layout import FOLDER_NAME, find_workspace

    session = session_of(context)
    need_terminal()
    given = session.options.workspace
    if given and folder:
        raise LlmopsError("usage", "--dir and --workspace cannot be combined", exit_code=ExitCode.USAGE)
    workspace = find_workspace(given or (folder or Path("llmops-demo")) / FOLDER_NAME)
    real = find_real_model(session, fetch=fetch)
    if not workspace.root.exists():
        session.say(f"Creating the demo workspace: {workspace.root}")
    fill(workspace, real)
    notes = () if real is not None else (missing_text((command, *(("--dir", str(folder)) if folder else ())), given),)
    for note in notes:
        session.say(note)
    if command == "demo":
        notes = (*notes, "llmops tour, or ctrl+n, shows the app in two minutes.")
    raise typer.Exit(open_app(workspace, notes, tour=command == "tour"))
