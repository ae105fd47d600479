"""The training screen: runs and recipes at the left, charts and what happened at the right."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from screens.actions import bindings_of
from screens.shell.live_screen import LiveScreen
from screens.training import commands, drawing
from screens.training.looking import Looking, Shown, read_all
from screens.widgets.chart import LineChart
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
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
    scope = "training"
    about = (
        "Fine-tuning. A recipe says what is trained on what, and how; p looks at everything before it starts, F5 starts it. "
        "A run is a process of its own: it goes on when this app, tmux or the SSH connection ends."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.looking = Looking()
        self.marked: set[str] = set()
        self.figure = 0
        self.detail = 0
        self.subject = "recipe"
        self._drawn: tuple[object, ...] = ()

    def compose_body(self) -> ComposeResult:
        """The lists, the chart, the details."""
        with Horizontal(id="columns"):
            with Vertical(id="training-side", classes="column"):
                with Panel(title="Runs", jump_key="r", id="training-runs", help_text=drawing.HELP_RUNS):
                    yield OptionList(id="run-rows", markup=False, compact=True)
                with Panel(title="Recipes", jump_key="e", id="training-recipes", help_text=drawing.HELP_RECIPES):
                    yield OptionList(id="recipe-list", markup=False, compact=True)
            with Vertical(id="training-main", classes="column"):
                with Panel(title="Chart", jump_key="h", id="training-chart", help_text=drawing.HELP_CHART):
                    yield LineChart(utf8=self.profile.utf8, id="chart")
                    yield Static("", id="chart-figures", markup=False)
                with Panel(title="Recipe", jump_key="t", id="training-details", help_text=drawing.HELP_DETAILS):
                    with VerticalScroll(id="details-scroll"):
                        yield Static("", id="details-text", markup=False)

    # ── looking and drawing ──

    async def refresh_all(self, select: str = "") -> None:
        """Read runs and recipes; with ``select`` put the cursor on a run."""
        self.looking = await asyncio.to_thread(read_all, self.services, self.looking)
        facts = self.looking.fingerprint()
        if facts != self._drawn or select:
            self._drawn = facts
            self._fill(select)
        self.draw()

    def _fill(self, select: str) -> None:
        runs = self.query_one("#run-rows", OptionList)
        ids = [f"run:{shown.name}" for shown in self.looking.runs]
        if not select and ids and ids == [option.id for option in runs.options]:
            # Most looks find the same runs a few steps on: their lines are drawn anew, the lists stay.
            for index, shown in enumerate(self.looking.runs):
                runs.replace_option_prompt_at_index(index, drawing.run_line(shown, marked=shown.name in self.marked))
        else:
            self._fill_runs(runs, select)
        self._fill_recipes()

    def _fill_runs(self, runs: OptionList, select: str) -> None:
        kept = runs.highlighted
        runs.clear_options()
        for shown in self.looking.runs:
            runs.add_option(Option(drawing.run_line(shown, marked=shown.name in self.marked), id=f"run:{shown.name}"))
        if not self.looking.runs:
            runs.add_option(Option(Content.styled(drawing.NO_RUNS, "$muted"), disabled=True))
        names = [shown.name for shown in self.looking.runs]
        if select in names:
            runs.highlighted = names.index(select)
            runs.focus()
            self.subject = "run"
        elif names:
            runs.highlighted = min(kept or 0, len(names) - 1)

    def _fill_recipes(self) -> None:
        recipes = self.query_one("#recipe-list", OptionList)
        ids = [f"recipe:{recipe.ref}" for recipe in self.looking.recipes]
        if ids and ids == [option.id for option in recipes.options]:
            return
        kept = recipes.highlighted
        recipes.clear_options()
        for recipe in self.looking.recipes:
            recipes.add_option(Option(drawing.recipe_line(recipe), id=f"recipe:{recipe.ref}"))
        if not self.looking.recipes:
            recipes.add_option(Option(Content.styled(drawing.NO_RECIPES, "$muted"), disabled=True))
        else:
            recipes.highlighted = min(kept or 0, len(self.looking.recipes) - 1)

    def draw(self) -> None:
        """Draw the chart and the details from what was read."""
        shown = self._charted()
        figure = drawing.FIGURES[self.figure]
        chart = self.query_one("#chart", LineChart)
        chart.show(drawing.lines(shown, figure))
        panel = self.query_one("#training-chart", Panel)
        panel.set_title(f"Chart  {figure.title}", drawing.legend(shown))
        self.query_one("#chart-figures", Static).update(drawing.figures(self.run, shown))
        title, content = drawing.details(self)
        self.query_one("#training-details", Panel).set_title(*title)
        self.query_one("#details-text", Static).update(content)

    def _charted(self) -> list[Shown]:
        """The marked runs, or the one under the cursor."""
        marked = [shown for shown in self.looking.runs if shown.name in self.marked]
        current = self.run
        return marked or ([current] if current is not None else [])

    @property
    def run(self) -> Shown | None:
        """The run under the cursor."""
        index = self.query_one("#run-rows", OptionList).highlighted
        return self.looking.runs[index] if index is not None and index < len(self.looking.runs) else None

    @property
    def recipe(self) -> Recipe | None:
        """The recipe under the cursor."""
        index = self.query_one("#recipe-list", OptionList).highlighted
        recipes = self.looking.recipes
        return recipes[index].recipe if index is not None and index < len(recipes) else None

    @on(OptionList.OptionHighlighted)
    def _looked(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.draw()

    @on(OptionList.OptionSelected, "#recipe-list")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        commands.change_recipe(self)

    def on_descendant_focus(self) -> None:
        """The details follow the list that has the focus."""
        focused = self.focused
        if focused is not None and focused.id in {"run-rows", "recipe-list"}:
            self.subject = "run" if focused.id == "run-rows" else "recipe"
            self.draw()

    # ── actions ──

    def action_start(self) -> None:
        """Start the recipe."""
        commands.start(self)

    def action_plan(self) -> None:
        """Look at everything first."""
        commands.plan(self)

    def action_new(self) -> None:
        """A new recipe."""
        commands.new_recipe(self)

    def action_change(self) -> None:
        """Change the recipe in its form."""
        commands.change_recipe(self)

    def action_edit(self) -> None:
        """Change the recipe in $EDITOR."""
        commands.edit_recipe(self)

    def action_stop(self) -> None:
        """Stop the run."""
        commands.stop(self)

    def action_stop_after_save(self) -> None:
        """Stop once a checkpoint is written."""
        commands.steer(self, "stop", after_save=True)

    def action_pause(self) -> None:
        """Leave the device to others."""
        commands.steer(self, "pause")

    def action_resume(self) -> None:
        """Go on."""
        commands.steer(self, "resume")

    def action_remove(self) -> None:
        """Delete the run."""
        commands.remove(self)

    def action_export(self) -> None:
        """Merge, quantize, prove."""
        commands.export(self)

    def action_use(self) -> None:
        """Prompt the result."""
        commands.use(self)

    def action_sweep(self) -> None:
        """Search for better settings."""
        commands.sweep(self)

    def action_watch(self) -> None:
        """Watch another program's run."""
        commands.watch_folder(self)

    def action_figure(self) -> None:
        """The next figure in the chart."""
        self.figure = (self.figure + 1) % len(drawing.FIGURES)
        self.draw()

    def action_detail(self) -> None:
        """The next kind of details."""
        self.detail += 1
        self.draw()

    def action_mark(self) -> None:
        """Mark the run for one chart with others."""
        current = self.run
        if current is not None:
            self.marked ^= {current.name}
            self._fill("")
            self.draw()

    def action_smooth(self) -> None:
        """The next smoothing."""
        weight = self.query_one("#chart", LineChart).cycle_smoothing()
        self.query_one("#training-chart", Panel).set_note(f"smoothed {weight:g}" if weight else "")

    def action_logarithm(self) -> None:
        """Linear or logarithmic."""
        on_ = self.query_one("#chart", LineChart).toggle_logarithmic()
        self.query_one("#training-chart", Panel).set_note("logarithmic" if on_ else "")

    def action_zoom_in(self) -> None:
        """Less of the beginning."""
        self._zoomed(0.5)

    def action_zoom_out(self) -> None:
        """More of the beginning."""
        self._zoomed(2.0)

    def _zoomed(self, factor: float) -> None:
        share = self.query_one("#chart", LineChart).change_zoom(factor)
        self.query_one("#training-chart", Panel).set_note("" if share == 1 else f"the last {share:.0%}")

    # ── what the base asks ──

    def reveal(self, panel: Panel) -> None:
        """On a narrow terminal one column is shown at a time."""
        self.set_class(panel.id in {"training-runs", "training-recipes"}, "-sidebar")

    def lineage_subject(self) -> str:
        """What the run made; until then what it is made from."""
        state = self.run.own if self.run is not None else None
        if self.subject != "run" or state is None:
            return ""
        return f"model:{(state.run.result or {}).get('model') or state.run.recipe.base}"

    def copy_choices(self) -> list[tuple[str, str]]:
        """The recipe, or the run's name and folder."""
        if self.subject == "run" and self.run is not None:
            return [("name", self.run.name), ("folder", str(self.run.folder))]
        return [("recipe", self.recipe.to_yaml())] if self.recipe is not None else []

    def cli_command(self) -> str:
        """The command for what is under the cursor."""
        if self.subject == "run" and self.run is not None:
            return shlex.join(["llmops", "train", "watch", self.run.name])
        return (
            shlex.join(["llmops", "train", "start", self.recipe.name])
            if self.recipe is not None
            else "llmops train new"
        )
