"""The evaluation screen: runs and suites at the left; figures, cases and the case under the cursor at the right."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from screens.actions import bindings_of
from screens.evaluation.case_pane import CasePane
from screens.evaluation.cases_pane import CasesPane
from screens.evaluation.figures_pane import FiguresPane
from screens.evaluation.messages import Changed
from screens.evaluation.model import EvaluationModel, Opened, Shelf, compare_opened, open_run, read_lists
from screens.evaluation.runs_pane import RunsPane
from screens.evaluation.suites_pane import SuitesPane
from screens.navigation import Destination, EvaluationPlace
from screens.shell.live_screen import LiveScreen
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> EvaluationScreen:
    """Make the screen."""
    return EvaluationScreen(services, profile)


class EvaluationScreen(LiveScreen):
    """Two lists, figures, and cases."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("evaluation")  # type: ignore[assignment]
    AUTO_FOCUS = "#eval-run-list"
    opens = (EvaluationPlace,)
    scope = "evaluation"
    about = (
        "Whether a model or prompt is better, by how much, and with what certainty. A suite defines the cases and "
        "the metrics; a run evaluates one model and prompt on it. space makes a run the baseline; every other run "
        "is then compared with it case by case."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.model = EvaluationModel()
        self.opened: Opened | None = None
        self._metric = ""
        # The case that is wanted of the run that opens next.
        self._case: int | None = None
        self._shelf = Shelf()
        self._drawn: tuple[object, ...] = ()
        # The marked runs as they are remembered; before the lists were first read that is not known.
        self._marked: list[str] | None = None

    def compose_body(self) -> ComposeResult:
        """The lists, the figures, the cases, the case."""
        with Horizontal(id="columns"):
            with Vertical(id="evaluation-side", classes="column"):
                yield RunsPane()
                yield SuitesPane()
            with Vertical(id="evaluation-main", classes="column"):
                yield FiguresPane()
                yield CasesPane()
                yield CasePane()

    @property
    def _runs(self) -> RunsPane:
        return self.query_one(RunsPane)

    @property
    def _suites(self) -> SuitesPane:
        return self.query_one(SuitesPane)

    @property
    def _figures(self) -> FiguresPane:
        return self.query_one(FiguresPane)

    # ── the lists ──

    async def refresh_all(self, select: str = "") -> None:
        """Read suites and runs; with ``select`` put the cursor on a run."""
        before = {s.run.name: s.state for s in self.model.runs}
        self.model = await asyncio.to_thread(read_lists, self.services, self.model)
        self.shell.show_jobs(state.job for state in self.model.runs if state.job is not None)
        self.set_class(not self.model.runs, "-unused")
        facts = self.model.fingerprint()
        if facts != self._drawn or select:
            self._drawn = facts
            self._runs.show(self.model.runs, select)
            self._suites.show(self.model.suites)
        else:
            self._runs.show(self.model.runs)
        if self._marked is None:
            # What somebody comes to first is the list of runs, as on a wide terminal.
            self.set_class(bool(self.model.runs) and self._case is None, "-sidebar")
            await self._restore_marked()
        current = self._runs.state
        self._figures.know(self.opened, current, self.model)
        if current is not None and (
            self.opened is None
            or self.opened.run.name != current.run.name
            or (current.state != before.get(current.run.name) and current.state == "done")
        ):
            self.act("open", self._open)
        elif current is not None and current.state == "running":
            self._draw_figures()
        elif current is None and self.opened is not None:
            # The last run was deleted.
            self.opened = None
            self._draw_figures()
            self.query_one(CasesPane).show(None)
            self._figures.show_suite(self._suites.suite)

    async def _restore_marked(self) -> None:
        """The baseline of another day is the baseline again."""
        kept = await asyncio.to_thread(lambda: self.services.memory.get("evaluation", "marked"))
        names = [name for name in kept if isinstance(name, str)] if isinstance(kept, list) else []
        if not self._runs.marked:
            self._runs.mark(names)
        self._marked = self._runs.marked

    def _keep_marked(self) -> None:
        if self._marked is not None and self._marked != self._runs.marked:
            self._marked = self._runs.marked
            self.act("remember", self._remember, "evaluation", "marked", self._marked or None)

    @on(Changed)
    def _changed(self, event: Changed) -> None:
        self.act("load", self.refresh_all, event.select)

    @on(RunsPane.CursorMoved)
    def _run_looked(self) -> None:
        self._keep_marked()
        self.act("open", self._open)

    @on(RunsPane.Chosen)
    def _run_chosen(self) -> None:
        self.remove_class("-sidebar")
        self.query_one(CasesPane).focus_inside()

    @on(SuitesPane.CursorMoved)
    def _suite_looked(self, event: SuitesPane.CursorMoved) -> None:
        if self.opened is None or event.focused:
            self._figures.show_suite(self._suites.suite)

    @on(SuitesPane.Planned)
    def _planned(self, event: SuitesPane.Planned) -> None:
        self._figures.show_plan(event.plan)

    @on(CasesPane.CursorMoved)
    def _case_looked(self, event: CasesPane.CursorMoved) -> None:
        kinds = self.opened.kinds if self.opened is not None else {}
        self.query_one(CasePane).show(event.result, event.before, kinds)

    def on_descendant_focus(self) -> None:
        """The figures follow the list that has the focus."""
        pane = self.focused_panel()
        if isinstance(pane, (CasesPane, CasePane)):
            # On a narrow terminal the case has the room of the list of runs.
            self.remove_class("-sidebar")
        if isinstance(pane, SuitesPane):
            self._figures.show_suite(pane.suite)
        elif isinstance(pane, RunsPane):
            self._draw_figures()

    # ── what is open ──

    async def _open(self) -> None:
        """Open the run under the cursor: its cases at once, the comparison when it is computed."""
        state = self._runs.state
        if state is None:
            return
        baseline = self._runs.baseline
        if baseline is not None and baseline.name == state.run.name:
            baseline = None
        self.opened = opened = await asyncio.to_thread(open_run, self._shelf, state.run, baseline, self._metric)
        self._draw_figures()
        self.query_one(CasesPane).show(opened, self._case)
        self._case = None
        if opened.comparable:
            self._figures.set_note("comparing …")
            try:
                opened.comparison = await asyncio.to_thread(compare_opened, self.services, self._shelf, opened)
            finally:
                self._figures.set_note("")
            if self.opened is opened:
                self._draw_figures()

    def _draw_figures(self) -> None:
        self._figures.show(self.opened, self._runs.state, self.model)

    def action_metric(self) -> None:
        """Order by the next metric."""
        opened = self.opened
        names = list((opened.run.summary or {}).get("metrics", {})) if opened is not None else []
        if opened is not None and names:
            at = names.index(opened.metric) if opened.metric in names else -1
            self._metric = names[(at + 1) % len(names)]
            self.act("open", self._open)

    def action_remove(self) -> None:
        """Delete what the list with the focus has under its cursor."""
        pane = self._suites if isinstance(self.focused_panel(), SuitesPane) else self._runs
        pane.delete_picked()

    # ── what the base asks ──

    def reveal(self, panel: Panel) -> None:
        """On a narrow terminal one list is shown above the figures, or all that is told of a run."""
        self.set_class(panel.id in {"evaluation-runs", "evaluation-suites"}, "-sidebar")
        self.set_class(panel.id == "evaluation-suites", "-suites")

    async def go_to(self, destination: Destination) -> None:
        """Put the cursor on a run."""
        if isinstance(destination, EvaluationPlace):
            self._case = destination.case
            self.act("load", self.refresh_all, destination.run)
            if destination.case is not None:
                self.act("open", self._open)

    def place(self) -> EvaluationPlace | None:
        """The run that is open."""
        return EvaluationPlace(self.opened.run.name) if self.opened is not None else None

    def lineage_subject(self) -> str:
        """The run."""
        return f"evaluation:{self.opened.run.name}" if self.opened is not None else ""

    def copy_choices(self) -> list[tuple[str, str]]:
        """The verdict, or the run as a table."""
        opened = self.opened
        if opened is None or opened.run.summary is None:
            return []
        from llmops_tui.evaluation.reports import markdown

        verdict = [("verdict", opened.comparison.sentence)] if opened.comparison is not None else []
        return [*verdict, ("table", markdown(opened.run)), ("name", opened.run.name)]

    def cli_command(self) -> str:
        """The command for what is shown."""
        opened = self.opened
        if opened is None:
            kept = self._suites.suite
            return shlex.join(["llmops", "eval", "run", kept.suite.name]) if kept is not None else "llmops eval suites"
        if opened.baseline is not None:
            return shlex.join(["llmops", "eval", "compare", opened.baseline.name, opened.run.name])
        return shlex.join(["llmops", "eval", "show", opened.run.name])
