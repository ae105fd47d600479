"""Options shared by the training commands: names of recipes and runs, and changed fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
    from llmops_tui.training.runs import RunStore

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or a saved recipe as name or name@version.")
]
RunName = Annotated[str, typer.Argument(help="The run's name.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field, such as lora.rank=32; repeatable."),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="ray:ADDRESS",
        help="Train on a Ray cluster: ray:auto, ray:HOST:6379; here: on this machine, whatever the recipe says.",
    ),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="KEY",
        help="Confirm that a key of another program's file is left out though it changes what is learned; repeatable, "
        "or with commas; all: every such key.",
    ),
]


def store_of(session: Session) -> RunStore:
    """The runs of the workspace."""
    from llmops_tui.training.runs import RunStore

    return RunStore(session.workspace)


def recipe_of(session: Session, given: str, changes: list[str] | None, accepted: list[str] | None = None) -> Recipe:
    """A recipe by path or name, with fields changed; of another program's file some keys may have to be confirmed."""
    from llmops_tui.training.foreign_recipes import read_recipe

    path = with_home(given)
    if path.is_file():
        keys = [key.strip() for one in accepted or [] for key in one.split(",") if key.strip()]
        found, notes = read_recipe(path, keys)
        for note in notes:
            session.say(f"note: {note}")
    else:
        if accepted:
            raise LlmopsError("usage", f"--accept is for files; {given} is none", exit_code=ExitCode.USAGE)
        found = store_of(session).recipe(given)
    return with_changes(found, changes)


def at(recipe: Recipe, target: str | None) -> Recipe:
    """A recipe that trains where ``--target`` says."""
    from llmops_tui.training.recipe import changed

    return recipe if target is None else changed(recipe, {"target": "" if target == "here" else target})


def with_changes(recipe: Recipe, changes: list[str] | None) -> Recipe:
    """A recipe with fields changed as ``--set`` gives them."""
    from llmops_tui.training.recipe import changed
    from llmops_tui.training.recipe_input import from_text

    pairs = [change.partition("=") for change in changes or []]
    for field, equals, _ in pairs:
        if not equals:
            raise LlmopsError("usage", f"--set {field}: write it as FIELD=VALUE", exit_code=ExitCode.USAGE)
    return changed(recipe, {field: from_text(field, value) for field, _, value in pairs}) if pairs else recipe


def of_base(session: Session, recipe: Recipe) -> Recipe:
    """A new recipe as its base wants it, with what that changes told; a base that is not there yet changes nothing."""
    from llmops_tui.training.bases import as_served

    registry = store_of(session).registry
    base = next((model for model in registry.all() if model.name == recipe.base), None)
    if base is None:
        return recipe
    found = as_served(recipe, base)
    if found != recipe:
        given = f"type: {found.quantization.type}, compute: {found.quantization.compute}"
        session.say(f"quantization is {given}: {base.name} is a GGUF file, and is trained on as it is served")
    return found


def announce(session: Session, store: RunStore, recipe: Recipe) -> None:
    """Say what a run of a GGUF base writes before it trains, and how large that is."""
    from llmops_tui.training.bases import as_computed
    from llmops_tui.training.unpacking.cache import announcement

    if told := announcement(session.workspace, store.base_of(recipe), as_computed(recipe).quantization.compute):
        session.say(told)
