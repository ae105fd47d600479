"""Show what is deleted of datasets, prompts, suites, recipes and traces, then delete with ``--yes``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.cli.work_remove import show_removal
from llmops_tui.errors import ExitCode, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.maintenance.archiving import Archivable, Kept

_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete; without it, only a preview is shown.")]
_Force = Annotated[bool, typer.Option("--force", help="Remove it even if something depends on it.")]


def dataset(
    context: typer.Context,
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="A dataset with all its versions, or one version, such as name@3.")
    ],
    yes: _Yes = False,
    force: _Force = False,
) -> None:
    """Delete a dataset or one version of it: its rows, tags and labels."""
    from llmops_tui.maintenance.archiving import Kept

    _remove(context, Kept.DATASET, ref, yes=yes, force=force)


def prompt(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The prompt, with all its versions.")],
    yes: _Yes = False,
    force: _Force = False,
) -> None:
    """Delete a prompt with all its versions and labels; its runs stay as traces."""
    from llmops_tui.maintenance.archiving import Kept

    _remove(context, Kept.PROMPT, name, yes=yes, force=force)


def suite(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SUITE", help="The suite, with all its versions.")],
    yes: _Yes = False,
) -> None:
    """Delete a suite with all its versions, where no runs of it are kept. llmops undo takes it back."""
    from llmops_tui.maintenance.archiving import Archivable

    _remove_definition(context, Archivable.SUITE, name, yes=yes)


def recipe(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe, with all its versions.")],
    yes: _Yes = False,
) -> None:
    """Delete a recipe with all its versions; runs of it stay, and have it whole. llmops undo takes it back."""
    from llmops_tui.maintenance.archiving import Archivable

    _remove_definition(context, Archivable.RECIPE, name, yes=yes)


def _remove_definition(context: typer.Context, kind: Archivable, name: str, *, yes: bool) -> None:
    from llmops_tui.maintenance.definition_removal import plan_definition_removal
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    if yes:
        found = UndoHistory(session.catalog, session.event_log).remove_definition(kind, name)
    else:
        found = plan_definition_removal(session.workspace, kind, name)

    def human() -> str:
        lines = [f"blocked by: {what}" for what in found.in_the_way]
        lines += [f"{'deleted' if yes else 'would be deleted'}: {one}" for one in found.versions]
        end = f"{name} removed; llmops undo takes it back" if yes else "--yes removes it; llmops undo takes that back"
        return "\n".join([*lines, end])

    session.emit(found.as_dict(), human)


def traces(
    context: typer.Context,
    trace: Annotated[str, typer.Argument(help="One trace, by its id or a prefix of it; or use --filter.")] = "",
    said: Annotated[
        str, typer.Option("--filter", help="The traces to remove, in the syntax of llmops traces list.")
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Remove all traces.")] = False,
    yes: _Yes = False,
    keep_files: Annotated[
        bool, typer.Option("--keep-files", help="Keep logs and quarantined files that contain their texts.")
    ] = False,
) -> None:
    """Delete traces with their feedback and other copies of their texts; remaining copies are listed."""
    from llmops_tui.maintenance.trace_removal import plan_trace_removal, remove_traces
    from llmops_tui.traces.known_names import known_filter

    session = session_of(context)
    workspace = session.workspace
    if sum((bool(trace), bool(said), every)) != 1:
        raise LlmopsError("usage", "give one trace, --filter or --all", exit_code=ExitCode.USAGE)
    wanted = known_filter(session.catalog, session.event_log, said)
    if yes:
        found = remove_traces(workspace, wanted, trace, keep_files=keep_files)
    else:
        found = replace(plan_trace_removal(workspace, wanted, trace), kept_files=keep_files)
    session.emit(found.as_dict(), lambda: "\n".join([*found.told, *([] if yes else ["--yes deletes them"])]))


def _remove(context: typer.Context, kind: Kept, name: str, *, yes: bool, force: bool) -> None:
    from llmops_tui.maintenance.record_removal import plan_record_removal, remove_record

    session = session_of(context)
    workspace = session.workspace
    found = remove_record(workspace, kind, name, force=force) if yes else plan_record_removal(workspace, kind, name)

    show_removal(session, found, [*found.versions, *found.goes, *map(str, found.paths)], [], done=yes)
