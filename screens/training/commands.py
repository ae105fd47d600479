"""What the actions of the training screen do: plan, start, steer, export, and make recipes."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.training import presets
from llmops_tui.training.recipe import check, parse
from llmops_tui.training.worker import PLAN_ENTRY
from screens.actions import screen_place
from screens.navigation import ModelInPlayground
from screens.shell import outside_editor
from screens.shell.job_progress import follow_job
from screens.shell.removal import offer_removal
from screens.training.recipe_form import RecipeForm
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from llmops_tui.training.recipe import Recipe
    from screens.training.looking import Shown
    from screens.training.screen import TrainingScreen


async def follow(screen: TrainingScreen, job: Job) -> dict[str, Any]:
    """Wait for a job's end, with its progress at the details; a failure is raised."""
    return await follow_job(screen.services, screen.query_one("#training-details", Panel), job)


# ── recipes ──


def new_recipe(screen: TrainingScreen) -> None:
    """Choose what is to be learned, then fill in the form."""
    known = presets.TASKS | presets.MEMORY
    choices = [Choice(name, name, preset.about) for name, preset in known.items()]

    def chosen(name: str | None) -> None:
        if name is not None:
            screen.act("new", _open_new, screen, name)

    screen.app.push_screen(ChoiceDialog("A recipe for …", choices), chosen)


async def _open_new(screen: TrainingScreen, preset: str) -> None:
    models = await asyncio.to_thread(screen.services.models.all)
    datasets = await asyncio.to_thread(screen.services.datasets.all)
    bases = [model.name for model in models if model.kind == "safetensors"]
    if not bases:
        raise InputRefusedError(
            "no_base", "no model to train is registered: training needs a folder of safetensors",
            "llmops model add FOLDER --name NAME registers one.",
        )  # fmt: skip
    if not datasets:
        raise InputRefusedError(
            "no_data", "there is no dataset to learn from", f"{screen_place('datasets')}, key i, imports one."
        )
    recipe = presets.apply(
        check({"name": f"{datasets[0].dataset}-{preset}", "base": bases[0], "data": [datasets[0].dataset]}), preset
    )
    _open_form(screen, recipe)


def change_recipe(screen: TrainingScreen) -> None:
    """The form with the recipe under the cursor."""
    if screen.recipe is not None:
        _open_form(screen, screen.recipe)


def _open_form(screen: TrainingScreen, recipe: Recipe) -> None:
    def done(changed: Recipe | None) -> None:
        if changed is not None:
            screen.act("keep", _keep, screen, changed)

    screen.app.push_screen(RecipeForm(screen.services, recipe), done)


def edit_recipe(screen: TrainingScreen) -> None:
    """The recipe as YAML in $EDITOR."""
    if screen.recipe is None:
        return
    text = outside_editor.edit_outside(screen.app, screen.recipe.to_yaml(), f"{screen.recipe.name}.yaml")
    if text is None:
        return
    try:
        changed = parse(text, screen.recipe.name)
    except LlmopsError as error:
        screen.app.report(error)
        return
    screen.act("keep", _keep, screen, changed)


async def _keep(screen: TrainingScreen, recipe: Recipe) -> None:
    number = await asyncio.to_thread(screen.services.training.save_recipe, recipe)
    screen.app.say(f"{recipe.name}@{number} is kept.")
    await screen.refresh_all()


# ── runs ──


def plan(screen: TrainingScreen) -> None:
    """The preflight of the recipe under the cursor, with two measured steps."""
    if screen.recipe is None:
        screen.app.say("There is no recipe yet: n makes one.", severity="warning")
        return
    screen.subject = "recipe"
    screen.act("plan", _plan, screen, screen.recipe)


async def _plan(screen: TrainingScreen, recipe: Recipe) -> None:
    arguments = {"recipe": recipe.model_dump(), "dry_run": True}
    job = await asyncio.to_thread(
        lambda: screen.services.jobs.start(
            kind="plan", title=f"plan {recipe.name}", entry=PLAN_ENTRY, arguments=arguments
        )
    )
    found = await follow(screen, job)
    screen.looking.plans[recipe.sha256] = found
    screen.detail = 0
    screen.draw()


