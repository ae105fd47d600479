"""Rendering of the home screen's tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.jobs.store import JobState
from llmops_tui.monitoring.overview import rows_told
from llmops_tui.safe_text import safe_line
from llmops_tui.states import mark_of, tone_of
from screens.home.tile import Tile
from screens.models.facts import size_text
from screens.widgets.line_list import Line

if TYPE_CHECKING:
    from llmops_tui.monitoring.courses import Courses
    from llmops_tui.monitoring.overview import Day, Overview
    from llmops_tui.monitoring.recorder import Moment

HELP_TILE = "Counts and highlights. enter opens the screen."
HELP_STEPS = "Suggested next steps, most urgent first. enter opens the screen."
HELP_RECENT = (
    "The newest requests; those of a run of an evaluation, a batch or a chain are one line, where the last of them stands. "
    "enter opens the trace, or the list of them."
)
HELP_JOBS = "Background jobs that run or ended recently. enter opens the jobs."
HELP_DAY = "Requests and the median time of answers, of the last hour, six or 24. enter opens the monitor."
NO_JOBS = "No jobs yet."
# Parts of the span of which a chart says more than a figure does.
_PARTS_DRAWN = 2
NO_RECENT, NO_DAY = "No requests yet.", "No answers in the last 24 hours."
TILES = (
    ("data", "Data", "d", "datasets"), ("prompts", "Prompts", "p", "playground"), ("training", "Training", "t", "training"),
    ("evaluation", "Evaluation", "e", "evaluation"), ("models", "Models", "m", "models"), ("serving", "Serving", "s", "monitor"),
)  # fmt: skip


def tiles(
    seen: Overview,
    moment: Moment | None,
    courses: Courses,
    losses: Sequence[float],
    *,
    left: str = "",
    state: str = "",
    utf8: bool,
) -> dict[str, Tile]:
    """Each tile; ``losses`` are those of the newest training run, ``left`` the time it still takes, and ``state`` where it is."""
    return {
        "data": _data(seen, courses, utf8=utf8),
        "prompts": _prompts(seen, courses, utf8=utf8),
        "training": _training(seen, losses, left, state, utf8=utf8),
        "evaluation": _evaluation(seen, courses, utf8=utf8),
        "models": _models(seen, moment, utf8=utf8),
        "serving": _serving(seen, moment, courses),
    }


def _none(figure: str, how: str) -> Tile:
    return Tile([(figure, "muted")], [(how, "muted")], [])


def _ends(values: Sequence[float], form: str, *, utf8: bool) -> str:
    """The first and the last of the values."""
    known = [value for value in values if not math.isnan(value)]
    return f"{known[0]:{form}} {'→' if utf8 else '->'} {known[-1]:{form}}" if len(known) > 1 else ""


def _data(seen: Overview, courses: Courses, *, utf8: bool) -> Tile:
    if not seen.datasets:
        return _none("no datasets yet", "i there imports files")
    name, rows = seen.datasets[0]
    detail: Line = [("no problems known", "muted")]
    if seen.problems:
        worst, *others = seen.problems
        detail = [
            (safe_line(worst.version), "accent"),
            (f"  {'⚠' if utf8 else '!'} {rows_told(worst.rows, more=worst.more)}", "warn"),
            (" with problems", "muted"),
            (f", and {counted(len(others), 'dataset')} more" if others else "", "muted"),
        ]
    newest: Line = [
        (safe_line(name), "accent"),
        (f"  {rows:,}", "plain"),
        (" row" if rows == 1 else " rows", "muted"),
        ("  newest" if len(seen.datasets) > 1 else "", "muted"),
    ]
    return Tile(
        [(counted(len(seen.datasets), "dataset"), "plain")],
        # Where there is room for one of them, what is to be mended.
        *((detail, newest) if seen.problems else (newest, detail)),
        [[(safe_line(n), "muted"), (f"  {counted(r, 'row')}", "muted")] for n, r in seen.datasets[1:]],
        courses.rows,
        f"rows by version of {safe_line(seen.told_dataset.rpartition('@')[0], 20)}",
        _ends(courses.rows, ",.0f", utf8=utf8),
    )


def _prompts(seen: Overview, courses: Courses, *, utf8: bool) -> Tile:
    if not seen.prompts:
        return _none("no prompts yet", "n there writes one")
    name, number = seen.prompts[0]
    others = [f"{prompt}@{version}" for prompt, version in seen.prompts[1:]]
    served: list[Line] = [[(safe_line(ref), "good"), ("  production", "muted")] for ref in seen.production]
    return Tile(
        [(counted(len(seen.prompts), "prompt"), "plain"), (f"  {len(served):,} in production", "muted")],
        [(safe_line(f"{name}@{number}"), "accent"), ("  newest", "muted")],
        served[0] if served else [("nothing in production", "muted")],
        [*served[1:], *([(safe_line(ref), "muted")] for ref in others if ref not in seen.production)],
        courses.versions,
        f"{safe_line(seen.scores[0].metric, 12)} by version" if seen.scores else "",
        _ends(courses.versions, ".2f", utf8=utf8),
    )


def _training(seen: Overview, losses: Sequence[float], left: str, state: str, *, utf8: bool) -> Tile:
    running = [job for job in seen.jobs if job.kind == "train" and job.state == JobState.RUNNING]
    if not running and not seen.runs:
        return _none("no runs yet", "F5 there trains one")
    ends = _ends(losses, ".3f", utf8=utf8)
    # Where it is drawn, the last stands below.
    last = f"  loss {losses[-1]:.3f}" if losses and not ends else ""
    runs: Line = [(f"  {counted(len(seen.runs), 'run')}", "muted")] if seen.runs else []
    if running:
        job = running[0]
        name = job.title.removeprefix("train ")
        told: Line = [(f"{'▶' if utf8 else '>'} {job.progress:.0%}", "accent")]
        told += [(f"  {left} left", "plain")] if left else [(" running", "muted")]
        # The loss stands below.
        detail: Line = [(safe_line(job.message.partition(" · ")[0], 60), "muted")]
    else:
        name, finished = seen.runs[0]
        word = state or ("done" if finished else "stopped")
        told = [(f"{mark_of(word) if utf8 else ''} {word}".strip(), tone_of(word))]
        detail = []
    others: list[Line] = [[(safe_line(n), "muted")] for n, _ in seen.runs if n != name]
    return Tile(
        told + runs, [(safe_line(name), "accent"), (last, "plain")], detail, others, tuple(losses), "loss by step",
        ends, curve=True,
    )  # fmt: skip


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
        # A change that is not seen in the figures, or that may be chance, is none to be glad of.
        tone = {"better": "good", "worse": "bad"}.get(score.verdict, "muted")
        unclear = " unclear" if score.verdict == "unclear" else ""
        told = ("  unchanged", "muted") if not float(by) else (f"  {up if change > 0 else down}{by}{unclear}", tone)
    interval = f"[{score.low:.2f} … {score.high:.2f}]  " if score.low is not None and score.high is not None else ""
    return Tile(
        [
            # Said once where both are called the same.
            (safe_line(f"{score.suite} ") if score.suite != score.metric else "", "muted"),
            (safe_line(f"{score.metric} {score.mean:.2f}"), "plain"),
            told,
        ],
        [(f"{interval}n={score.cases:,}", "plain")],
        failed[0] if failed else [(safe_line(score.run), "accent")],
        [[(safe_line(f"{s.suite} {s.metric} {s.mean:.2f}"), "muted")] for s in seen.scores[1:]],
        courses.quality,
        f"{safe_line(score.metric, 12)} by run",
        _ends(courses.quality, ".2f", utf8=utf8),
    )


def _models(seen: Overview, moment: Moment | None, *, utf8: bool) -> Tile:
    if not seen.models:
        return _none("no models yet", "a there registers one")
    here = {name for name, *_ in seen.models}
    loaded = [one for one in _engines(moment) if one in here]
    unverified = sum(1 for _, kind, _, verified in seen.models if not verified and kind != "remote")
    # What is in use is looked for first; each has the mark that it has on the screen of models.
    lines: list[Line] = [
        [
            (f"{_mark_of_model(name in loaded, utf8=utf8)} ", "good" if name in loaded else "muted"),
            (safe_line(name), "accent" if name in loaded else "plain"),
            ("  loaded" if name in loaded else "", "good"),
            (f"  {size_text(size)}", "muted"),
            (f" {kind}", "muted"),
        ]
        for name, kind, size, _ in sorted(seen.models, key=lambda model: model[0] not in loaded)
    ]
    return Tile(
        [
            (counted(len(seen.models), "model"), "plain"),
            (f"  {len(loaded)} loaded", "good" if loaded else "muted"),
            (f"  {unverified} not verified" if unverified else "  all verified", "muted"),
        ],
        lines[0],
        [],
        lines[1:],
    )


def _mark_of_model(loaded: bool, *, utf8: bool) -> str:
    return ("▣" if loaded else "□") if utf8 else ("[x]" if loaded else "[ ]")


def _engines(moment: Moment | None) -> list[str]:
    """The models that are loaded, each once."""
    engines = moment.engines if moment is not None else ()
    return list(dict.fromkeys(engine.model for engine in engines if engine.state != "dead"))


def _serving(seen: Overview, moment: Moment | None, courses: Courses) -> Tile:
    states: list[Line] = []
    for engine in moment.engines if moment is not None else ():
        where = f"  :{engine.address.rpartition(':')[2]}" if engine.address else "  for this workspace"
        told = (where, "muted") if engine.up else (f"  {engine.state}", "bad")
        states.append([(safe_line(engine.model), "accent"), told])
    if len(states) > 1:
        first = [(safe_line(text), style) for text, style in states[0][:1]]
        states[0] = [*first, (f"  and {len(states) - 1:,} more loaded", "plain")]
    day = seen.day
    asked: Line = [(counted(day.requests, "request"), "plain"), (" in 24 h", "muted")]
    asked += [(f"  {day.failed:,} failed", "bad")] if day.failed else []
    asked += [(f"  +{day.of_work:,} by jobs", "muted")] if day.of_work else []
    return Tile(
        states[0] if states else [("nothing is loaded", "muted")],
        asked,
        _times(day),
        [],
        # Where there were none there is no bar.
        tuple(value or math.nan for value in courses.traffic) if is_day_drawn(courses) else (),
        f"requests per {part_told(courses)},",
        f"most {max(courses.traffic, default=0):,.0f}",
    )


def _times(day: Day) -> Line:
    """How long answers to the requests of the day took, and of how many that is known."""
    if day.median is None:
        return [("no answers to tell times of", "muted")]
    p95 = f"  p95 {day.p95:,.0f}" if day.p95 is not None else ""
    of = "" if day.timed == day.requests else f", n={day.timed:,}"
    return [(f"median {day.median:,.0f}{p95} ms", "plain"), (f" an answer{of}", "muted")]


def part_told(courses: Courses) -> str:
    """The part of time that one bar of the traffic is of."""
    minutes = round(courses.part / 60)
    return "hour" if minutes == 60 else f"{minutes} min"


def span_told(courses: Courses) -> str:
    """The time that all bars of the traffic are of."""
    hours = round(courses.span / 3600)
    return "Last hour" if hours == 1 else f"Last {hours} hours"


def is_day_drawn(courses: Courses) -> bool:
    """Whether the traffic is worth a chart: of a single part of the time the tile says all."""
    return sum(value > 0 for value in courses.traffic) >= _PARTS_DRAWN
