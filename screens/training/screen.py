"""The training screen: runs and recipes on the left, charts and events on the right."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from screens.actions import bindings_of
from screens.navigation import Destination, RunPlace
from screens.shell.live_screen import LiveScreen
from screens.training.chart_pane import ChartPane
from screens.training.details_pane import PREFLIGHT, RESULT, DetailsPane
from screens.training.messages import Changed, CursorMoved, Progress
from screens.training.model import TrainingModel, read_all
from screens.training.recipes_pane import RecipesPane
from screens.training.runs_pane import RunsPane
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> TrainingScreen:
    """Make the screen."""
    return TrainingScreen(services, profile)


class TrainingScreen(LiveScreen):
    """Two lists, a chart, and the details of what is under the cursor."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("training")  # type: ignore[assignment]
    AUTO_FOCUS = "#recipe-list"
    opens = (RunPlace,)
    scope = "training"
    about = (
        "Fine-tuning. A recipe defines the model, the data and the settings; p runs the preflight, F5 starts it. "
        "A run is a separate process: it continues when this app, tmux or the SSH connection ends."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.model = TrainingModel()
        # Whether the details are of the run; else of the recipe.
        self._of_run = False
        self._drawn: tuple[object, ...] = ()

    def compose_body(self) -> ComposeResult:
        """The lists, the chart, the details."""
        with Horizontal(id="columns"):
            with Vertical(id="training-side", classes="column"):
                yield RunsPane()
                yield RecipesPane()
            with Vertical(id="training-main", classes="column"):
                yield ChartPane(utf8=self.profile.utf8)
                yield DetailsPane()

    @property
    def _runs(self) -> RunsPane:
        return self.query_one(RunsPane)

    @property
    def _recipes(self) -> RecipesPane:
        return self.query_one(RecipesPane)

    @property
    def _details(self) -> DetailsPane:
        return self.query_one(DetailsPane)

    async def refresh_all(self, select: str = "") -> None:
        """Read runs and recipes; with ``select`` put the cursor on a run."""
        self.model = await asyncio.to_thread(read_all, self.services, self.model)
        self.shell.show_jobs(run.own.job for run in self.model.runs if run.own is not None and run.own.job is not None)
        self.set_class(not self.model.runs, "-unused")
        facts = self.model.fingerprint()
        if facts != self._drawn or select:
            self._drawn = facts
            self._runs.show(self.model.runs, select)
            self._recipes.show(self.model.recipes, self.model.plans)
            if select and self._runs.run is not None and self._runs.run.name == select:
                self._of_run = True
        else:
            self._runs.show(self.model.runs)
        self.draw()

    def draw(self) -> None:
        """Draw the chart and the details from what was read."""
        run = self._runs.run
        self.query_one(ChartPane).show(self._runs.charted, run)
        self._details.show(run if self._of_run and run is not None else self._recipes.recipe, self.model)

    @on(CursorMoved)
    def _cursor_moved(self) -> None:
        self.draw()

    @on(Changed)
    def _changed(self, event: Changed) -> None:
        self.act("load", self.refresh_all, event.select)

    @on(Progress)
    def _progress(self, event: Progress) -> None:
        self._details.set_note(event.text)

    @on(RecipesPane.Planning)
    def _planning(self) -> None:
        self._of_run = False

    @on(RecipesPane.Planned)
    def _planned(self, event: RecipesPane.Planned) -> None:
        self.model.plans[event.recipe.sha256] = event.plan
        self._details.turn_to(PREFLIGHT)
        self.draw()

    @on(RunsPane.Exported)
    def _exported(self, event: RunsPane.Exported) -> None:
        self.model.proofs[event.run] = event.proof
        self._details.turn_to(RESULT)
        self.draw()

    def on_descendant_focus(self) -> None:
        """The details follow the list that has the focus."""
        pane = self.focused_panel()
        if isinstance(pane, (RunsPane, RecipesPane)):
            if self.has_class("-narrow") and not self.has_class("-sidebar"):
                # The lists are not seen there: what is seen of their rows has the focus.
                self.call_after_refresh(self._details.focus_inside)
            self._of_run = isinstance(pane, RunsPane)
            self.draw()

    def action_remove(self) -> None:
        """Delete what the list with the focus has under its cursor."""
        pane = self._recipes if isinstance(self.focused_panel(), RecipesPane) else self._runs
        pane.delete_picked()

    def action_duplicate(self) -> None:
        """A recipe of its own that begins with the one under the cursor; with that of the run where the runs have the focus."""
        run = self._runs.run if isinstance(self.focused_panel(), RunsPane) else None
        if run is None:
            self._recipes.duplicate()
        elif run.own is None:
            self.app.say("This run is another program's: llmops has no recipe of it.", severity="warning")
        else:
            self._recipes.duplicate(run.name)

    # ── what the base asks ──

    def reveal(self, panel: Panel) -> None:
        """On a narrow terminal one column is shown at a time."""
        self.set_class(panel.id in {"training-runs", "training-recipes"}, "-sidebar")

    async def go_to(self, destination: Destination) -> None:
        """Put the cursor on a run."""
        if isinstance(destination, RunPlace):
            self.act("load", self.refresh_all, destination.run)

    def place(self) -> RunPlace | None:
        """The run, where that is what one looks at."""
        run = self._runs.run
        return RunPlace(run.name) if self._of_run and run is not None else None

    def lineage_subject(self) -> str:
        """What the run made; until then what it is made from."""
        run = self._runs.run
        if not self._of_run or run is None or run.own is None:
            return ""
        return f"model:{(run.own.run.result or {}).get('model') or run.own.run.recipe.base}"

    def copy_choices(self) -> list[tuple[str, str]]:
        """The recipe, or the run's name and folder."""
        run, recipe = self._runs.run, self._recipes.recipe
        if self._of_run and run is not None:
            return [("name", run.name), ("folder", str(run.folder))]
        return [("recipe", recipe.to_yaml())] if recipe is not None else []

    def cli_command(self) -> str:
        """The command for what is under the cursor."""
        run, recipe = self._runs.run, self._recipes.recipe
        if self._of_run and run is not None:
            return shlex.join(["llmops", "train", "watch", run.name])
        return shlex.join(["llmops", "train", "start", recipe.name]) if recipe is not None else "llmops train new"
