"""Actions on a recipe: preflight, start, sweep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmops_tui.counts import counted
from llmops_tui.training.unpacking.cache import announcement
from llmops_tui.training.worker import PLAN_ENTRY
from screens.shell.job_progress import wait_for_job
from screens.shell.shell import Shell
from screens.widgets.dialogs import ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe


async def plan_run(shell: Shell, recipe: Recipe, told: Callable[[str], object]) -> dict[str, Any]:
    """The preflight of a recipe, with two measured steps, as a job; its progress is told."""
    if announced := await asyncio.to_thread(_announcement, shell, recipe):
        told(announced)
    arguments = {"recipe": recipe.model_dump(), "dry_run": True}
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(
            kind="plan", title=f"plan {recipe.name}", entry=PLAN_ENTRY, arguments=arguments
        )
    )
    return await wait_for_job(shell.services, job, told)


async def start_run(shell: Shell, recipe: Recipe, plan: dict[str, Any] | None) -> str | None:
    """Start a run; where it was not looked at yet, or something was found, ask first. Its name, where it was started."""
    if plan is None:
        consequence = "No preflight yet: p checks data, template and memory first."
    elif not plan["ok"]:
        errors = "; ".join(p["message"] for p in plan["problems"] if p["level"] == "error")
        shell.say(f"The preflight found errors: {errors}", title="Not started", severity="error", seconds=12)
        return None
    else:
        warnings = [p["message"] for p in plan["problems"] if p["level"] == "warn"]
        consequence = "; ".join(warnings) if warnings else "The preflight found no problems."
    if announced := await asyncio.to_thread(_announcement, shell, recipe):
        consequence = f"{announced}. {consequence}"
    if not await shell.ask(ConfirmDialog(f"Train {recipe.name}?", consequence)):
        return None
    run = await asyncio.to_thread(shell.services.training.start, recipe)
    shell.say(f"{run.name} started; it continues without this app.")
    return run.name


def _announcement(shell: Shell, recipe: Recipe) -> str:
    """What a run of a GGUF base writes before it trains, and how large that is."""
    store = shell.services.training
    return announcement(store.workspace, store.base_of(recipe), recipe.quantization.compute)


async def choose_trials(shell: Shell, recipe: Recipe) -> int | None:
    """How many trials a sweep is to have; none where it was left, or is no number, which is told."""
    hint = "Trials. Learning rate, rank and epochs are searched; llmops train sweep searches any field."
    text = await shell.ask(LineDialog(f"Sweep around {recipe.name}", hint, "8"))
    if not text:
        return None
    if not text.isdigit():
        shell.say(f"{text!r} is not a number of trials.", severity="warning")
        return None
    return int(text)


async def sweep(shell: Shell, recipe: Recipe, trials: int, told: Callable[[str], object]) -> None:
    """Search around a recipe as a job, whose progress is told, and say what it found."""
    from llmops_tui.training.sweeps import ENTRY, default_space

    arguments = {
        "recipe": recipe.model_dump(),
        "space": default_space(recipe),
        "trials": trials,
        "sampler": "tpe",
        "prune": True,
    }
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(kind="sweep", title=f"sweep {recipe.name}", entry=ENTRY, arguments=arguments)
    )
    found = await wait_for_job(shell.services, job, told)
    shell.say(f"The best of {counted(len(found['trials']), 'trial')} is saved as {found['recipe']}: {found['best']}")
