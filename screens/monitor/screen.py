"""The monitor screen: the machine and its history, experiments, processes, engines, alerts; not rendered while hidden."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from screens.actions import bindings_of
from screens.monitor.activity import show_activity, show_incident
from screens.monitor.alerts_pane import AlertsPane
from screens.monitor.engines_pane import EnginesPane
from screens.monitor.experiments_pane import ExperimentsPane
from screens.monitor.history_pane import HistoryPane
from screens.monitor.machine_pane import MachinePane
from screens.monitor.machine_rendering import machine
from screens.monitor.processes_pane import ProcessesPane
from screens.shell.live_screen import LiveScreen
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.monitoring.recorder import Moment
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> MonitorScreen:
    """Make the screen."""
    return MonitorScreen(services, profile)


class MonitorScreen(LiveScreen):
    """The machine above, its past in the middle, processes and engines below."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("monitor")  # type: ignore[assignment]
    AUTO_FOCUS = "#monitor-time"
    scope = "monitor"
    about = (
        "The current and past load of the machine and the models. A sample is recorded each second, on this "
        "screen or not, and kept across restarts. s shows other series, + and - zoom, p pauses the chart while "
        "recording continues; ← → and enter show what caused a spike."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.moment: Moment | None = None

    def compose_body(self) -> ComposeResult:
        """Six panes; that of experiments is seen where there are any."""
        with Vertical(id="monitor-rows"):
            yield MachinePane()
            yield HistoryPane(utf8=self.profile.utf8)
            yield ExperimentsPane(utf8=self.profile.utf8)
            with Horizontal(id="monitor-below"):
                yield ProcessesPane()
                with Vertical(id="monitor-side", classes="column"):
                    yield EnginesPane()
                    yield AlertsPane()

    # Textual calls what the base classes do on these events, too.

    def on_screen_resume(self) -> None:
        """Processes are looked for while they are seen."""
        self.services.shows_processes = True

    def on_screen_suspend(self) -> None:
        """Nothing is drawn or looked for while the screen is hidden; recording goes on."""
        self.services.shows_processes = False

    def reveal(self, panel: Panel) -> None:
        """On small terminals engines and alerts share their place, and history and experiments do."""
        if panel.id in {"monitor-experiments", "monitor-history"}:
            self.set_class(panel.id == "monitor-experiments", "-experiments")
        if panel.id in {"monitor-engines", "monitor-alerts"}:
            self.set_class(panel.id == "monitor-alerts", "-alerts")

    async def refresh_all(self, select: str = "") -> None:  # noqa: ARG002  there is no run to select
        """Draw the newest moment, and the chart where time has moved on by a column."""
        moment = self.services.recorder.moment
        if moment is None:
            return
        self.moment = moment
        self.query_one(MachinePane).show(moment)
        self.query_one(ProcessesPane).show(moment.processes)
        self.query_one(EnginesPane).show(moment)
        await self.query_one(AlertsPane).show(moment)
        await self._history.draw()
        self.set_class(await self.query_one(ExperimentsPane).show(), "-with-experiments")

    @property
    def _history(self) -> HistoryPane:
        return self.query_one(HistoryPane)

    # ── actions ──

    def action_look(self) -> None:
        """Look now, and ask again for a GPU that was in trouble."""
        self.act("load", self.refresh_all)

    def action_inspect(self) -> None:
        """Say what was going on around the alert under the cursor, or what ran at the crosshair."""
        alert = self.query_one(AlertsPane).chosen
        crossed = self._history.crossed
        if alert is not None:
            self.ask_by("inspect", show_incident, self.shell, alert)
        elif crossed is not None:
            self.ask_by("inspect", show_activity, self.shell, crossed)
        else:
            self.shell.say("← and → put a crosshair on the chart first.", severity="warning")

    def action_loop(self) -> None:
        """Show where a served name stands between feedback and a retrained model."""
        self.ask_by("loop", self._show_loop)

    async def _show_loop(self) -> None:
        from screens.monitor.loop_screen import LoopScreen

        place = await self.shell.ask(LoopScreen(self.services))
        if place is not None:
            self.shell.open_place(place)

    def action_quality(self) -> None:
        """Show what changed in use, and what checks find in the answers."""
        self.ask_by("quality", self._show_quality)

    async def _show_quality(self) -> None:
        from screens.monitor.quality_screen import QualityScreen

        place = await self.shell.ask(QualityScreen(self.services))
        if place is not None:
            self.shell.open_place(place)

    def action_back(self) -> None:
        """Take the crosshair away and let the picture go on; then clear the filter."""
        if not self._history.let_go():
            self.query_one(ProcessesPane).clear()

    def on_resize(self, event: events.Resize) -> None:  # noqa: ARG002  the base needs it
        """Another size has other dots."""
        if self.is_current:
            self._history.draw_anew()

    def copy_choices(self) -> list[tuple[str, str]]:
        """The moment as text and as JSON."""
        if self.moment is None:
            return []
        lines = ["".join(text for text, _ in line) for line in machine(self.moment, 120, utf8=True)]
        return [
            ("machine", "\n".join(lines)),
            ("JSON", json.dumps(self.moment.as_dict(), default=str, indent=1)),
        ]

    def cli_command(self) -> str:
        """``llmops monitor``."""
        return "llmops monitor --once --json"
