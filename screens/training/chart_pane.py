"""A metric of the marked runs over their steps."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from screens.shell.pane import Pane
from screens.training import rendering
from screens.training.model import Shown
from screens.widgets.chart import LineChart
from screens.widgets.chart_scales import tells_more_by_powers


class ChartPane(Pane):
    """The chart, and the newest figures below it."""

    def __init__(self, *, utf8: bool) -> None:
        super().__init__(title="Chart", jump_key="h", id="training-chart", help_text=rendering.HELP_CHART)
        self._utf8 = utf8
        self._figure = 0
        self._charted: list[Shown] = []
        self._current: Shown | None = None
        # The scale that somebody chose, by figure; else the one that tells more.
        self._scales: dict[str, bool] = {}

    def compose(self) -> ComposeResult:
        """The chart and its figures."""
        yield LineChart(utf8=self._utf8, id="chart", across="step")
        yield Static("", id="chart-figures", markup=False)

    @property
    def _chart(self) -> LineChart:
        return self.query_one(LineChart)

    def show(self, charted: list[Shown], current: Shown | None) -> None:
        """Draw these runs, and the figures of the one under the cursor."""
        self._charted = charted
        self._draw()
        told = self.query_one("#chart-figures", Static)
        self._current = current
        told.update(rendering.figures(current, charted, told.size.width))

    def on_resize(self) -> None:
        """More fits into a line now, or less."""
        self.show(self._charted, self._current)

    def _draw(self) -> None:
        figures = rendering.figures_of(self._charted)
        figure = figures[self._figure % len(figures)]
        lines = rendering.lines(self._charted, figure)
        logarithmic = self._scales.get(figure.title, any(tells_more_by_powers([y for _, y in s.points]) for s in lines))
        if logarithmic is not self._chart.logarithmic:
            self._chart.toggle_logarithmic()
        self._chart.show(lines)
        self._tell_view()
        self.set_title(f"Chart  {figure.title}", rendering.legend(self._charted))

    # ── actions ──

    def action_figure(self) -> None:
        """The next figure."""
        self._figure = (self._figure + 1) % len(rendering.figures_of(self._charted))
        self._draw()

    def action_save_chart(self) -> None:
        """Save the chart as a picture or as figures."""
        from screens.shell.save_chart import save_chart
        from screens.widgets.chart_file import ChartFile, ChartLine

        figures = rendering.figures_of(self._charted)
        title = figures[self._figure % len(figures)].title
        chart = ChartFile(title, "step", [ChartLine(one.name, one.points) for one in self._chart.series])
        names = "-".join(run.name for run in self._charted[:3]) or "chart"
        self.ask_by("chart-file", save_chart, self.shell, chart, f"{names}-{title}".replace(" ", "-").replace("/", "-"))

    def _tell_view(self) -> None:
        """Say how the lines are drawn, where that is not plain."""
        chart = self._chart
        told = ["log scale" if chart.logarithmic else "", f"smoothed {chart.weight:g}" if chart.weight else ""]
        told.append(f"the last {chart.zoom:.0%}" if chart.zoom < 1 else "")
        self.set_note(" · ".join(filter(None, told)))

    def action_smooth(self) -> None:
        """The next smoothing."""
        self._chart.cycle_smoothing()
        self._tell_view()

    def action_logarithm(self) -> None:
        """Linear or logarithmic."""
        figures = rendering.figures_of(self._charted)
        self._scales[figures[self._figure % len(figures)].title] = self._chart.toggle_logarithmic()
        self._tell_view()

    def action_zoom_in(self) -> None:
        """Less of the beginning."""
        self._zoom(0.5)

    def action_zoom_out(self) -> None:
        """More of the beginning."""
        self._zoom(2.0)

    def _zoom(self, factor: float) -> None:
        self._chart.change_zoom(factor)
        self._tell_view()
