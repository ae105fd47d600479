"""``rename`` and ``copy`` of ``llmops prompt``, ``data`` and ``model``; ``copy`` of ``llmops eval`` and ``train``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import session_of

if TYPE_CHECKING:
    from llmops_tui.maintenance.archiving import Archivable, Kept

_New = Annotated[str, typer.Argument(metavar="NEW", help="The new name.")]
_Force = Annotated[
    bool, typer.Option("--force", help="Rename it even if suites, recipes or runs name it and would not find it.")
]


def rename_prompt(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The prompt, with all its versions.")],
    new: _New,
    force: _Force = False,
) -> None:
    """Give a prompt another name; versions, labels, runs, drafts and boards go with it. llmops undo takes it back."""
    from llmops_tui.maintenance.archiving import Kept

    _rename(context, Kept.PROMPT, name, new, force=force)


def rename_dataset(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset, with all its versions.")],
    new: _New,
    force: _Force = False,
) -> None:
    """Give a dataset another name; versions, tags and views go with it. llmops undo takes it back."""
    from llmops_tui.maintenance.archiving import Kept

    _rename(context, Kept.DATASET, name, new, force=force)


def rename_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model.")],
    new: _New,
    force: _Force = False,
) -> None:
    """Give a model another name; its file, aliases, traces and chats go with it. llmops undo takes it back."""
    from llmops_tui.maintenance.archiving import Archivable

    _rename(context, Archivable.MODEL, name, new, force=force)


def copy_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model.")],
    new: _New,
) -> None:
    """Register a model's file under a second name, too; it takes no more room."""
    from llmops_tui.maintenance.archiving import Archivable

    _copy(context, Archivable.MODEL, name, new)


def copy_prompt(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="A version, such as triage@3.")],
    new: _New,
) -> None:
    """Make a version the first of a new prompt."""
    from llmops_tui.maintenance.archiving import Kept

    _copy(context, Kept.PROMPT, ref, new)


def copy_dataset(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="A version, such as triage@3.")],
    new: _New,
) -> None:
    """Make a version the first of a new dataset; the rows take no more room."""
    from llmops_tui.maintenance.archiving import Kept

    _copy(context, Kept.DATASET, ref, new)


def copy_suite(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="SUITE", help="A suite, or a version of it, such as triage@3.")],
    new: _New,
) -> None:
    """Make a version of a suite the first of a suite of its own."""
    from llmops_tui.maintenance.archiving import Archivable

    _copy(context, Archivable.SUITE, ref, new)


def copy_recipe(
    context: typer.Context,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe, a version of it, such as triage-qlora@3, or a run: what it was started with.",
        ),
    ],
    new: _New,
) -> None:
    """Make a version of a recipe the first of a recipe of its own."""
    from llmops_tui.maintenance.archiving import Archivable

    _copy(context, Archivable.RECIPE, ref, new)


def _rename(context: typer.Context, kind: Kept | Archivable, name: str, new: str, *, force: bool) -> None:
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    done = UndoHistory(session.catalog, session.event_log).rename(kind, name, new, force=force)
    told = "".join(f"; {use}, and does not find it" for use in done.uses)
    session.emit(done.as_dict(), lambda: f"{name} is called {new}{told}")


def _copy(context: typer.Context, kind: Kept | Archivable, ref: str, new: str) -> None:
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    made = UndoHistory(session.catalog, session.event_log).copy(kind, ref, new)
    session.emit({"kind": kind.value, "from": ref, "made": made}, lambda: f"{made} is a copy of {ref}")
