"""The details of a run or a recipe, one kind at a time."""

from __future__ import annotations

from collections.abc import Callable
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
PREFLIGHT, RESULT = "Preflight", "Result"
# Cells of a line before it is known how many there are.
_WIDTH = 72


class DetailsPane(Pane):
    """Follows the list that has the focus."""

    def __init__(self) -> None:
        super().__init__(title="Recipe", jump_key="t", id="training-details", help_text=_HELP)
        self._view = 0
        self._wanted = ""
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

    def on_resize(self) -> None:
        """Lines are broken for the room there is."""
        self.show(*self._shown)

    def turn_to(self, view: str) -> None:
        """Show a kind of details from the next drawing on."""
        self._wanted = view

    @property
    def _width(self) -> int:
        return (self.query_one(TextScroll).size.width or _WIDTH) - 1

    def _chosen(self, views: list[tuple[str, Callable[[], Content]]]) -> tuple[str, str, Content]:
        """The kind of details that is to be seen, with its title and what the key shows next.

        One that was asked for stays until the next.
        """
        names = [name for name, _ in views]
        if self._wanted in names:
            self._view, self._wanted = names.index(self._wanted), ""
        at = self._view % len(views)
        title, draw = views[at]
        following = names[(at + 1) % len(names)]
        return title, f"w {following.lower()}" if len(views) > 1 else "", draw()

    def _run(self, run: Shown, model: TrainingModel) -> tuple[tuple[str, str], Content]:
        views: list[tuple[str, Callable[[], Content]]] = [
            ("Events", lambda: details_rendering.happened(run)),
            ("Samples", lambda: details_rendering.samples(run)),
            ("Result", lambda: self._result(run, model)),
        ]
        if run.state == "done" and not run.history.events:
            # What came of it is asked for first where nothing happened on the way.
            views.insert(0, views.pop())
        if run.history.answers:
            views.append(("Answers", lambda: reward_rendering.answers(run)))
        if run.own is not None:
            recipe = run.own.run.recipe
            views.append(("Recipe", lambda: details_rendering.settings(recipe, self._width)))
        title, following, content = self._chosen(views)
        return (f"{title}  {safe_line(run.name)}", following), content

    def _result(self, run: Shown, model: TrainingModel) -> Content:
        content, proof = details_rendering.result(run, self._width), model.proofs.get(run.name)
        return Content("\n\n").join([content, proof_table(proof)]) if proof else content

    def _recipe(self, recipe: Recipe, model: TrainingModel) -> tuple[tuple[str, str], Content]:
        views: list[tuple[str, Callable[[], Content]]] = []
        plan, found = model.plans.get(recipe.sha256), model.sweeps.get(recipe.name)
        if plan is not None:
            views.append(("Preflight", lambda: details_rendering.preflight(plan, self._width)))
        views.append(("Recipe", lambda: details_rendering.settings(recipe, self._width)))
        if found is not None:
            views.append(("Sweep", lambda: sweep_rendering.sweep(found)))
        title, following, content = self._chosen(views)
        told = " · ".join(filter(None, [following, "" if plan is not None else "p preflight"]))
        return (f"{title}  {safe_line(recipe.name)}", told), content

    def action_detail(self) -> None:
        """The next kind of details."""
        self._view += 1
        self.show(*self._shown)
