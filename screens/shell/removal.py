"""Removal of a run, job, dataset, prompt or model from a screen, after showing its dependents."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line
from llmops_tui.workspace.layout import Workspace
from screens.shell.shell import Shell
from screens.widgets.danger_dialog import DangerDialog
from screens.widgets.dialogs import ConfirmDialog

if TYPE_CHECKING:
    from llmops_tui.maintenance.archiving import Archivable
    from llmops_tui.maintenance.model_removal import ModelRemoval
    from llmops_tui.maintenance.record_removal import RecordRemoval
    from llmops_tui.maintenance.work_removal import WorkRemoval

    Removal = ModelRemoval | RecordRemoval | WorkRemoval

# Of so many it is said what each means, and so many are named.
_SHOWN, _NAMED = 4, 40


def _ways(kind: str, workspace: Workspace, name: str) -> tuple[Callable[[], Removal], Callable[[bool], Removal]]:
    """How to plan, and how to do, the removal of something of a kind, forced or not."""
    from llmops_tui.maintenance.archiving import Kept
    from llmops_tui.maintenance.model_removal import plan_removal, remove_model
    from llmops_tui.maintenance.record_removal import plan_record_removal, remove_record
    from llmops_tui.maintenance.work_removal import Work, plan_work_removal, remove_work

    if kind == "model":
        return lambda: plan_removal(workspace, name), lambda force: remove_model(workspace, name, force=force)
    if kind in set(Kept):
        kept = Kept(kind)
        return (
            lambda: plan_record_removal(workspace, kept, name),
            lambda force: remove_record(workspace, kept, name, force=force),
        )
    work = Work(kind)
    return lambda: plan_work_removal(workspace, work, name), lambda force: remove_work(
        workspace, work, name, force=force
    )


async def offer_removal(
    shell: Shell, kind: str, names: str | Sequence[str], then: Callable[[], Awaitable[None]]
) -> None:
    """Say what would go, ask, remove it, and do ``then``; what is at work is not removed but named.

    Act it in a group of its own: whoever looks again meanwhile must not cancel it.
    """
    names = [names] if isinstance(names, str) else list(names)
    ways = [_ways(kind, shell.services.workspace, name) for name in names]
    planned = [await asyncio.to_thread(plan) for plan, _ in ways]
    for name, one in zip(names, planned, strict=True):
        if one.in_the_way:
            shell.say(f"{safe_line(name)} was not deleted: {safe_line('; '.join(one.in_the_way))}", severity="warning")
    ready = [(one, remove) for one, (_, remove) in zip(planned, ways, strict=True) if not one.in_the_way]
    if not ready:
        return
    if len(ready) == 1:
        question, told = f"Delete {kind} {safe_line(ready[0][0].name)}?", consequence(ready[0][0])
        if kind != "job" and "@" not in ready[0][0].name:
            told += "\n& archives it instead, which z takes back."
    else:
        question = f"Delete {counted(len(ready), kind)}?"
        told = "\n".join(f"{safe_line(one.name)}: {consequence(one)}" for one, _ in ready[:_SHOWN])
        if len(ready) > _SHOWN:
            # The names first: of many consequences a small terminal shows the beginning.
            names = [safe_line(one.name) for one, _ in ready[:_NAMED]]
            rest = f" and {len(ready) - _NAMED:,} more" if len(ready) > _NAMED else ""
            told = f"{', '.join(names)}{rest}\n\n{told}\nand {len(ready) - _SHOWN:,} more, with what depends on them"
    if not await shell.ask(DangerDialog(question, told)):
        return
    # Only what was shown is agreed to: what came to depend on it meanwhile is told instead.
    done: list[Removal] = []
    try:
        for one, remove in ready:
            done.append(await asyncio.to_thread(remove, one.needs_force))
    finally:
        # Where one of several is refused, those before it are gone nevertheless.
        if done:
            what = f"{safe_line(done[0].name)} is" if len(done) == 1 else f"{counted(len(done), kind)} are"
            shell.say(f"{what} deleted, {sum(one.size for one in done) / 1e6:,.1f} MB freed.")
            await then()


async def offer_definition_removal(
    shell: Shell, kind: Archivable, name: str, then: Callable[[], Awaitable[None]]
) -> None:
    """Say which versions of a suite or a recipe would go, ask, remove it, and do ``then``."""
    from llmops_tui.maintenance.definition_removal import plan_definition_removal

    planned = await asyncio.to_thread(plan_definition_removal, shell.services.workspace, kind, name)
    if planned.in_the_way:
        why = safe_line("; ".join(planned.in_the_way))
        shell.say(f"{safe_line(name)} was not deleted: {why}. & archives it.", severity="warning")
        return
    told = f"{counted(len(planned.rows), 'version')}: {', '.join(planned.versions[:_NAMED])}. z brings them back."
    if await shell.ask(ConfirmDialog(f"Delete {kind.value} {safe_line(name)}?", told)):
        await asyncio.to_thread(shell.services.undo.remove_definition, kind, name)
        shell.say(f"{safe_line(name)} is deleted; z undoes.")
        await then()


def consequence(planned: Removal) -> str:
    """What goes, what stays, and what is left without it, in lines."""
    from llmops_tui.maintenance.model_removal import ModelRemoval

    lines = [f"Goes: {safe_line(one, 200)}" for one in _going(planned)[:_SHOWN]]
    lines += [safe_line(str(path)) for path in planned.paths[:_SHOWN]]
    if isinstance(planned, ModelRemoval) and planned.stays:
        lines.append(f"Stays where it is: {safe_line(str(planned.stays))}")
    lines += [f"Left without it: {safe_line(use)}" for use in planned.uses[:_SHOWN]]
    if len(planned.uses) > _SHOWN:
        lines.append(f"and {counted(len(planned.uses) - _SHOWN, 'more is', 'more are')} left without it")
    return "\n".join(lines)


def _going(planned: Removal) -> list[str]:
    """What goes, in words: of prompts and datasets the versions and what points at them, of all the files."""
    from llmops_tui.maintenance.record_removal import RecordRemoval

    goes = []
    if isinstance(planned, RecordRemoval):
        ends = [planned.versions[-1], planned.versions[0]] if len(planned.versions) > 1 else planned.versions
        numbers = " to ".join(f"@{ref.rpartition('@')[2]}" for ref in ends)
        goes = [f"{counted(len(planned.versions), 'version')}, {numbers}", *planned.goes]
    if planned.paths:
        return [*goes, f"{planned.size / 1e6:,.1f} MB of files"]
    return goes or ["its entry in the catalog, and no file"]
