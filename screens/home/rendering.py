"""Rendering of the home screen's tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.jobs.store import JobState
from llmops_tui.monitoring.overview import rows_told
from llmops_tui.safe_text import safe_line
from screens.models.facts import size_text
from screens.widgets.line_list import Line, without_least
from screens.widgets.sparkline import sparkline

if TYPE_CHECKING:
    from llmops_tui.monitoring.courses import Courses
    from llmops_tui.monitoring.overview import Overview
    from llmops_tui.monitoring.recorder import Moment

HELP_TILE = "Counts and highlights. enter opens the screen."
HELP_STEPS = "Suggested next steps, most urgent first. enter opens the screen."
HELP_RECENT = "The newest requests. enter opens the trace."
HELP_JOBS = "Background jobs that run or ended recently. enter opens the jobs."
# Lines of a tile with room for everything, and the most that bars have.
_ROOMY, _MOST_ROWS = 4, 4
NO_JOBS, READING = "No jobs yet.", "Reading …"
# Hours of which a chart says more than a figure does.
_HOURS_DRAWN = 2
HELP_DAY = "Requests of each of the last 24 hours, and the median time of whole answers. enter opens the monitor."
NO_RECENT, NO_DAY = "No requests yet.", "No answers in the last 24 hours."
TILES = (
    ("data", "Data", "d", "datasets"), ("prompts", "Prompts", "p", "playground"), ("training", "Training", "t", "training"),
    ("evaluation", "Evaluation", "e", "evaluation"), ("models", "Models", "m", "models"), ("serving", "Serving", "s", "monitor"),
)  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """A stage: its state, its newest figure, what else is to be said, and how the figure came about.

    ``more`` are lines for where there is no course to be drawn. ``course`` are values, the oldest first, which ``label``
    names and ``last`` ends; bars are shares of the highest with ``from_zero``.
    """

    state: Line
    figure: Line
    detail: Line
    more: list[Line] = field(default_factory=list)
    course: tuple[float, ...] = ()
    label: str = ""
    last: str = ""
    from_zero: bool = False

    def lines(self, width: int, rows: int, *, utf8: bool) -> list[Line]:
        """As many lines as there is room for: the state, the figure, then its course, then the rest."""
        known = [value for value in self.course if not math.isnan(value)]
        drawn = len(known) > 1 and any(known)
        lines = [self.state, self.figure]
        if self.detail and (rows >= _ROOMY or not drawn):
            lines.append(self.detail)
        if not drawn:
            lines += self.more
        room = rows - len(lines)
        if drawn and room > 0:
            told = f" {self.label} {self.last}".rstrip()
            bars = sparkline(
                self.course, max(4, width - len(told)), min(room, _MOST_ROWS), utf8=utf8, from_zero=self.from_zero
            )
            lines += [[(row, "accent")] for row in bars[:-1]]
            lines.append([(bars[-1], "accent"), (told, "muted")])
        return [without_least(line, width) for line in lines[:rows]]


def tiles(
    seen: Overview, moment: Moment | None, courses: Courses, losses: Sequence[float], *, utf8: bool
) -> dict[str, Tile]:
    """Each tile; ``losses`` are those of the newest training run."""
    return {
        "data": _data(seen, courses),
        "prompts": _prompts(seen, courses),
        "training": _training(seen, losses, utf8=utf8),
        "evaluation": _evaluation(seen, courses, utf8=utf8),
        "models": _models(seen, moment),
        "serving": _serving(seen, moment, courses),
    }


def _none(figure: str, how: str) -> Tile:
    return Tile([(figure, "muted")], [(how, "muted")], [])


def _data(seen: Overview, courses: Courses) -> Tile:
    if not seen.datasets:
        return _none("no datasets yet", "i there imports files")
    name, rows = seen.datasets[0]
    found, more = sum(one.rows for one in seen.problems), any(one.more for one in seen.problems)
    return Tile(
        [
            (f"{rows_told(found, more=more)} with problems", "warn"),
            (f"  {counted(len(seen.datasets), 'dataset')}", "muted"),
        ]
        if found
        else [(counted(len(seen.datasets), "dataset"), "plain"), ("  no problems", "muted"), (" known", "muted")],
        [(safe_line(name), "accent"), (f"  {rows:,}", "plain"), (" row" if rows == 1 else " rows", "muted")],
        [],
        [[(safe_line(n), "muted"), (f"  {counted(r, 'row')}", "muted")] for n, r in seen.datasets[1:]],
        courses.rows,
        "rows by version",
        from_zero=True,
    )


def _prompts(seen: Overview, courses: Courses) -> Tile:
    if not seen.prompts:
        return _none("no prompts yet", "n there writes one")
    name, number = seen.prompts[0]
    shown = safe_line(", ".join(seen.production[:3]))
    return Tile(
        [(counted(len(seen.prompts), "prompt"), "plain")],
        [(safe_line(f"{name}@{number}"), "accent"), ("  newest", "muted")],
        [(f"production: {shown}", "good")] if shown else [("nothing in production", "muted")],
        [[(safe_line(f"{n}@{v}"), "muted")] for n, v in seen.prompts[1:]],
        courses.versions,
        f"{safe_line(seen.scores[0].metric, 12)} by version" if seen.scores else "",
        from_zero=True,
    )


def _training(seen: Overview, losses: Sequence[float], *, utf8: bool) -> Tile:
    running = [job for job in seen.jobs if job.kind == "train" and job.state == JobState.RUNNING]
    if not running and not seen.runs:
        return _none("no runs yet", "F5 there trains one")
    last = f"{losses[-1]:.3f}" if losses else ""
    if running:
        job = running[0]
        name = safe_line(job.title.removeprefix("train "))
        state: Line = [(f"{'▶' if utf8 else '>'} {job.progress:.0%}", "accent"), ("  runs now", "muted")]
        figure: Line = [(name, "accent"), (f"  loss {last}" if last else "", "plain")]
        detail: Line = [(safe_line(job.message, 60), "muted")]
    else:
        name, finished = seen.runs[0]
        ended = (" finished", "good") if finished else (" not finished", "warn")
        detail = []
        state = [(counted(len(seen.runs), "run"), "plain"), ("  newest", "muted"), ended]
        figure = [(safe_line(name), "accent"), (f"  loss {last}" if last else "", "plain")]
    others: list[Line] = [[(safe_line(n), "muted")] for n, _ in seen.runs[0 if running else 1 :]]
    return Tile(state, figure, detail, others, tuple(losses), "loss by step")


def _evaluation(seen: Overview, courses: Courses, *, utf8: bool) -> Tile:
    failed: list[Line] = [
        [
            (safe_line(one.run), "accent"),
            ("  failed" if one.errors else "  no figures", "bad"),
            (f" {one.errors:,} of {one.answers:,}" if one.errors else "", "muted"),
        ]
        for one in seen.unscored
    ]
    if not seen.scores:
        if failed:
            return Tile(failed[0], [("no figures yet", "muted")], [], failed[1:])
        return _none("no runs yet", "F5 there runs a suite")
    score = seen.scores[0]
    change = score.change
    up, down = ("▲", "▼") if utf8 else ("+", "-")
    told = ("", "muted")
    if change is not None:
        by = f"{abs(score.mean - (score.before or 0)):.2f}"
        # A change that is not seen in the figures is none to be glad of.
        told = (
            ("  unchanged", "muted")
            if not float(by)
            else (f"  {up if change > 0 else down}{by}", "good" if change > 0 else "bad")
        )
    interval = f"[{score.low:.2f} … {score.high:.2f}]  " if score.low is not None and score.high is not None else ""
    return Tile(
        [(safe_line(f"{score.suite} "), "muted"), (safe_line(f"{score.metric} {score.mean:.2f}"), "plain"), told],
        [(f"{interval}n={score.cases:,}", "plain")],
        failed[0] if failed else [(safe_line(score.run), "accent")],
        [[(safe_line(f"{s.suite} {s.metric} {s.mean:.2f}"), "muted")] for s in seen.scores[1:]],
        courses.quality,
        f"{safe_line(score.metric, 12)} by run",
        from_zero=True,
    )


def _models(seen: Overview, moment: Moment | None) -> Tile:
    if not seen.models:
        return _none("no models yet", "a there registers one")
    loaded = [engine.model for engine in moment.engines if engine.state != "dead"] if moment is not None else []
    # What is in use is looked for first.
    (name, kind, size, _), *others = sorted(seen.models, key=lambda model: model[0] not in loaded)
    told = ("  loaded", "good")
    unverified = sum(1 for _, k, _, verified in seen.models if not verified and k != "remote")
    return Tile(
        [
            (counted(len(seen.models), "model"), "plain"),
            (f"  {len(loaded)} loaded", "good" if loaded else "muted"),
            (f"  {unverified} not verified" if unverified else "  all verified", "muted"),
        ],
        [
            (safe_line(name), "accent"),
            told if name in loaded else ("  newest", "muted"),
            (f"  {size_text(size)}", "plain"),
            (f" {kind}", "muted"),
        ],
        [],
        [
            [
                (safe_line(n), "muted"),
                *([told] if n in loaded else []),
                (f"  {size_text(b)}", "plain"),
                (f" {k}", "muted"),
            ]
            for n, k, b, _ in others
        ],
    )


def _serving(seen: Overview, moment: Moment | None, courses: Courses) -> Tile:
    state: Line = [("nothing is loaded", "muted")]
    engines = moment.engines if moment is not None else ()
    for engine in engines[:1]:
        where = f"  :{engine.address.rpartition(':')[2]}" if engine.address else "  loaded"
        state = [(safe_line(engine.model), "accent"), (where, "muted") if engine.up else (f"  {engine.state}", "bad")]
        state += [(f"  +{len(engines) - 1} more", "plain")] if len(engines) > 1 else []
    slow = _slow(moment, courses)
    failed = (f"  {seen.failed_day:,} failed", "bad") if seen.failed_day else ("", "muted")
    return Tile(
        state,
        [(counted(seen.requests_day, "request"), "plain"), (" in a day", "muted"), failed],
        slow,
        [],
        courses.traffic if is_day_drawn(courses) else (),
        "per hour",
        from_zero=True,
    )


def _slow(moment: Moment | None, courses: Courses) -> Line:
    """How long answers took, of the model that was asked most lately; else in the newest hour with any. Of how many is told."""
    windows = moment.latencies if moment is not None else ()
    window = max(windows, key=lambda one: one.requests, default=None)
    for share, name in ((0.95, "p95"), (0.5, "median")) if window is not None else ():
        value = window.known_percentile("total", share) if window is not None else None
        if window is not None and value is not None:
            return _time(f"{name} {value:,.0f}", window.requests - window.failed, f"{window.minutes} min")
    known = [place for place, value in enumerate(courses.latency) if not math.isnan(value)]
    if not known:
        return [("no recent answers", "muted")]
    return _time(f"median {courses.latency[known[-1]]:,.0f}", round(courses.traffic[known[-1]]), "an hour")


def _time(figure: str, count: int, window: str) -> Line:
    return [(f"{figure} ms", "plain"), (f" an answer, n={count:,}", "muted"), (f" in {window}", "muted")]


def busy_hours(courses: Courses) -> int:
    """Of the last 24 hours, those with requests."""
    return sum(value > 0 for value in courses.traffic)


def is_day_drawn(courses: Courses) -> bool:
    """Whether the last day is worth a chart: of a single hour the tile says all."""
    return busy_hours(courses) >= _HOURS_DRAWN
