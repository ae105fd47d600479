"""The processes: filter, order, and signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult

from screens.monitor import rendering
from screens.monitor.process_columns import SORTS, process_columns
from screens.monitor.signal_process import signal_process
from screens.shell.pane import Pane
from screens.widgets.arrangement import Arrangement
from screens.widgets.columns import Part
from screens.widgets.table import Table
from screens.widgets.table_filter import TableFilter

if TYPE_CHECKING:
    from llmops_tui.hardware.processes import ProcessLoad


class ProcessesPane(Pane):
    """What takes processor and memory."""

    def __init__(self) -> None:
        super().__init__(title="Processes", jump_key="s", id="monitor-processes", help_text=rendering.HELP_PROCESSES)
        self._all: tuple[ProcessLoad, ...] | None = None
        self._read_only = False

    def compose(self) -> ComposeResult:
        """The list, the most busy first."""
        table = Table(
            process_columns(), id="process-lines", key=lambda row: str(row.pid),
            empty=rendering.NO_PROCESSES, mark=self._mark, selects=False,
        )  # fmt: skip
        table.arrangement = Arrangement(order=SORTS[0], falling=True)
        yield table

    def _mark(self, row: ProcessLoad) -> Part:
        return rendering.process_mark(row, utf8=self.shell.profile.utf8), "accent"

    @property
    def _table(self) -> Table[ProcessLoad]:
        return self.query_one(Table)

    @property
    def rows(self) -> list[ProcessLoad]:
        """The processes as they are shown."""
        return self._table.shown

    @property
    def process(self) -> ProcessLoad | None:
        """The process under the cursor."""
        return self._table.current

    def show(self, processes: tuple[ProcessLoad, ...]) -> None:
        """Show these, where they are others than before."""
        if processes is not self._all:
            self._all = processes
            # The cursor stays on its process, whatever place that has now; where nobody looks it stays at the top.
            self._table.fill(processes, top=not self._table.has_focus)
            self._tell()

    def show_only(self, words: str) -> None:
        """Show the processes with these words; all with none."""
        self._table.filter_by(words)
        TableFilter.of(self._table).show(words)

    def clear(self) -> bool:
        """Clear the filter; whether there was one."""
        was = bool(self._table.arrangement.said)
        if was:
            self.show_only("")
        return was

    @on(Table.Arranged)
    def _tell(self) -> None:
        table = self._table
        count = f"{len(self.rows):,}" + (f" of {len(table.rows):,}" if table.arrangement.said else "")
        self.set_title("Processes", f"by {table.order} · {count}" if table.order else count)
        self.set_note("read-only" if self._read_only else "")

    # ── actions ──

    def action_sort(self) -> None:
        """Sort the processes otherwise."""
        names = [
            name for name in SORTS if name != SORTS[2] or any(row.gpu_memory is not None for row in self._table.rows)
        ]
        at = names.index(self._table.order) if self._table.order in names else -1
        self._table.order_by(names[(at + 1) % len(names)])

    def action_filter(self) -> None:
        """Show some processes only."""
        self._table.action_filter()

    def action_read_only(self) -> None:
        """Send nothing to any process, or allow it again."""
        self._read_only = not self._read_only
        self._tell()

    def action_signal(self) -> None:
        """Send a signal to the process under the cursor."""
        process = self.process
        if process is None:
            return
        if self._read_only:
            self.shell.say("The monitor is read-only; r allows signals again.", severity="warning")
        elif process.started == 0:
            self.shell.say("This process is not visible from here, so it cannot be signalled.", severity="warning")
        else:
            self.ask_by("signal", signal_process, self.shell, process)
