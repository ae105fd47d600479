"""The current load of the machine, one line per GPU and for the host."""

from __future__ import annotations

from textual.app import ComposeResult

from llmops_tui.monitoring.recorder import Moment
from llmops_tui.safe_text import safe_line
from screens.monitor.machine_rendering import HELP_MACHINE, machine
from screens.shell.pane import Pane
from screens.widgets.line_list import LineList

_LATE_SECONDS = 10.0
# What the frame takes of the terminal's width.
_FRAME = 4


class MachinePane(Pane):
    """As high as what it shows, up to a quarter of the terminal."""

    def __init__(self) -> None:
        super().__init__(title="Machine", jump_key="m", id="monitor-machine", help_text=HELP_MACHINE)

    def compose(self) -> ComposeResult:
        """The lines."""
        yield LineList(id="machine-lines", marks=False)

    def show(self, moment: Moment) -> None:
        """Draw a moment."""
        lines = self.query_one(LineList)
        terminal = self.shell.size
        shown = machine(moment, lines.size.width or terminal.width - _FRAME, utf8=self.shell.profile.utf8)
        height = max(2, min(len(shown), terminal.height // 4))
        if lines.styles.height is None or lines.styles.height.value != height:
            # Every height that is set lays the screen out anew.
            lines.styles.height = height
        lines.show_lines(shown)
        who = "recording" if moment.recording else "recorded by another llmops process"
        recorder = self.services.recorder
        late = (
            f"no sample for {recorder.age:.0f} s: the last one has not finished" if recorder.age > _LATE_SECONDS else ""
        )
        self.set_note(safe_line(recorder.trouble)[:100] or late or f"{who} · {moment.cost:.1%} of a core")
