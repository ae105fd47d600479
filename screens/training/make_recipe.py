"""Make a recipe from a preset, or change one: in its form, or as YAML in the user's editor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.training import bases, presets
from llmops_tui.training.recipe import check, parse
from screens.actions import screen_place
from screens.shell import external_editor
from screens.shell.shell import Shell
from screens.training.recipe_form import RecipeForm
from screens.widgets.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.training.recipe import Recipe


async def make_recipe(shell: Shell) -> bool:
    """Choose what is to be learned, then fill in the form; whether a recipe was kept.

    Raises:
        InputRefusedError: there is no base to train, or nothing to learn from.
    """
    known = presets.TASKS | presets.MEMORY
    choices = [Choice(name, name, preset.about) for name, preset in known.items()]
    preset = await shell.ask(ChoiceDialog("A recipe for …", choices))
    if preset is None:
        return False
    models = await asyncio.to_thread(shell.services.models.all)
    datasets = await asyncio.to_thread(shell.services.datasets.all)
    known_bases = await asyncio.to_thread(bases.trainable, models)
    if not known_bases:
        raise InputRefusedError(
            "no_base",
            "no trainable model is registered: training requires a safetensors folder, or a GGUF file of a known family",
            "llmops model add PATH --name NAME registers one.",
        )
    if not datasets:
        raise InputRefusedError(
            "no_data", "there is no dataset to train on", f"{screen_place('datasets')}, key i, imports one."
        )
    base = await _choose_base(shell, known_bases)
    if base is None:
        return False
    away = (await asyncio.to_thread(shell.services.archive.by_kind)).get("dataset", frozenset())
    name = next((v.dataset for v in datasets if v.dataset not in away), datasets[0].dataset)
    recipe = presets.apply(check({"name": f"{name}-{preset}", "base": base.name, "data": [name]}), preset)
    return await change_recipe(shell, bases.as_served(recipe, base))


async def _choose_base(shell: Shell, known: list[Model]) -> Model | None:
    """The model to train; asked where there are several."""
    if len(known) == 1:
        return known[0]
    about = {"safetensors": "safetensors", "gguf": "GGUF, trained on as it is served"}
    choices = [
        Choice(
            model.name,
            model.name,
            f"{about[model.kind]}; {model.header.get('architecture')} {model.quantization}",
            "model",
        )
        for model in known
    ]
    chosen = await shell.ask(ChoiceDialog("Train …", choices))
    return next((model for model in known if model.name == chosen), None)


async def change_recipe(shell: Shell, recipe: Recipe) -> bool:
    """Change a recipe in its form; whether it was kept."""
    changed = await shell.ask(RecipeForm(shell.services, recipe))
    if changed is not None:
        await keep_recipe(shell, changed)
    return changed is not None


def edit_recipe(shell: Shell, recipe: Recipe) -> Recipe | None:
    """The recipe as YAML in $EDITOR; none where it was left, or cannot be understood, which is told."""
    text = external_editor.edit_outside(shell, recipe.to_yaml(), f"{recipe.name}.yaml")
    if text is None:
        return None
    try:
        return parse(text, recipe.name)
    except LlmopsError as error:
        shell.report(error)
        return None


async def keep_recipe(shell: Shell, recipe: Recipe) -> None:
    """Keep a version, and say so."""
    number = await asyncio.to_thread(shell.services.training.save_recipe, recipe)
    shell.say(f"{recipe.name}@{number} is saved.")
