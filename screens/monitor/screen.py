"""The monitor screen: the machine and its past, processes, engines, alerts; live, and nothing drawn while it is hidden."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_line
from screens.actions import bindings_of
from screens.monitor import commands, drawing
from screens.monitor.groups import FIRST_WINDOW, WINDOWS, Group, groups_of
from screens.shell.live_screen import LiveScreen
from screens.widgets.line_list import LineList
from screens.widgets.panel import Panel
from screens.widgets.time_chart import TimeChart, TimeSeries

if TYPE_CHECKING:
    from llmops_tui.hardware.processes import ProcessLoad
    from llmops_tui.monitoring.alerts import Alert
    from llmops_tui.monitoring.recorder import Moment
    from screens.services import Services
    from screens.terminal import TerminalProfile

_ALERT_SECONDS = 5.0
_LATE_SECONDS = 10.0


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
        "What the machine and the models are doing, and what they did. A look is taken each second, on this screen or not, and "
        "kept over restarts. s shows other series, + and - zoom, p holds the picture while recording goes on; with ← → and "
        "enter a spike gets its name."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.moment: Moment | None = None
        self.read_only = False
        self.narrow = ""
        self.sort = 0
        self.rows: list[ProcessLoad] = []
        self.alerts: list[Alert] = []
        self._group = 0
        self._window = FIRST_WINDOW
        self._frozen: float | None = None
        self._groups: list[Group] = []
        self._processes: tuple[ProcessLoad, ...] | None = None
        self._drawn_at = 0.0
        self._past: tuple[float, list[Alert]] = (0.0, [])

    def compose_body(self) -> ComposeResult:
        """Five panes."""
        utf8 = self.profile.utf8
        with Vertical(id="monitor-rows"):
            with Panel(title="Machine", jump_key="m", id="monitor-machine", help_text=drawing.HELP_MACHINE):
                yield LineList(id="machine-lines", marks=False)
            with Panel(title="History", jump_key="h", id="monitor-history", help_text=drawing.HELP_CHART):
                yield TimeChart(utf8=utf8, id="monitor-time")
                yield Static("", id="monitor-legend", markup=False)
            with Horizontal(id="monitor-below"):
                with Panel(title="Processes", jump_key="s", id="monitor-processes", help_text=drawing.HELP_PROCESSES):
                    yield LineList(id="process-lines")
                with Vertical(id="monitor-side"):
                    with Panel(title="Engines", jump_key="e", id="monitor-engines", help_text=drawing.HELP_ENGINES):
                        yield LineList(id="engine-lines", marks=False)
                    with Panel(title="Alerts", jump_key="a", id="monitor-alerts", help_text=drawing.HELP_ALERTS):
                        yield LineList(id="alert-lines")

    def on_mount(self) -> None:
        """What empty panes say."""
        for name, text in (
            ("#process-lines", drawing.NO_PROCESSES), ("#engine-lines", drawing.NO_ENGINES), ("#alert-lines", drawing.NO_ALERTS),
        ):  # fmt: skip
            self.query_one(name, LineList).placeholder = text
        self.query_one(TimeChart).placeholder = "Nothing was recorded in this stretch of time yet."

    def on_screen_resume(self) -> None:
        """Processes are looked for while they are seen."""
        self.services.shows_processes = True
        super().on_screen_resume()

    def on_screen_suspend(self) -> None:
        """Nothing is drawn or looked for while the screen is hidden; recording goes on."""
        self.services.shows_processes = False
        super().on_screen_suspend()

    def reveal(self, panel: Panel) -> None:
        """On small terminals engines and alerts share their place."""
        if panel.id in {"monitor-engines", "monitor-alerts"}:
            self.set_class(panel.id == "monitor-alerts", "-alerts")

    # ── looking ──

    async def refresh_all(self, select: str = "") -> None:  # noqa: ARG002  there is no run to select
        """Draw the newest moment, and the chart where time has moved on by a column."""
        recorder = self.services.recorder
        moment = recorder.moment
        if moment is None:
            return
        self.moment = moment
        if time.monotonic() - self._past[0] > _ALERT_SECONDS:
            self._past = (time.monotonic(), await asyncio.to_thread(recorder.history.alerts, 50))
        self._draw_machine()
        if moment.processes is not self._processes:
            self._processes = moment.processes
            self._draw_processes()
        self._draw_engines()
        await self.draw_chart()

    def _draw_machine(self) -> None:
        moment = self.moment
        assert moment is not None
        lines = self.query_one("#machine-lines", LineList)
        shown = drawing.machine(moment, lines.size.width or self.size.width - 4, utf8=self.profile.utf8)
        height = max(2, min(len(shown), self.size.height // 4))
        if lines.styles.height is None or lines.styles.height.value != height:
            # Every height that is set lays the screen out anew.
            lines.styles.height = height
        lines.show_lines(shown)
        panel = self.query_one("#monitor-machine", Panel)
        who = "recording" if moment.recording else "recorded by another llmops"
        recorder = self.services.recorder
        late = f"nothing seen for {recorder.age:.0f} s: a look has not ended" if recorder.age > _LATE_SECONDS else ""
        panel.set_note(safe_line(recorder.trouble)[:100] or late or f"{who} · {moment.cost:.1%} of a core")

    def _draw_processes(self) -> None:
        moment = self.moment
        if moment is None:
            return
        by = drawing.SORTS[self.sort]
        lines = self.query_one("#process-lines", LineList)
        chosen = self.process
        self.rows = drawing.sorted_processes(moment.processes, by, self.narrow)
        # The cursor stays on its process, whatever place that has now.
        place = next(
            (n for n, row in enumerate(self.rows) if chosen is not None and row.pid == chosen.pid), lines.cursor
        )
        lines.cursor = max(0, min(place if lines.has_focus else 0, len(self.rows) - 1))
        lines.show_lines(drawing.processes(self.rows, lines.size.width - 1, utf8=self.profile.utf8))
        note = f"by {by} · {len(self.rows)}" + (f" of {len(moment.processes)}" if self.narrow else "")
        panel = self.query_one("#monitor-processes", Panel)
        panel.set_title("Processes", note)
        panel.set_note("read-only" if self.read_only else safe_line(self.narrow))

    def _draw_engines(self) -> None:
        moment = self.moment
        assert moment is not None
        engines = self.query_one("#engine-lines", LineList)
        engines.show_lines(drawing.engines(moment, engines.size.width, utf8=self.profile.utf8))
        alerts = self.query_one("#alert-lines", LineList)
        self.alerts = [*moment.alerts, *(alert for alert in self._past[1] if alert.cleared_at is not None)]
        alerts.show_lines(drawing.alerts(self.alerts, alerts.size.width))
        self.query_one("#monitor-alerts", Panel).set_title(
            "Alerts", f"{len(moment.alerts)} raised" if moment.alerts else ""
        )

    # ── the chart ──

    @property
    def window(self) -> int:
        """How much time the chart shows, in seconds."""
        return WINDOWS[self._window][0]

    async def draw_chart(self, *, anew: bool = False) -> None:
        """Draw the chart again, where anything in it can have changed."""
        chart = self.query_one(TimeChart)
        end = self._frozen or time.time()
        step = self.window / chart.columns
        if not anew and (self._frozen is not None or abs(end - self._drawn_at) < max(1.0, step) - 0.05):
            return
        self._drawn_at = end
        series = await asyncio.to_thread(self._read, end)
        group = self.group
        chart.show(series, end - self.window, end)
        self._legend()
        panel = self.query_one("#monitor-history", Panel)
        note = f"{WINDOWS[self._window][1]}" + (" · held" if self._frozen is not None else "")
        panel.set_title(group.title if group is not None else "History", note)

    def _read(self, end: float) -> list[TimeSeries]:
        history = self.services.recorder.history
        names = history.series()
        before = self.group
        self._groups = groups_of(names)
        if before is not None:
            # New series must not move what is looked at.
            self._group = next((n for n, g in enumerate(self._groups) if g.title == before.title), 0)
        group = self.group
        if group is None:
            return []
        known = set(names)
        return [
            TimeSeries(label, group.unit, history.read(name, end - self.window, end, time.time()), group.top)
            for name, label in group.series
            if name in known
        ]

    @property
    def group(self) -> Group | None:
        """What the chart shows."""
        return self._groups[self._group % len(self._groups)] if self._groups else None

    def _legend(self) -> None:
        chart = self.query_one(TimeChart)
        crossed = chart.crossed
        legend = self.query_one("#monitor-legend", Static)
        if crossed is None:
            legend.update(chart.legend(), layout=False)
            return
        parts: list[tuple[str, str] | str] = [
            (time.strftime("%b %d %H:%M:%S", time.localtime(crossed[0])), "bold"),
            "   ",
        ]
        for one, mean, top in chart.values_at(crossed[1]):
            spread = f" (to {top:,.4g})" if top > mean * 1.005 else ""
            parts += [(f"{one.name} ", "$muted"), f"{mean:,.4g}{spread} {one.unit}   "]
        legend.update(Content.assemble(*parts, ("enter: what ran then", "$muted")), layout=False)

    @on(TimeChart.Crossed)
    def _crossed(self, event: TimeChart.Crossed) -> None:
        event.stop()
        # What is looked at closely must not run away.
        if self._frozen is None and self.query_one(TimeChart).crossed is not None:
            self.action_pause()
        self._legend()

    # ── actions ──

    @property
    def process(self) -> ProcessLoad | None:
        """The process under the cursor."""
        at = self.query_one("#process-lines", LineList).cursor
        return self.rows[at] if at < len(self.rows) else None

    def action_look(self) -> None:
        """Look now, and ask again for a GPU that was in trouble."""
        self.act("load", self.refresh_all)

    def action_series(self) -> None:
        """Show the next group of series."""
        self._group = (self._group + 1) % max(1, len(self._groups))
        self.act("chart", self._redraw)

    def action_choose(self) -> None:
        """Choose what the chart shows."""
        commands.choose_group(self, self._groups)

    def show_group(self, title: str) -> None:
        """Show a group of series by its title."""
        self._group = next((n for n, group in enumerate(self._groups) if group.title == title), 0)
        self.act("chart", self._redraw)

    def action_zoom_in(self) -> None:
        """Show less time."""
        self._zoom(-1)

    def action_zoom_out(self) -> None:
        """Show more time."""
        self._zoom(1)

    def _zoom(self, step: int) -> None:
        self._window = max(0, min(len(WINDOWS) - 1, self._window + step))
        self.act("chart", self._redraw)

    def action_pause(self) -> None:
        """Hold the picture, or let it go on; recording goes on in any case."""
        self._frozen = time.time() if self._frozen is None else None
        if self._frozen is None:
            self.query_one(TimeChart).clear_cross()
        self.act("chart", self._redraw)

    async def _redraw(self) -> None:
        await self.draw_chart(anew=True)

    def action_inspect(self) -> None:
        """Say what was going on around the alert under the cursor, or what ran at the crosshair."""
        lines = self.query_one("#alert-lines", LineList)
        if lines.has_focus and lines.cursor < len(self.alerts):
            self.act("inspect", commands.show_incident, self, self.alerts[lines.cursor])
            return
        commands.inspect(self, self.query_one(TimeChart).crossed)

    def action_sort(self) -> None:
        """Sort the processes otherwise."""
        self.sort = (self.sort + 1) % len(drawing.SORTS)
        self._draw_processes()

    def action_filter(self) -> None:
        """Show some processes only."""
        commands.narrow(self)

    def show_only(self, words: str) -> None:
        """Show the processes with these words."""
        self.narrow = words
        self._draw_processes()

    def action_signal(self) -> None:
        """Send a signal to the process under the cursor."""
        commands.signal_process(self)

    def action_read_only(self) -> None:
        """Send nothing to any process, or allow it again."""
        self.read_only = not self.read_only
        self._draw_processes()

    def action_rules(self) -> None:
        """Change the alert rules."""
        commands.edit_rules(self)

    def action_dry_run(self) -> None:
        """What the rules would have raised in the last day."""
        self.act("dry", commands.dry_run, self)

    def action_back(self) -> None:
        """Take the crosshair away and let the picture go on; then clear the filter."""
        if self.query_one(TimeChart).clear_cross() or self._frozen is not None:
            self._frozen = time.time()
            self.action_pause()
        elif self.narrow:
            self.show_only("")

    def on_resize(self, event: events.Resize) -> None:
        """Another size has other dots."""
        super().on_resize(event)
        if self.is_current:
            self.act("chart", self._redraw)

    def copy_choices(self) -> list[tuple[str, str]]:
        """The moment as JSON, and the command."""
        if self.moment is None:
            return []
        return commands.copies(self.moment)

    def cli_command(self) -> str:
        """``llmops monitor``."""
        return "llmops monitor --once --json"
