"""Active and past alerts, and their rules."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from screens.monitor import rendering
from screens.monitor.alert_rules import dry_run, edit_rules
from screens.shell.pane import Pane
from screens.shell.pane_layout import set_height
from screens.widgets.line_list import LineList

if TYPE_CHECKING:
    from llmops_tui.monitoring.alerts import Alert
    from llmops_tui.monitoring.recorder import Moment

_SECONDS = 5.0
_PLACEHOLDER_LINES, _BORDERS = len(rendering.NO_ALERTS.splitlines()), 2
_MOST = 50


class AlertsPane(Pane):
    """What is wrong now, then what was."""

    def __init__(self) -> None:
        super().__init__(title="Alerts", jump_key="a", id="monitor-alerts", help_text=rendering.HELP_ALERTS)
        self.alerts: list[Alert] = []
        self._past: tuple[float, list[Alert]] = (float("-inf"), [])

    def compose(self) -> ComposeResult:
        """The list."""
        yield LineList(id="alert-lines")

    def on_mount(self) -> None:
        """What an empty list says."""
        self.query_one(LineList).placeholder = rendering.NO_ALERTS

    @property
    def chosen(self) -> Alert | None:
        """The alert under the cursor, where the list has the focus."""
        lines = self.query_one(LineList)
        return self.alerts[lines.cursor] if lines.has_focus and lines.cursor < len(self.alerts) else None

    async def show(self, moment: Moment) -> None:
        """Draw the alerts of a moment, and those of the past, which are read now and then."""
        if time.monotonic() - self._past[0] > _SECONDS:
            self._past = (time.monotonic(), await asyncio.to_thread(self.services.recorder.history.alerts, _MOST))
        lines = self.query_one(LineList)
        self.alerts = [*moment.alerts, *(alert for alert in self._past[1] if alert.cleared_at is not None)]
        lines.show_lines(rendering.alerts(self.alerts, lines.scrollable_content_region.width))
        # As high as what it says: the engines above it use the rest.
        set_height(self, max(_PLACEHOLDER_LINES, len(self.alerts)) + _BORDERS, most=True)
        self.set_title("Alerts", f"{len(moment.alerts)} raised" if moment.alerts else "")

    def action_rules(self) -> None:
        """Change the alert rules."""
        edit_rules(self.shell)

    def action_dry_run(self) -> None:
        """What the rules would have raised in the last day."""
        self.ask_by("dry", dry_run, self.shell)