def start(screen: TrainingScreen) -> None:
    """Start a run; where it was not looked at yet, or something was found, ask first."""
    recipe = screen.recipe
    if recipe is None:
        screen.app.say("There is no recipe yet: n makes one.", severity="warning")
        return
    found = screen.looking.plans.get(recipe.sha256)
    if found is None:
        consequence = "It was not looked at yet: p looks at data, template and memory first."
    elif not found["ok"]:
        errors = "; ".join(p["message"] for p in found["problems"] if p["level"] == "error")
        screen.app.say(f"The preflight found errors: {errors}", title="Not started", severity="error", seconds=12)
        return
    else:
        warnings = [p["message"] for p in found["problems"] if p["level"] == "warn"]
        consequence = "; ".join(warnings) if warnings else "The preflight found nothing to worry about."

    def answered(yes: bool | None) -> None:
        if yes:
            screen.act("start", _start, screen, recipe)

    screen.app.push_screen(ConfirmDialog(f"Train {recipe.name}?", consequence), answered)


async def _start(screen: TrainingScreen, recipe: Recipe) -> None:
    run = await asyncio.to_thread(screen.services.training.start, recipe)
    screen.app.say(f"{run.name} is started; it goes on without this app.")
    await screen.refresh_all(run.name)


def _own(screen: TrainingScreen) -> Shown | None:
    run = screen.run
    if run is None or run.own is None:
        screen.app.say("Choose a run of this workspace first.", severity="warning")
        return None
    return run


def stop(screen: TrainingScreen) -> None:
    """Ask, then stop the run now; another program's run is only forgotten."""
    run = screen.run
    if run is None:
        return
    if run.own is None:
        screen.act("forget", _forget, screen, run.folder)
        return

    def answered(yes: bool | None) -> None:
        if yes:
            screen.act("steer", _steer, screen, run.name, "stop", {})

    screen.app.push_screen(ConfirmDialog(f"Stop {run.name} now?", "R goes on from its last checkpoint."), answered)


async def _forget(screen: TrainingScreen, folder: Path) -> None:
    from llmops_tui.training.foreign_runs import forget

    await asyncio.to_thread(forget, screen.services.journal, folder)
    screen.app.say(f"{folder.name} is watched no more; its files stay.")
    await screen.refresh_all()


def remove(screen: TrainingScreen) -> None:
    """Ask, then delete the run; another program's run is not ours to delete."""
    run = screen.run
    if run is None:
        return
    if run.own is None:
        screen.app.say(f"{run.name} is another program's run: x forgets it, and its files stay.", severity="warning")
        return
    screen.marked.discard(run.name)
    screen.act("removal", offer_removal, screen.app, "training run", run.name, screen.refresh_all)


def steer(screen: TrainingScreen, what: str, **options: bool) -> None:
    """Stop after a checkpoint, pause, or go on."""
    run = _own(screen)
    if run is not None:
        screen.act("steer", _steer, screen, run.name, what, options)


async def _steer(screen: TrainingScreen, name: str, what: str, options: dict[str, bool]) -> None:
    method = getattr(screen.services.training, what)
    await asyncio.to_thread(functools.partial(method, name, **options))
    said = {"stop": "is asked to stop", "pause": "writes a checkpoint and leaves the device", "resume": "goes on"}[what]
    screen.app.say(f"{name} {said}.")
    await screen.refresh_all()


# ── results ──


