"""Rendering of the home screen's lists: the last day, next steps, jobs, requests."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmops_tui.jobs.outcomes import outcome
from llmops_tui.jobs.store import JobState
from llmops_tui.safe_text import safe_line
from llmops_tui.states import tone_of
from screens.widgets.columns import fit
from screens.widgets.line_list import Line
from screens.widgets.sparkline import sparkline

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from llmops_tui.monitoring.courses import Courses
    from llmops_tui.monitoring.overview import Step
    from llmops_tui.traces.store import TraceLine

# What a job says of itself is told where so many cells of it are seen, and its title is cut to no fewer.
_LEAST_MESSAGE, _LEAST_TITLE = 12, 16
_MOST_ASKED = 24


def day_lines(courses: Courses, width: int, rows: int, *, utf8: bool) -> list[Line]:
    """The last 24 hours: requests, and how long their answers took, one above the other."""
    medians = [value for value in courses.latency if not math.isnan(value)]
    if not medians:
        return []
    label = 9
    # A line for the axis, and one between the two.
    each, room = max(1, (rows - 2) // 2), max(8, width - label)
    lines: list[Line] = []
    for name, values, unit, style in (
        ("requests", courses.traffic, "/h", "accent"),
        ("median", courses.latency, " ms", "good"),
    ):
        bars = sparkline(_stretched(values, room), room, each, utf8=utf8, from_zero=True)
        top = max(value for value in values if not math.isnan(value))
        for row, bar in enumerate(bars):
            text = f"{top:,.0f}{unit}" if row == 0 else name if row == len(bars) - 1 else ""
            lines.append([(text.rjust(label - 1) + " ", "muted"), (bar, style)])
        lines.append([])
    axis = min(room, len(_stretched(courses.traffic, room)))
    lines[-1] = [(" " * label, "muted"), ("24 h ago" + "now".rjust(axis - len("24 h ago")), "muted")]
    return lines[-rows:]


def _stretched(values: Sequence[float], width: int) -> list[float]:
    """Each value so many times that together they are about so wide."""
    times = max(1, width // len(values))
    return [value for value in values for _ in range(times)]


def step_line(step: Step, *, utf8: bool) -> Line:
    """A next step; what cannot wait is marked by more than a colour."""
    urgent, other = ("⚠ ", "→ ") if utf8 else ("! ", "> ")
    return [
        (urgent, "bad") if step.urgent else (other, "accent"),
        (safe_line(step.text), "plain"),
        (f"  {step.screen}", "muted"),
    ]


def job_lines(jobs: Sequence[Job], since: float | None, width: int, *, utf8: bool) -> list[Line]:
    """Jobs in columns; of each as much as there is room for, and its own words only where they can be read."""
    states = max((len(_state_told(job)) for job in jobs), default=0)
    room = max(_LEAST_TITLE, width - states - len("> ") - 1 - len("00:00") - 1)
    titles = min(room, max((len(job.title) for job in jobs), default=0))
    return [job_line(job, since, states, titles, room - titles - 2, utf8=utf8) for job in jobs]


def _state_told(job: Job) -> str:
    return job.state.value + (f" {job.progress:.0%}" if job.state == JobState.RUNNING else "")


def job_line(job: Job, since: float | None, states: int, titles: int, room: int, *, utf8: bool) -> Line:
    """A job; what ended since somebody last looked here is marked."""
    style = tone_of(job.state.value)
    mark = (
        ("▶ " if utf8 else "> ")
        if job.state == JobState.RUNNING
        else ("• " if utf8 else "* ")
        if is_new(job, since)
        else "  "
    )
    return [
        (mark, style),
        (_state_told(job).ljust(states) + " ", style),
        (f"{clock(job.finished_at or job.created_at):>5} ", "muted"),
        (fit(safe_line(job.title, 200), titles), "plain"),
        ("  " + fit(safe_line(outcome(job), 200), room) if room >= _LEAST_MESSAGE else "", "muted"),
    ]


def is_new(job: Job, since: float | None) -> bool:
    """Whether the job ended after somebody last looked here."""
    return since is not None and job.finished_at is not None and job.finished_at > since


def clock(at: float) -> str:
    """A moment: of today its time, of another day its date too."""
    local = time.localtime(at)
    return time.strftime("%H:%M" if local[:3] == time.localtime()[:3] else "%d %b %H:%M", local)


def recent_lines(lines: Sequence[TraceLine]) -> list[Line]:
    """Requests in columns."""
    width = min(_MOST_ASKED, max((len(_asked(line)) for line in lines), default=0))
    return [_recent(line, width) for line in lines]


def _asked(line: TraceLine) -> str:
    return line.asked_with or line.model


def _recent(line: TraceLine, width: int) -> Line:
    bad = line.finish_reason == "error"
    when = clock(line.started_at)
    return [
        (f"{when} ", "muted"),
        (fit(safe_line(_asked(line), 200), width) + "  ", "accent"),
        (safe_line(line.error or line.output.lstrip(), 200), "bad" if bad else "plain"),
    ]
