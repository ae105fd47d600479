"""``llmops train remove``, ``eval remove`` and ``job remove``: show what is deleted and what depends on it, then delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.counts import counted

if TYPE_CHECKING:
    from llmops_tui.maintenance.record_removal import RecordRemoval
    from llmops_tui.maintenance.work_removal import Work, WorkRemoval

_Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete; without it, only a preview is shown.")]
_Force = Annotated[bool, typer.Option("--force", help="Remove it even if something depends on it.")]


def training(context: typer.Context, name: _Run, yes: _Yes = False, force: _Force = False) -> None:
    """Delete a training run: its checkpoints, adapter folder and records. Models made from it are kept."""
    from llmops_tui.maintenance.work_removal import Work

    _remove(context, Work.TRAINING, name, yes=yes, force=force)


def evaluation(context: typer.Context, name: _Run, yes: _Yes = False, force: _Force = False) -> None:
    """Delete an evaluation run: its results and figures."""
    from llmops_tui.maintenance.work_removal import Work

    _remove(context, Work.EVALUATION, name, yes=yes, force=force)


def job(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(help="The job's id, or a prefix of it.")],
    yes: _Yes = False,
    force: _Force = False,
) -> None:
    """Delete an ended job: its log, its folder, and the records of all that went on with it."""
    from llmops_tui.maintenance.work_removal import Work

    _remove(context, Work.JOB, job_id, yes=yes, force=force)


def _remove(context: typer.Context, kind: Work, name: str, *, yes: bool, force: bool) -> None:
    from llmops_tui.maintenance.work_removal import Work, plan_work_removal, remove_work

    session = session_of(context)
    workspace = session.workspace
    found = remove_work(workspace, kind, name, force=force) if yes else plan_work_removal(workspace, kind, name)

    lines = [f"{'forgotten' if yes else 'would be forgotten'}: {each}" for each in found.jobs]
    if kind == Work.EVALUATION:
        erased = f"erased: {counted(found.answers, 'cached answer')}" if yes else "would be erased: its cached answers"
        lines.append(f"{erased} that no other run uses; the verdicts of judges stay in answers.db")
    show_removal(session, found, [str(path) for path in found.paths], lines, done=yes)


def show_removal(
    session: Session, found: WorkRemoval | RecordRemoval, going: list[str], more: list[str], *, done: bool
) -> None:
    """Print what a removal means, or did: what stands in its way, what depends on it, what goes."""

    def human() -> str:
        lines = [f"blocked by: {what}" for what in found.in_the_way]
        lines += [f"depends on it: {what}" for what in found.uses]
        lines += [f"{'deleted' if done else 'would be deleted'}: {one}" for one in going]
        freed = f"{found.size / 1e6:,.1f} MB"
        flags = "--yes --force" if found.needs_force else "--yes"
        end = f"{found.name} removed, {freed} freed" if done else f"{freed} would be freed; {flags} removes it"
        return "\n".join([*lines, *more, end])

    session.emit(found.as_dict(), human)
