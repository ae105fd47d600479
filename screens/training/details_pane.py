"""The details of a run or a recipe, one kind at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_line
from screens.shell.pane import Pane
from screens.training import details_rendering, rendering, reward_rendering, sweep_rendering
from screens.training.model import Shown, TrainingModel
from screens.widgets.motions import TextScroll
from screens.widgets.proof import proof_table

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe

_HELP = "w switches between events, sample answers, settings, preflight and the verification of exports."
PREFLIGHT, RESULT = 0, 2


class DetailsPane(Pane):
    """Follows the list that has the focus."""

    def __init__(self) -> None:
        super().__init__(title="Recipe", jump_key="t", id="training-details", help_text=_HELP)
        self._view = 0
        self._shown: tuple[Shown | Recipe | None, TrainingModel] = (None, TrainingModel())

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="details-scroll"):
            yield Static("", id="details-text", markup=False)

    def show(self, subject: Shown | Recipe | None, model: TrainingModel) -> None:
        """Draw a run or a recipe, with what was read of plans, proofs and sweeps."""
        self._shown = (subject, model)
        if subject is None:
            title, content = ("Recipe", ""), Content.styled(rendering.NO_RECIPES, "$muted")
        elif isinstance(subject, Shown):
            title, content = self._run(subject, model)
        else:
            title, content = self._recipe(subject, model)
        self.set_title(*title)
        self.query_one("#details-text", Static).update(content)

    def turn_to(self, view: int) -> None:
        """Show a kind of details from the next drawing on."""
        self._view = view

    def _run(self, run: Shown, model: TrainingModel) -> tuple[tuple[str, str], Content]:
        kinds = [
            ("Events", details_rendering.happened),
            ("Samples", details_rendering.samples),
            ("Result", details_rendering.result),
        ]
        if run.history.answers:
            kinds.append(("Answers", reward_rendering.answers))
        title, draw = kinds[self._view % len(kinds)]
        content = draw(run)
        proof = model.proofs.get(run.name)
        if title == "Result" and proof:
            content = Content("\n\n").join([content, proof_table(proof)])
        return (f"{title}  {safe_line(run.name)}", "w next"), content

    def _recipe(self, recipe: Recipe, model: TrainingModel) -> tuple[tuple[str, str], Content]:
        views: list[tuple[str, Content]] = []
        plan, found = model.plans.get(recipe.sha256), model.sweeps.get(recipe.name)
        if plan is not None:
            views.append(("Preflight", details_rendering.preflight(plan)))
        views.append(("Recipe", details_rendering.settings(recipe)))
        if found is not None:
            views.append(("Sweep", sweep_rendering.sweep(found)))
        title, content = views[self._view % len(views)]
        return (f"{title}  {safe_line(recipe.name)}", "w next" if len(views) > 1 else "p preflight"), content

    def action_detail(self) -> None:
        """The next kind of details."""
        self._view += 1
        self.show(*self._shown)
