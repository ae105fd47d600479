"""Rendering of the home screen's tiles."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.jobs.store import JobState
from llmops_tui.safe_text import safe_line
from screens.models.facts import size_text
from screens.widgets.line_list import Line

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job
    from llmops_tui.monitoring.overview import Overview, Step
    from llmops_tui.monitoring.recorder import Moment
    from llmops_tui.traces.store import TraceLine

HELP_TILE = "Counts and highlights. enter opens the screen."
HELP_STEPS = "Suggested next steps, most urgent first. enter opens the screen."
HELP_RECENT = "The newest requests. enter opens the trace."
HELP_JOBS = "Background jobs that run or ended recently. enter opens the jobs."
NO_JOBS = "No jobs yet."
NO_RECENT = "No requests yet."
TILES = (
    ("data", "Data", "d", "datasets"), ("prompts", "Prompts", "p", "playground"), ("training", "Training", "t", "training"),
    ("evaluation", "Evaluation", "e", "evaluation"), ("models", "Models", "m", "models"), ("serving", "Serving", "s", "monitor"),
)  # fmt: skip


def tiles(seen: Overview, moment: Moment | None, *, utf8: bool) -> dict[str, list[Line]]:
    """The lines of each tile."""
    return {
        "data": _data(seen),
        "prompts": _prompts(seen),
        "training": _training(seen, utf8=utf8),
        "evaluation": _evaluation(seen, utf8=utf8),
        "models": _models(seen, moment),
        "serving": _serving(seen, moment),
    }


def _data(seen: Overview) -> list[Line]:
    if not seen.datasets:
        return [[("none yet", "muted")], [("i there imports files", "muted")]]
    name, rows = seen.datasets[0]
    found = sum(count for _, count in seen.problems)
    return [
        [(counted(len(seen.datasets), "dataset"), "plain")],
        [(safe_line(name), "accent"), (f"  {counted(rows, 'row')}", "muted")],
        [(f"{counted(found, 'row')} with problems", "warn")] if found else [("no problems known", "muted")],
    ]


def _prompts(seen: Overview) -> list[Line]:
    if not seen.prompts:
        return [[("none yet", "muted")], [("n there writes one", "muted")]]
    name, number = seen.prompts[0]
    shown = safe_line(", ".join(seen.production[:3]))
    return [
        [(counted(len(seen.prompts), "prompt"), "plain")],
        [(safe_line(f"{name}@{number}"), "accent"), ("  newest", "muted")],
        [(f"production: {shown}", "good")] if shown else [("nothing in production", "muted")],
    ]


def _training(seen: Overview, *, utf8: bool) -> list[Line]:
    running = [job for job in seen.jobs if job.kind == "train" and job.state == JobState.RUNNING]
    if running:
        job = running[0]
        name = safe_line(job.title.removeprefix("train "))
        return [
            [(f"{'▶' if utf8 else '>'} {name} {job.progress:.0%}", "accent")],
            [(safe_line(job.message, 60), "plain")],
            [(counted(len(seen.runs), "run"), "muted")],
        ]
    if not seen.runs:
        return [[("no runs yet", "muted")], [("F5 there trains a recipe", "muted")]]
    name, finished = seen.runs[0]
    return [
        [(counted(len(seen.runs), "run"), "plain")],
        [(safe_line(name), "accent"), ("  newest", "muted")],
        [("finished", "good") if finished else ("not finished", "warn")],
    ]


def _evaluation(seen: Overview, *, utf8: bool) -> list[Line]:
    if not seen.scores:
        return [[("no runs yet", "muted")], [("F5 there runs a suite", "muted")]]
    score = seen.scores[0]
    change = score.change
    up, down = ("▲", "▼") if utf8 else ("+", "-")
    told = (
        ("", "muted")
        if change is None
        else (
            f"  {up if change >= 0 else down}{abs(score.mean - (score.before or 0)):.2f}",
            "good" if change >= 0 else "bad",
        )
    )
    interval = f"[{score.low:.2f} … {score.high:.2f}]  " if score.low is not None and score.high is not None else ""
    return [
        [(safe_line(f"{score.suite} {score.metric} {score.mean:.2f}"), "plain"), told],
        [(f"{interval}n={score.cases:,}", "muted")],
        [(safe_line(score.run), "accent")],
    ]


def _models(seen: Overview, moment: Moment | None) -> list[Line]:
    if not seen.models:
        return [[("none yet", "muted")], [("a there registers one", "muted")]]
    name, kind, size, _ = seen.models[0]
    loaded = sum(engine.state != "dead" for engine in moment.engines) if moment is not None else 0
    unverified = sum(1 for _, k, _, verified in seen.models if not verified and k != "remote")
    return [
        [(counted(len(seen.models), "model"), "plain"), (f"  {loaded} loaded", "good" if loaded else "muted")],
        [(safe_line(name), "accent"), (f"  {kind} {size_text(size)}", "muted")],
        [(f"{unverified} not verified since they were added", "muted")] if unverified else [("all verified", "muted")],
    ]


def _serving(seen: Overview, moment: Moment | None) -> list[Line]:
    lines: list[Line] = []
    for engine in moment.engines[:1] if moment is not None else ():
        where = engine.address.rpartition(":")[2] if engine.address else "here"
        place = (f"  :{where}" if engine.address else f"  {where}", "muted")
        lines.append([(safe_line(engine.model), "accent"), place if engine.up else (f"  {engine.state}", "bad")])
    if not lines:
        lines.append([("nothing is loaded", "muted")])
    for window in moment.latencies[:1] if moment is not None else ():
        first = window.percentile("total", 0.95)
        lines.append(
            [(f"p95 {first:,.0f} ms" if first is not None else "no recent answers", "plain"), ("  15 min", "muted")]
        )
    failed = (f", {seen.failed_day:,} failed", "bad") if seen.failed_day else ("", "muted")
    lines.append([(f"{counted(seen.requests_day, 'request')} in a day", "muted"), failed])
    return lines


def step_line(step: Step, *, utf8: bool) -> Line:
    """A next step."""
    return [
        (("▸ " if utf8 else "> "), "bad" if step.urgent else "accent"),
        (safe_line(step.text), "plain"),
        (f"  {step.screen}", "muted"),
    ]


def job_line(job: Job, *, utf8: bool) -> Line:
    """A job."""
    style = {"running": "accent", "done": "good", "queued": "muted", "cancelled": "warn"}.get(job.state.value, "bad")
    share = f" {job.progress:.0%}" if job.state == JobState.RUNNING else ""
    when = time.strftime("%H:%M", time.localtime(job.finished_at or job.created_at))
    mark = ("▶ " if utf8 else "> ") if job.state == JobState.RUNNING else "  "
    return [
        (mark, style),
        (f"{job.state.value}{share:5} ", style),
        (safe_line(job.title), "plain"),
        (f"  {when}", "muted"),
    ]


def recent_line(line: TraceLine) -> Line:
    """A request."""
    who = f"{line.prompt}@{line.version}" if line.prompt else line.model
    bad = line.finish_reason == "error"
    when = time.strftime("%H:%M", time.localtime(line.started_at))
    return [
        (f"{when} ", "muted"),
        (f"{safe_line(who, 24)}  ", "accent"),
        (safe_line(line.error or line.output, 200), "bad" if bad else "plain"),
    ]
