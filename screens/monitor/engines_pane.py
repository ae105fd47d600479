"""The model servers and their state."""

from __future__ import annotations

from textual.app import ComposeResult

from llmops_tui.monitoring.recorder import Moment
from screens.monitor import rendering
from screens.shell.pane import Pane
from screens.widgets.line_list import LineList


class EnginesPane(Pane):
    """A few lines a server."""

    def __init__(self) -> None:
        super().__init__(title="Engines", jump_key="e", id="monitor-engines", help_text=rendering.HELP_ENGINES)

    def compose(self) -> ComposeResult:
        """The lines."""
        yield LineList(id="engine-lines", marks=False)

    def on_mount(self) -> None:
        """What is said where no model is loaded."""
        self.query_one(LineList).placeholder = rendering.NO_ENGINES

    def show(self, moment: Moment) -> None:
        """Draw the engines of a moment."""
        lines = self.query_one(LineList)
        # Without the scroll bar, which stands inside the size and may come with these lines: figures are not cut by it.
        width = lines.size.width - lines.styles.scrollbar_size_vertical
        lines.show_lines(rendering.engines(moment, width, utf8=self.shell.profile.utf8))