def export(screen: TrainingScreen) -> None:
    """Ask into what the run's adapter is to be made."""
    run = _own(screen)
    if run is None:
        return
    choices = [
        Choice("", "adapter beside its base", "proved against transformers; it was written when the run ended"),
        Choice("F16", "merged, F16", "the base with the adapter in it, in 16 bits"),
        Choice("Q8_0", "merged, Q8_0", "half the size, nearly nothing lost"),
        Choice("Q6_K", "merged, Q6_K", ""), Choice("Q5_K_M", "merged, Q5_K_M", ""),
        Choice("Q4_K_M", "merged, Q4_K_M", "the usual size for a small card"),
    ]  # fmt: skip

    def chosen(kind: str | None) -> None:
        if kind is not None:
            screen.act("export", _export, screen, run.name, kind)

    screen.app.push_screen(ChoiceDialog(f"Export {run.name} as …", choices), chosen)


async def _export(screen: TrainingScreen, name: str, kind: str) -> None:
    from llmops_tui.training.finish.checking import ENTRY, check_export

    await asyncio.to_thread(check_export, screen.services.training, name, kind or None)
    arguments = {"run_name": name, "merge": bool(kind), "quantize": kind or None, "safetensors": None}
    job = await asyncio.to_thread(
        lambda: screen.services.jobs.start(kind="export", title=f"export {name}", entry=ENTRY, arguments=arguments)
    )
    found = await follow(screen, job)
    screen.looking.proofs[name] = found.get("proof") or []
    good = all(step["good"] for step in screen.looking.proofs[name])
    made = ", ".join(found.get("models") or []) or "its adapter"
    screen.app.say(
        f"{made}: "
        + ("each step answers as the adapter on its base does." if good else "a step answers otherwise; see Result."),
        severity="information" if good else "warning",
    )
    screen.detail = 2
    screen.draw()


def use(screen: TrainingScreen) -> None:
    """Open the playground with the base and the run's adapter."""
    run = _own(screen)
    if run is None:
        return
    result = run.own.run.result if run.own is not None else None
    if not result or not result.get("model") or not result.get("serving"):
        screen.app.say("It has no GGUF adapter beside a GGUF base yet: E exports it.", severity="warning")
        return
    screen.app.open_place(ModelInPlayground(f"{result['serving']}+{result['model']}"))


def sweep(screen: TrainingScreen) -> None:
    """Ask for trials, and search around the recipe under the cursor."""
    recipe = screen.recipe
    if recipe is None:
        return

    def answered(text: str | None) -> None:
        if text and text.isdigit():
            screen.act("sweep", _sweep, screen, recipe, int(text))
        elif text:
            screen.app.say(f"{text!r} is no number of trials.", severity="warning")

    hint = "Trials. Learning rate, rank and epochs are searched; llmops train sweep takes any field."
    screen.app.push_screen(LineDialog(f"Sweep around {recipe.name}", hint, "8"), answered)


async def _sweep(screen: TrainingScreen, recipe: Recipe, trials: int) -> None:
    from llmops_tui.training.sweeps import ENTRY, default_space

    arguments = {
        "recipe": recipe.model_dump(),
        "space": default_space(recipe),
        "trials": trials,
        "sampler": "tpe",
        "prune": True,
    }
    job = await asyncio.to_thread(
        lambda: screen.services.jobs.start(kind="sweep", title=f"sweep {recipe.name}", entry=ENTRY, arguments=arguments)
    )
    found = await follow(screen, job)
    screen.app.say(f"The best of {len(found['trials'])} trials is kept as {found['recipe']}: {found['best']}")
    await screen.refresh_all()


def watch_folder(screen: TrainingScreen) -> None:
    """Ask for the output folder of another program's run."""

    def answered(text: str | None) -> None:
        if text:
            screen.act("watch", _watch, screen, Path(text))

    hint = "Output folder of a run of Hugging Face's Trainer, LLaMA-Factory, axolotl or unsloth"
    screen.app.push_screen(LineDialog("Watch a run", hint), answered)


async def _watch(screen: TrainingScreen, folder: Path) -> None:
    from llmops_tui.training.foreign_runs import watch

    await asyncio.to_thread(watch, screen.services.journal, folder)
    await screen.refresh_all(folder.name)
