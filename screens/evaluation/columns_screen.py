"""Several runs of one suite side by side: a row a case, a column a run, the cases on which they disagree first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events, getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.evaluation.columns.side_by_side import NARROWED, CaseAcross, by_disagreement
from llmops_tui.safe_text import safe_line
from screens.evaluation import columns_rendering
from screens.shell.shell import Shell
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll
from screens.widgets.table import Table
from screens.widgets.table_filter import TableFilter

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun
    from llmops_tui.evaluation.runner.results import Result  # noqa: F401  in the text that says what the screen answers

_TOLD = {"all": "", "differ": " on which they disagree", "wrong": " that some run has wrong"}


class ColumnsScreen(Modal["tuple[EvalRun, Result] | None"]):
    """The table filters by words and slices as every table does; below it is the case under the cursor in full.

    It ends with the run and the answer whose case is wanted in the playground.
    """

    app = getters.app(Shell)
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        # The table has an escape of its own, which would keep the screen open.
        Binding("escape", "back", "Back", priority=True),
        Binding("q", "close", "Close"),
        Binding("s,f3", "metric", "Metric"),
        Binding("f,f6", "narrow", "Which cases"),
        Binding("o,f4", "try_case(1)", "Playground"),
    ]

    def __init__(self, runs: Sequence[EvalRun], rows: Sequence[CaseAcross], metrics: Sequence[str]) -> None:
        """The runs, their cases, and the metrics that all of them have."""
        super().__init__()
        self._runs = list(runs)
        self._all = list(rows)
        self._metrics = list(metrics) or [""]
        self._narrowed = 0
        # In the order of the metric.
        self._rows: list[CaseAcross] = []

    @property
    def metric(self) -> str:
        """The one that is shown and ordered by."""
        return self._metrics[0]

    @property
    def table(self) -> Table[CaseAcross]:
        """The cases."""
        return self.query_one(Table)

    def compose(self) -> ComposeResult:
        """How many cases, the table, the case, the keys."""
        with Vertical(classes="dialog dialog-wide dialog-columns"):
            yield Static("", id="columns-head", markup=False)
            yield Table[CaseAcross](
                self._columns(), id="columns-table", key=lambda row: row.case.key, empty="No such case.\nf shows others.",
                selects=False,
            )  # fmt: skip
            with TextScroll(id="columns-scroll"):
                yield Static("", id="columns-text", markup=False)
            yield Static(columns_rendering.keys(len(self._runs)), id="columns-keys", markup=False)

    def on_mount(self) -> None:
        """All cases by the first metric."""
        self.table.focus()
        self._read()

    def _columns(self) -> list[columns_rendering.AcrossColumn]:
        return columns_rendering.columns(self._runs, self.metric)

    def _read(self) -> None:
        """Put the cases into the order of the metric."""
        self._rows = by_disagreement(self._all, self.metric)
        self.table.set_columns(self._columns())
        self._show()

    def _show(self) -> None:
        narrowed = NARROWED[self._narrowed]
        shown = [row for row in self._rows if row.is_among(self.metric, narrowed)]
        self.table.fill(shown, top=True)
        differ = sum(row.is_among(self.metric, "differ") for row in self._rows)
        head: list[str | tuple[str, str]] = [
            (f"{counted(len(self._runs), 'run')} of {safe_line(self._runs[0].suite, 60)}", "bold $accent"),
            f"  {counted(len(shown), 'case')} of {len(self._rows):,}{_TOLD[narrowed]} · {differ:,} disagree",
            (f"  by {safe_line(self.metric, 40)}" if self.metric else "", "$muted"),
        ]
        self.query_one("#columns-head", Static).update(Content.assemble(*head))
        self._tell()

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self._tell()

    def _tell(self) -> None:
        row = self.table.current
        scroll = self.query_one("#columns-scroll", TextScroll)
        width = scroll.scrollable_content_region.width or self.app.size.width
        text = columns_rendering.case(row, self._runs, self.metric, width) if row is not None else ""
        self.query_one("#columns-text", Static).update(text)
        scroll.scroll_home(animate=False)

    def on_resize(self) -> None:
        """Other lines fit now."""
        self._tell()

    # ── what can be done ──

    def action_metric(self) -> None:
        """Show and order by the next metric that all runs have."""
        self._metrics = [*self._metrics[1:], self._metrics[0]]
        self._read()

    def action_narrow(self) -> None:
        """All cases, those on which the runs disagree, those that some run has wrong."""
        self._narrowed = (self._narrowed + 1) % len(NARROWED)
        self._show()

    def on_key(self, event: events.Key) -> None:
        """A digit opens the case in the playground as that run asked it."""
        if event.key.isdigit() and 1 <= int(event.key) <= len(self._runs):
            event.stop()
            self.action_try_case(int(event.key))

    def action_try_case(self, place: int) -> None:
        """Open the case in the playground, as the run at this place asked it."""
        row = self.table.current
        if row is None:
            return
        run, result = self._runs[place - 1], row.results[place - 1]
        if result is None:
            self.app.say(f"{run.name} did not ask this case.", severity="warning")
        else:
            self.dismiss((run, result))

    def action_back(self) -> None:
        """Give up the filter where there is one, else close."""
        line = TableFilter.of(self.table)
        if self.focused is line:
            line.action_give_up()
        elif self.table.arrangement.said:
            line.clear()
        else:
            self.dismiss(None)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)
