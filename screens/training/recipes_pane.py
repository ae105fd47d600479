"""The recipes, and the actions on the one under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from screens.shell.pane import Pane
from screens.shell.removal import offer_definition_removal
from screens.training import rendering
from screens.training.make_recipe import change_recipe, edit_recipe, keep_recipe, make_recipe
from screens.training.messages import Changed, CursorMoved, Progress
from screens.training.model import KeptRecipe
from screens.training.start_run import allowed, choose_sweep, plan_run, start_run, sweep
from screens.widgets.archive_table import ArchiveTable
from screens.widgets.table import Table

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
    from screens.training.sweep_form import SweepArguments


class RecipesPane(Pane):
    """The newest version of each."""

    class Planning(Message):
        """The preflight of a recipe begins."""

    class Planned(Message):
        """What the preflight of a recipe found."""

        def __init__(self, recipe: Recipe, plan: dict[str, Any]) -> None:
            super().__init__()
            self.recipe = recipe
            self.plan = plan

    def __init__(self) -> None:
        super().__init__(title="Recipes", jump_key="e", id="training-recipes", help_text=rendering.HELP_RECIPES)
        self._plans: dict[str, dict[str, Any]] = {}
        self._made = False
        # The hashes of recipes whose preflight is at work.
        self._planning: set[str] = set()

    def compose(self) -> ComposeResult:
        """The list."""
        yield ArchiveTable(
            rendering.RECIPE_COLUMNS,
            kind="recipe",
            id="recipe-list",
            key=lambda kept: kept.recipe.name,
            empty=rendering.NO_RECIPES,
            selects=False,
        )

    @property
    def _list(self) -> Table[KeptRecipe]:
        return self.query_one(Table)

    @property
    def recipe(self) -> Recipe | None:
        """The recipe under the cursor."""
        return self._list.current.recipe if self._list.current is not None else None

    def show(self, recipes: list[KeptRecipe], plans: dict[str, dict[str, Any]]) -> None:
        """Show these recipes; ``plans`` is what preflights found, by the recipe's hash."""
        self._plans = plans
        # What was just made here, the newest, is what the next key is about.
        made = self._made and bool(recipes) and recipes[0].ref not in {kept.ref for kept in self._list.rows}
        self._made = self._made and not made
        self._list.fill(recipes, recipes[0].recipe.name if made else "")

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(CursorMoved())

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        self.action_change()

    # ── actions ──

    def action_new(self) -> None:
        """A new recipe from a preset."""
        self.ask_by("new", self._new)

    async def _new(self) -> None:
        if await make_recipe(self.shell):
            self._made = True
            self.post_message(Changed())

    def action_change(self) -> None:
        """Change the recipe in its form."""
        if self.recipe is not None:
            self.ask_by("change", self._change, self.recipe)

    async def _change(self, recipe: Recipe) -> None:
        if await change_recipe(self.shell, recipe):
            self._made = True
            self.post_message(Changed())

    def action_edit(self) -> None:
        """Change the recipe as YAML in $EDITOR."""
        changed = edit_recipe(self.shell, self.recipe) if self.recipe is not None else None
        if changed is not None:
            self.act("keep", self._keep, changed)

    async def _keep(self, recipe: Recipe) -> None:
        await keep_recipe(self.shell, recipe)
        self._made = True
        self.post_message(Changed())

    def duplicate(self, run: str = "") -> None:
        """A recipe of its own that begins with this one, or with that of a run."""
        if run:
            self.ask_by("name", self._duplicate, run)
        elif self._asked() is not None and self._list.current is not None:
            self.ask_by("name", self._duplicate, self._list.current.ref)

    async def _duplicate(self, ref: str) -> None:
        from llmops_tui.maintenance.archiving import Archivable
        from screens.shell.renaming import copy_definition

        if await copy_definition(self.shell, Archivable.RECIPE, ref):
            self._made = True
            self.post_message(Changed())

    def delete_picked(self) -> None:
        """Delete the recipe, after asking."""
        from llmops_tui.maintenance.archiving import Archivable

        recipe = self._asked()
        if recipe is not None:
            self.ask_by("removal", offer_definition_removal, self.shell, Archivable.RECIPE, recipe.name, self._removed)

    async def _removed(self) -> None:
        self.post_message(Changed())

    def _asked(self) -> Recipe | None:
        """The recipe under the cursor; where there is none, what makes one is told."""
        if self.recipe is None:
            self.shell.say("No recipes yet: n makes one.", severity="warning")
        return self.recipe

    def action_plan(self) -> None:
        """Look at data, template, memory and time, with two measured steps."""
        recipe = self._asked()
        if recipe is not None:
            self.post_message(self.Planning())
            self.ask_by("plan", self._plan, recipe)

    async def _plan(self, recipe: Recipe) -> None:
        if not await allowed(self.shell, recipe):
            return
        self._planning.add(recipe.sha256)
        try:
            plan = await plan_run(self.shell, recipe, lambda text: self.post_message(Progress(text)))
        finally:
            self._planning.discard(recipe.sha256)
        self.post_message(self.Planned(recipe, plan))

    def action_start(self) -> None:
        """Start a run of the recipe."""
        recipe = self._asked()
        if recipe is not None:
            self.ask_by("start", self._start, recipe, self._plans.get(recipe.sha256))

    async def _start(self, recipe: Recipe, plan: dict[str, Any] | None) -> None:
        planning = recipe.sha256 in self._planning
        name = await start_run(self.shell, recipe, plan, planning=planning, look=self.action_plan)
        if name is not None:
            self.post_message(Changed(name))

    def action_sweep(self) -> None:
        """Search for better settings around the recipe."""
        if self.recipe is not None:
            self.ask_by("choose", self._choose_sweep, self.recipe)

    async def _choose_sweep(self, recipe: Recipe) -> None:
        if not await allowed(self.shell, recipe):
            return
        chosen = await choose_sweep(self.shell, recipe)
        if chosen is not None:
            # A group of its own: whoever is asked again must not end the wait for a sweep under way.
            self.act("sweep", self._sweep, chosen)

    async def _sweep(self, chosen: SweepArguments) -> None:
        await sweep(self.shell, chosen, lambda text: self.post_message(Progress(text)))
        self.post_message(Changed())
