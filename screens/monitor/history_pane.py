"""The history chart: series, time range, live or paused, and the crosshair."""

from __future__ import annotations

import asyncio
import time

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from screens.monitor import rendering
from screens.monitor.groups import FIRST_WINDOW, WINDOWS, Group, groups_of
from screens.shell.pane import Pane
from screens.widgets import units
from screens.widgets.dialogs import Choice, ChoiceDialog
from screens.widgets.time_chart import TimeChart, TimeSeries


class HistoryPane(Pane):
    """The chart and its legend."""

    def __init__(self, *, utf8: bool) -> None:
        super().__init__(title="History", jump_key="h", id="monitor-history", help_text=rendering.HELP_CHART)
        self._utf8 = utf8
        self._group = 0
        self._groups: list[Group] = []
        self._window = FIRST_WINDOW
        self._frozen: float | None = None
        self._drawn_at = 0.0

    def compose(self) -> ComposeResult:
        """The chart, and one line below it."""
        yield TimeChart(utf8=self._utf8, id="monitor-time")
        yield Static("", id="monitor-legend", markup=False)

    def on_mount(self) -> None:
        """What an empty chart says."""
        self._chart.placeholder = "No data was recorded in this time range yet."

    @property
    def _chart(self) -> TimeChart:
        return self.query_one(TimeChart)

    @property
    def crossed(self) -> tuple[float, float] | None:
        """The stretch of time under the crosshair, in seconds of the epoch; none without one."""
        return self._chart.crossed

    @property
    def _seconds(self) -> int:
        """How much time the chart shows."""
        return WINDOWS[self._window][0]

    @property
    def group(self) -> Group | None:
        """What the chart shows."""
        return self._groups[self._group % len(self._groups)] if self._groups else None

    def show_window(self, window: int) -> None:
        """Show as much time as a window has, one of ``WINDOWS``; drawn at the next look."""
        self._window = max(0, min(len(WINDOWS) - 1, window))

    async def draw(self, *, anew: bool = False) -> None:
        """Draw the chart again, where anything in it can have changed."""
        chart = self._chart
        end = self._frozen or time.time()
        step = self._seconds / chart.columns
        if not anew and (self._frozen is not None or abs(end - self._drawn_at) < max(1.0, step) - 0.05):
            return
        self._drawn_at = end
        series = await asyncio.to_thread(self._read, end)
        group = self.group
        chart.show(series, end - self._seconds, end)
        self._legend()
        note = f"{WINDOWS[self._window][1]}" + (" · paused" if self._frozen is not None else "")
        self.set_title(group.title if group is not None else "History", note)

    def draw_anew(self) -> None:
        """Draw everything again; a newer call replaces this one."""
        self.act("chart", self._draw_anew)

    async def _draw_anew(self) -> None:
        await self.draw(anew=True)

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
            TimeSeries(label, group.unit, history.read(name, end - self._seconds, end, time.time()), group.top)
            for name, label in group.series
            if name in known
        ]

    def _legend(self) -> None:
        chart = self._chart
        crossed = chart.crossed
        legend = self.query_one("#monitor-legend", Static)
        if crossed is None:
            legend.update(chart.legend(), layout=False)
            return
        at = time.strftime("%b %d %H:%M:%S", time.localtime(crossed[0]))
        parts: list[tuple[str, str] | str] = [(at, "bold"), "   "]
        for one, mean, top in chart.values_at(crossed[1]):
            top_told = f" (to {units.measured(f'{top:,.4g}', one.unit)})" if top > mean * 1.005 else ""
            parts += [(f"{one.name} ", "$muted"), f"{units.measured(f'{mean:,.4g}', one.unit)}{top_told}   "]
        legend.update(Content.assemble(*parts, ("enter: what ran then", "$muted")), layout=False)

    @on(TimeChart.Crossed)
    def _crossed(self, event: TimeChart.Crossed) -> None:
        event.stop()
        # What is looked at closely must not run away.
        if self._frozen is None and self._chart.crossed is not None:
            self.action_pause()
        self._legend()

    def let_go(self) -> bool:
        """Take the crosshair away and let the picture go on; whether there was one, or it was held."""
        if self._chart.clear_cross() or self._frozen is not None:
            self._frozen = time.time()
            self.action_pause()
            return True
        return False

    # ── actions ──

    def action_series(self) -> None:
        """Show the next group of series."""
        self._group = (self._group + 1) % max(1, len(self._groups))
        self.draw_anew()

    def action_choose(self) -> None:
        """Choose what the chart shows."""
        self.ask_by("choose", self._choose)

    async def _choose(self) -> None:
        choices = [
            Choice(group.title, group.title, ", ".join(label for _, label in group.series)) for group in self._groups
        ]
        title = await self.shell.ask(ChoiceDialog("Show …", choices, "No data is recorded yet."))
        if title is not None:
            self._group = next((n for n, group in enumerate(self._groups) if group.title == title), 0)
            self.draw_anew()

    def action_zoom_in(self) -> None:
        """Show less time."""
        self.show_window(self._window - 1)
        self.draw_anew()

    def action_zoom_out(self) -> None:
        """Show more time."""
        self.show_window(self._window + 1)
        self.draw_anew()

    def action_save_chart(self) -> None:
        """Save the chart as a picture or as figures."""
        from screens.shell.save_chart import save_chart

        title = self.group.title if self.group is not None else "History"
        name = f"{title}-{WINDOWS[self._window][1]}".lower().replace(" ", "-")
        self.ask_by("chart-file", save_chart, self.shell, self._chart.as_file(title), name)

    def action_pause(self) -> None:
        """Hold the picture, or let it go on; recording goes on in any case."""
        self._frozen = time.time() if self._frozen is None else None
        if self._frozen is None:
            self._chart.clear_cross()
        self.draw_anew()
