"""``llmops undo``: take back what was done last, or list what can be."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from llmops_tui.cli.output import session_of


def undo(
    context: typer.Context,
    again: Annotated[bool, typer.Option("--redo", help="Do again what was taken back last.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List the history, newest first, and change nothing.")] = False,
) -> None:
    """Take back what was done last: a label or tag, a name, rows, cases, views, models, snippets. Exit 1 if there is none."""
    import time

    from llmops_tui.errors import InputRefusedError
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    history = UndoHistory(session.catalog, session.event_log)
    if show and again:
        raise InputRefusedError("bad_option", "--list changes nothing", "Leave out --redo.")
    if show:
        acts = history.acts()
        rows = [
            (time.strftime("%Y-%m-%d %H:%M", time.localtime(act.at)), "undone" if act.undone else "", act.told)
            for act in acts
        ]
        session.emit(
            {"acts": [{**asdict(act), "title": act.title} for act in acts]},
            lambda: session.rows(["when", "state", "what"], rows),
        )
        return
    done = history.redo() if again else history.undo()
    if done is None:
        session.say("there is nothing to redo" if again else "there is nothing to undo")
        raise typer.Exit(1)
    session.emit({**asdict(done), "title": done.title}, lambda: f"{'done again' if again else 'undone'}: {done.holds}")
