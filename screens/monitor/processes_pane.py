"""The processes: filter, order, and signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult

from llmops_tui.safe_text import safe_line
from screens.monitor import rendering
from screens.monitor.signal_process import signal_process
from screens.shell.pane import Pane
from screens.widgets.dialogs import LineDialog
from screens.widgets.line_list import LineList

if TYPE_CHECKING:
    from llmops_tui.hardware.processes import ProcessLoad


class ProcessesPane(Pane):
    """What takes processor and memory."""

    def __init__(self) -> None:
        super().__init__(title="Processes", jump_key="s", id="monitor-processes", help_text=rendering.HELP_PROCESSES)
        self.rows: list[ProcessLoad] = []
        self._all: tuple[ProcessLoad, ...] | None = None
        self._words = ""
        self._sort = 0
        self._read_only = False

    def compose(self) -> ComposeResult:
        """The list."""
        yield LineList(id="process-lines")

    def on_mount(self) -> None:
        """What an empty list says."""
        self.query_one(LineList).placeholder = rendering.NO_PROCESSES

    @property
    def process(self) -> ProcessLoad | None:
        """The process under the cursor."""
        at = self.query_one(LineList).cursor
        return self.rows[at] if at < len(self.rows) else None

    def show(self, processes: tuple[ProcessLoad, ...]) -> None:
        """Show these, where they are others than before."""
        if processes is not self._all:
            self._all = processes
            self._draw()

    def show_only(self, words: str) -> None:
        """Show the processes with these words; all with none."""
        self._words = words
        self._draw()

    def clear(self) -> bool:
        """Clear the filter; whether there was one."""
        was = bool(self._words)
        if was:
            self.show_only("")
        return was

    def _draw(self) -> None:
        if self._all is None:
            return
        by = rendering.SORTS[self._sort]
        lines = self.query_one(LineList)
        chosen = self.process
        self.rows = rendering.sorted_processes(self._all, by, self._words)
        # The cursor stays on its process, whatever place that has now.
        place = next(
            (n for n, row in enumerate(self.rows) if chosen is not None and row.pid == chosen.pid), lines.cursor
        )
        lines.cursor = max(0, min(place if lines.has_focus else 0, len(self.rows) - 1))
        lines.show_lines(rendering.processes(self.rows, lines.size.width - 1, utf8=self.shell.profile.utf8))
        self.set_title("Processes", f"by {by} · {len(self.rows)}" + (f" of {len(self._all)}" if self._words else ""))
        self.set_note("read-only" if self._read_only else safe_line(self._words))

    # ── actions ──

    def action_sort(self) -> None:
        """Sort the processes otherwise."""
        self._sort = (self._sort + 1) % len(rendering.SORTS)
        self._draw()

    def action_filter(self) -> None:
        """Show some processes only."""
        self.act("filter", self._ask_words)

    async def _ask_words(self) -> None:
        hint = "Words of the name, or a pid; server, run or job for processes of llmops. Empty: all."
        words = await self.shell.ask(LineDialog("Show processes with …", hint, self._words))
        if words is not None:
            self.show_only(words)

    def action_read_only(self) -> None:
        """Send nothing to any process, or allow it again."""
        self._read_only = not self._read_only
        self._draw()

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
            self.act("signal", signal_process, self.shell, process)
