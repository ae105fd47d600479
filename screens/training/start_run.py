"""Actions on a recipe: preflight, start, sweep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmops_tui.counts import counted
from llmops_tui.training.bases import as_computed
from llmops_tui.training.unpacking.cache import announcement
from llmops_tui.training.worker import PLAN_ENTRY
from screens.shell.job_progress import wait_for_job
from screens.shell.shell import Shell
from screens.training.start_dialog import PREFLIGHT, START, StartDialog
from screens.training.sweep_form import SweepArguments, SweepForm
from screens.widgets.dialogs import ConfirmDialog

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe


async def plan_run(shell: Shell, recipe: Recipe, told: Callable[[str], object]) -> dict[str, Any]:
    """The preflight of a recipe, with two measured steps, as a job; its progress is told."""
    if announced := await asyncio.to_thread(_announcement, shell, recipe):
        told(announced)
    arguments = {"recipe": recipe.model_dump(), "dry_run": True}
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(
            kind="plan", title=f"preflight {recipe.name}", entry=PLAN_ENTRY, arguments=arguments
        )
    )
    return await wait_for_job(shell.services, job, told)


async def allowed(shell: Shell, recipe: Recipe) -> bool:
    """Ask whether the code of rewards may run, where it was not allowed as it is now; whether all of it may."""
    from llmops_tui.training.rewards import allow, not_allowed

    files = await asyncio.to_thread(not_allowed, recipe.reinforcement)
    for path in files:
        consequence = "It runs beside the trainer, as you. Read it first; a change of the file is asked about again."
        if not await shell.ask(ConfirmDialog(f"Run the code of {path} as a reward?", consequence)):
            return False
        await asyncio.to_thread(allow, path)
    return True


async def start_run(
    shell: Shell, recipe: Recipe, plan: dict[str, Any] | None, *, planning: bool, look: Callable[[], object]
) -> str | None:
    """Start a run, after asking. Its name, where it was started.

    ``planning`` says that its preflight is at work now; ``look`` begins that, for whoever wants it first.
    """
    unseen = plan is None and not planning
    if plan is None and planning:
        consequence = "Its preflight still runs: what it finds is not known yet."
    elif plan is None:
        consequence = "No preflight yet, which checks data, template and memory."
    elif not plan["ok"]:
        errors = "; ".join(p["message"] for p in plan["problems"] if p["level"] == "error")
        shell.say(f"The preflight found errors: {errors}", title="Not started", severity="error", seconds=12)
        return None
    else:
        warnings = [p["message"] for p in plan["problems"] if p["level"] == "warn"]
        consequence = "; ".join(warnings) if warnings else "The preflight found no problems."
    if announced := await asyncio.to_thread(_announcement, shell, recipe):
        consequence = f"{announced}. {consequence}"
    question = f"Train {recipe.name}?"
    if unseen:
        what = await shell.ask(StartDialog(question, consequence))
        if what == PREFLIGHT:
            look()
        begins = what == START
    else:
        sure = await shell.ask(ConfirmDialog(question, consequence))
        begins = bool(sure)
    if not begins or not await allowed(shell, recipe):
        return None
    run = await asyncio.to_thread(shell.services.training.start, recipe)
    shell.say(f"{run.name} started; it continues without this app.")
    return run.name


def _announcement(shell: Shell, recipe: Recipe) -> str:
    """What a run of a GGUF base writes before it trains, and how large that is."""
    store = shell.services.training
    return announcement(store.workspace, store.base_of(recipe), as_computed(recipe).quantization.compute)


async def choose_sweep(shell: Shell, recipe: Recipe) -> SweepArguments | None:
    """What is to be searched around a recipe, and how; none where the form was left."""
    return await shell.ask(SweepForm(recipe))


async def sweep(shell: Shell, arguments: SweepArguments, told: Callable[[str], object]) -> None:
    """Search around a recipe as a job, whose progress is told, and say what it found."""
    from llmops_tui.training.sweeps import ENTRY

    name = arguments["recipe"]["name"]
    given = dict(arguments)
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(kind="sweep", title=f"sweep {name}", entry=ENTRY, arguments=given)
    )
    found = await wait_for_job(shell.services, job, told)
    several = len(found.get("objectives") or []) > 1
    front = f", of {counted(len(found.get('front') or []), 'trial')} that no other is better than" if several else ""
    said = f"The best of {counted(len(found['trials']), 'trial')}{front} is saved as {found['recipe']}: {found['best']}"
    shell.say(said)
