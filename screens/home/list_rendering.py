"""Rendering of the home screen's lists: the traffic, next steps, requests; jobs have the columns of their own screen."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.monitoring.recent_requests import RecentRequests, WorkRequests
from llmops_tui.safe_text import safe_line
from llmops_tui.traces.store import TraceLine
from screens.actions import screen_place
from screens.home.rendering import part_told, span_told
from screens.widgets import units
from screens.widgets.columns import Column, Part
from screens.widgets.line_list import Line
from screens.widgets.sparkline import bars

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from llmops_tui.monitoring.courses import Courses
    from llmops_tui.monitoring.overview import Step

Recent = TraceLine | WorkRequests
_SHOWN, _LEAST_OWN = 300, 3


def day_lines(courses: Courses, width: int, rows: int, *, utf8: bool) -> list[Line]:
    """The last hours: requests, and how long their answers took, one above the other.

    Where there were none there is no bar, above the line of the axis: the least number is told from none.
    """
    medians = [value for value in courses.latency if not math.isnan(value)]
    if not medians:
        return []
    label = 9
    # A line for the axis, and one between the two.
    room = max(8, width - label)
    each = max(1, (rows - 1) // 2), max(1, (rows - 2) // 2)
    lines: list[Line] = []
    drawn: list[str] = []
    for height, (name, values, unit, style) in zip(
        each,
        (("requests", courses.traffic, "", "accent"), ("median", courses.latency, " ms", "good")),
        strict=True,
    ):
        top = max(value for value in values if not math.isnan(value))
        drawn = bars([value or math.nan for value in values], room, height, utf8=utf8, widest=room)
        for row, bar in enumerate(drawn):
            text = f"{top:,.0f}{unit}" if row == 0 else name if row == len(drawn) - 1 else ""
            lines.append([(text.rjust(label - 1) + " ", "muted"), (bar, style)])
        lines.append([])
    ago = f"{round(courses.span / 3600)} h ago"
    between = len(drawn[-1]) - len(ago) - len("now")
    axis = f" {('─' if utf8 else '-') * (between - 2)} " if between > 2 else " " * between
    lines[-1] = [(" " * label, "muted"), (f"{ago}{axis}now", "muted")]
    return lines[-rows:]


def day_title(courses: Courses) -> tuple[str, str]:
    """The title of the chart, and what its bars are."""
    return span_told(courses), f"all requests per {part_told(courses)}, median time of a whole answer"


def step_line(step: Step, screens: int, *, utf8: bool) -> Line:
    """A next step behind the screen where it is done, in so many cells, with 0 without it.

    What cannot wait is marked by more than a colour.
    """
    urgent, other = ("⚠ ", "→ ") if utf8 else ("! ", "> ")
    return [
        (urgent, "bad") if step.urgent else (other, "accent"),
        (f"{screen_place(step.screen):<{screens}}  " if screens else "", "muted"),
        (safe_line(step.text), "plain"),
    ]


def is_new(job: Job, since: float | None) -> bool:
    """Whether the job ended after somebody last looked here."""
    return since is not None and job.finished_at is not None and job.finished_at > since


def clock(at: float) -> str:
    """A moment: of today its time, of another day its date too."""
    local = time.localtime(at)
    return time.strftime("%H:%M" if local[:3] == time.localtime()[:3] else "%d %b %H:%M", local)


def recent_rows(recent: RecentRequests, room: int) -> list[Recent]:
    """As many as there are lines for, the newest first: of what was asked by itself most, and of other work some."""
    work = recent.work[: max(1, room - min(len(recent.own), _LEAST_OWN))]
    shown: list[Recent] = [*recent.own[: max(_LEAST_OWN, room - len(work))], *work]
    return sorted(shown, key=lambda row: row.started_at, reverse=True)


def recent_key(row: Recent) -> str:
    """By what a row is known."""
    return row.wanted if isinstance(row, WorkRequests) else row.id


def _asked_with(row: Recent) -> Part:
    text = row.of if isinstance(row, WorkRequests) else row.asked_with
    return (safe_line(text, 200), "accent") if text else ("–", "muted")


def _model(row: Recent) -> Part:
    return ("", "muted") if isinstance(row, WorkRequests) else (safe_line(row.model, 200), "plain")


def _question(row: Recent) -> Part:
    told = row.told if isinstance(row, WorkRequests) else row.question or ""
    return safe_line(told, _SHOWN), "muted"


def _answer(row: Recent) -> Part:
    if isinstance(row, WorkRequests):
        failed = f", {row.failed:,} failed" if row.failed else ""
        return f"{counted(row.requests, 'request')}{failed}", "bad" if row.failed else "muted"
    if row.error:
        return safe_line(row.error, _SHOWN), "bad"
    return safe_line(row.output.lstrip(), _SHOWN), "plain"


def _took(row: Recent) -> Part:
    return ("", "muted") if isinstance(row, WorkRequests) else units.whole(row.total_ms)


RECENT_COLUMNS: list[Column[Recent]] = [
    Column("time", lambda row: units.moment(row.started_at), least=8, rank=1),
    Column("prompt", _asked_with, most=20, names=True, rank=4),
    Column("model", _model, most=28, names=True, rank=6),
    Column("question", _question, share=2, least=13, rank=3),
    Column("answer", _answer, share=3, least=13),
    Column("took", _took, unit="ms", right=True, rank=5),
]  # fmt: skip
