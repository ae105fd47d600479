"""``llmops archive``: put things away, so that lists leave them out, and take them back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from llmops_tui.cli.output import Session, session_of

if TYPE_CHECKING:
    from llmops_tui.maintenance.archiving import Archivable

Item = TypeVar("Item")

app = typer.Typer(help="What lists leave out.", no_args_is_help=True, rich_markup_mode=None)

_Kind = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        help="prompt, dataset, model, recipe, training, suite, evaluation or chain; training and evaluation are runs.",
    ),
]
_Names = Annotated[list[str], typer.Argument(metavar="NAME", help="The names, as the lists show them.")]
# An option of each list.
AlsoArchived = Annotated[bool, typer.Option("--archived", help="List what is archived, too.")]


@app.command()
def add(context: typer.Context, kind: _Kind, names: _Names) -> None:
    """Archive things: they stay as they are and can be used by name, and lists leave them out. llmops undo takes it back."""
    _put(context, kind, names, away=True)


@app.command()
def remove(context: typer.Context, kind: _Kind, names: _Names) -> None:
    """Have lists show archived things again."""
    _put(context, kind, names, away=False)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List what is archived, newest first."""
    from llmops_tui.maintenance.archiving import Archive

    session = session_of(context)
    found = Archive(session.event_log).all()
    rows = [(one["kind"], one["name"], time.strftime("%Y-%m-%d %H:%M", time.localtime(one["at"]))) for one in found]
    session.emit({"archived": found, "total": len(found)}, lambda: session.rows(("kind", "name", "archived"), rows))


def left(session: Session, kind: str, items: Sequence[Item], name: Callable[[Item], str], *, also: bool) -> list[Item]:
    """What a list shows of its items: those that are not archived, or with ``also`` all. Says how many are left out."""
    from llmops_tui.maintenance.archiving import Archivable, Archive

    away = frozenset[str]() if also else Archive(session.event_log).names(Archivable(kind))
    shown = [item for item in items if name(item) not in away]
    if len(shown) < len(items):
        session.say(f"{len(items) - len(shown)} archived; --archived lists them, too")
    return shown


def _put(context: typer.Context, kind: str, names: list[str], *, away: bool) -> None:
    from llmops_tui.errors import InputRefusedError
    from llmops_tui.maintenance.archiving import Archivable, Archive
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    try:
        what: Archivable = Archivable(kind)
    except ValueError:
        raise InputRefusedError(
            "bad_kind", f"{kind!r} is no kind of thing", f"One of: {', '.join(Archivable)}."
        ) from None
    if not away and (others := [name for name in names if name not in Archive(session.event_log).names(what)]):
        raise InputRefusedError(
            "not_archived", f"no {what} {others[0]} is archived", "llmops archive list shows what is."
        )
    UndoHistory(session.catalog, session.event_log).archive(what, names, away=away)
    said = "archived" if away else "in the lists again"
    session.emit({"kind": what.value, "names": names, "archived": away}, lambda: f"{', '.join(names)}: {said}")
