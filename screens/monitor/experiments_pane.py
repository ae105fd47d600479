"""Experiments on served traffic: who answers how many, and the evidence over the conversations with its threshold."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line, safe_text
from screens.monitor import rendering
from screens.monitor.begin_experiment import begin_experiment, stop_experiment
from screens.shell.hidden_panes import set_unused
from screens.shell.pane import Pane
from screens.widgets.chart import LineChart, Series
from screens.widgets.line_list import LineList

if TYPE_CHECKING:
    from llmops_tui.experiments.records import ShownRecord
    from llmops_tui.inference.experiments.records import ExperimentRecord

# What is read of the catalog is read no more often than this.
_SECONDS = 10.0
_SHOWN = 5
_LARGEST = 300.0


class ExperimentsPane(Pane):
    """The experiments that say who answers, and the course of the one under the cursor."""

    def __init__(self, *, utf8: bool) -> None:
        super().__init__(
            title="Experiments", jump_key="x", id="monitor-experiments", help_text=rendering.HELP_EXPERIMENTS
        )
        self._utf8 = utf8
        self.records: list[ExperimentRecord] = []
        self.detail: ShownRecord | None = None
        self._read_at = -math.inf

    def compose(self) -> ComposeResult:
        """The list, the chart, and the verdict."""
        yield LineList(id="experiment-lines")
        yield LineChart(utf8=self._utf8, id="experiment-chart")
        yield Static("", id="experiment-verdict", markup=False)

    def on_mount(self) -> None:
        """What an empty list says; evidence grows as a power."""
        self.query_one("#experiment-lines", LineList).placeholder = rendering.NO_EXPERIMENTS
        self.query_one(LineChart).toggle_logarithmic()

    @property
    def chosen(self) -> ExperimentRecord | None:
        """The experiment under the cursor."""
        cursor = self.query_one("#experiment-lines", LineList).cursor
        return self.records[cursor] if cursor < len(self.records) else None

    async def show(self) -> bool:
        """Draw what is known now; whether there is any experiment to show."""
        self.records = await asyncio.to_thread(self._records)
        lines = self.query_one("#experiment-lines", LineList)
        lines.show_lines([rendering.experiment(one) for one in self.records])
        set_unused(self, unused=not self.records)
        running = sum(one["state"] == "running" for one in self.records)
        self.set_title("Experiments", f"{running} running" if self.records else "")
        chosen = self.chosen
        if chosen is None:
            self._show_detail(None)
        elif self._is_another(chosen) or time.monotonic() - self._read_at > _SECONDS:
            await self._read(chosen)
        return bool(self.records)

    def _is_another(self, chosen: ExperimentRecord) -> bool:
        """Whether what is shown is not of this experiment, or of an earlier state of it."""
        if self.detail is None:
            return self._read_at == -math.inf
        shown = self.detail["experiment"]
        return (shown["experiment"], shown["state"]) != (chosen["experiment"], chosen["state"])

    async def _look(self) -> None:
        await self.show()

    async def _read(self, chosen: ExperimentRecord) -> None:
        self._read_at = time.monotonic()
        try:
            self._show_detail(await asyncio.to_thread(self._shown, chosen["experiment"]))
        except LlmopsError as error:
            self._show_detail(None)
            self.query_one("#experiment-verdict", Static).update(Content(safe_text(str(error))))

    def _records(self) -> list[ExperimentRecord]:
        from llmops_tui.experiments.reports import record_of

        store = self.services.experiments
        return [record_of(store, one) for one in store.in_force()[:_SHOWN]]

    def _shown(self, experiment: str) -> ShownRecord:
        from llmops_tui.experiments.reports import shown

        store = self.services.experiments
        return shown(self.services.catalog, store, store.get(experiment))

    def _show_detail(self, found: ShownRecord | None) -> None:
        self.detail = found
        verdict = self.query_one("#experiment-verdict", Static)
        if found is None:
            self.query_one(LineChart).show([])
            verdict.update("")
            return
        course = [(float(n), math.exp(min(_LARGEST, e))) for n, e in found["course"]]
        threshold = found["verdict"]["threshold"]
        ends = [(course[0][0], threshold), (course[-1][0], threshold)] if course else []
        self.query_one(LineChart).show(
            [Series("threshold", "$warning", ends, dotted=True), Series("evidence", "$accent", course)]
        )
        verdict.update(Content(safe_line(found["verdict"]["sentence"], 2000)))

    @on(LineList.Moved)
    def _another(self, event: LineList.Moved) -> None:
        event.stop()
        self.act("experiment-look", self._look)

    # ── actions ──

    def action_begin(self) -> None:
        """Begin an experiment."""
        self.ask_by("experiment", begin_experiment, self.shell)

    def action_end(self) -> None:
        """End the experiment under the cursor."""
        if self.chosen is None:
            self.shell.say("There is no experiment to end; b begins one.", severity="warning")
            return
        self.ask_by("experiment", stop_experiment, self.shell, self.chosen)
