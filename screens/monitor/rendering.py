"""Rendering of the monitor's panes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from llmops_tui.counts import counted
from llmops_tui.hardware.gpus import GpuView
from llmops_tui.hardware.processes import ProcessLoad
from llmops_tui.inference.experiments.records import ExperimentRecord
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.monitoring.latency import KINDS, Latency
from llmops_tui.monitoring.recorder import Moment
from llmops_tui.safe_text import safe_line
from llmops_tui.states import tone_of
from screens.actions import screen_place
from screens.widgets import units
from screens.widgets.line_list import Line, cell

HELP_CHART = (
    "Recorded history: 1 s resolution for 15 minutes, 10 s for a day, 1 min for 90 days. ← → move a "
    "crosshair, enter shows what ran then. Each dot is the maximum of its interval."
)
HELP_PROCESSES = (
    "Processes by CPU and memory. Processes of llmops are named: ▣ a model server, ▶ a run, ▷ a job. x sends a signal, "
    "after asking; r makes the list read-only."
)
HELP_ENGINES = (
    "The model servers: requests in the batch and in the queue, cache in use, prompt tokens reused, and how long requests "
    "took over the last 15 minutes: percentiles that more than one request lies beyond, the slowest, and a histogram."
)
HELP_ALERTS = (
    "Raised alerts, then past ones. enter shows the activity around an alert: jobs, requests and changes. "
    "e edits the rules, d shows the alerts they would have raised in the last day."
)
HELP_EXPERIMENTS = (
    "Experiments on the traffic of llmops serve --all: conversations with each model, and the evidence for a difference over "
    "their number, of a canary that too many fail. At the dotted line it is decided. b begins one, X ends one."
)
NO_EXPERIMENTS = "No experiments.\nb begins one."
NO_ENGINES = f"No model is loaded.\nModels are loaded at first use: u on {screen_place('models')}."
NO_ALERTS = "No alerts.\ne edits the rules."
NO_PROCESSES = "Loading …"
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.:-=+*#"
_MARKS = {"server": "▣", "run": "▶", "job": "▷", "app": "◆", "elsewhere": "?"}
_ASCII_MARKS = {"server": "S", "run": "R", "job": "J", "app": "A", "elsewhere": "?"}
_LEAST_TEXT = 16
# Cells of what a row of latencies is called and of a figure; requests of which a distribution can be seen.
_NAME, _FIGURE, _FEW = 17, 7, 8


def experiment(record: ExperimentRecord) -> Line:
    """An experiment in a line."""
    with_a, with_b = record["conversations"]["a"], record["conversations"]["b"]
    told = f"{record['settings']['a']} {with_a}  {record['settings']['b']} {with_b}"
    failed = record["failed"]["b"]
    return [
        (f"{safe_line(record['name'])}  ", "plain"),
        (f"{record['kind']} ", "muted"),
        (f"{record['state']}  ", tone_of(record["state"])),
        (safe_line(told), "plain"),
        (f"  {failed} failed" if failed else "", "warn"),
    ]


def bytes_text(value: float | None) -> str:
    """A number of bytes, short."""
    if value is None:
        return "–"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            scaled = value / limit
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"
    return f"{value:.0f}"


def bar(share: float | None, width: int, *, utf8: bool) -> tuple[str, str]:
    """A share from 0 to 1 as a bar, and its colour."""
    if share is None:
        return " " * width, "muted"
    filled = max(0, min(width, round(share * width)))
    full, empty = ("▰", "▱") if utf8 else ("#", ".")
    return full * filled + empty * (width - filled), "bad" if share > 0.95 else "warn" if share > 0.85 else "accent"


def number(value: float | None, unit: str = "", form: str = ",.0f") -> str:
    """A number with its unit; – where it is not known."""
    return "–" if value is None else units.measured(f"{value:{form}}", unit)


def process_mark(row: ProcessLoad, *, utf8: bool) -> str:
    """The sign of what a process is to llmops; nothing where it is nothing."""
    return (_MARKS if utf8 else _ASCII_MARKS).get(row.role, "")


def engines(moment: Moment, width: int, *, utf8: bool) -> list[Line]:
    """The engines with their requests and latencies; then models that are gone but were asked lately."""
    windows = {window.model: window for window in moment.latencies}
    lines: list[Line] = []
    for engine in moment.engines:
        lines += _engine(engine, width, moment.gpus)
        for name in [n for n in windows if n == engine.model or n.startswith(engine.model + "+")]:
            lines += _latency(windows.pop(name), width, engine.model, utf8=utf8)
    for window in windows.values():
        lines.append([(safe_line(window.model), "muted"), ("  not loaded now", "muted")])
        lines += _latency(window, width, window.model, utf8=utf8)
    return lines


def _engine(engine: EngineLoad, width: int, view: GpuView) -> list[Line]:
    good = engine.state == "ok"
    name = cell(safe_line(engine.model), min(len(engine.model), max(12, width - 48)))
    if not engine.answers:
        return [[(name, "accent"), (f"  {engine.state}", "bad"), (f"  {safe_line(engine.why_down)}", "plain")]]
    head: Line = [
        (name, "accent"),
        (f"  {engine.state}", "good" if good else "bad"),
        (f"  {engine.running} of {engine.slots} slots", "plain"),
        (f" · queue {engine.waiting}", "warn" if engine.waiting else "plain"),
    ]
    if engine.processes > 1:
        some = engine.answering < engine.processes
        head.append((f" · {engine.answering} of {engine.processes} engines", "bad" if some else "plain"))
    parts = []
    cache = f"cache {number(None if engine.cache is None else 100 * engine.cache, '%')}"
    if sum(len(text) for text, _ in head) + len(cache) + 3 <= width:
        head.append((f" · {cache}", "plain"))
    else:
        parts.append(cache)
    if engine.decode_rate is not None:
        parts.append(f"{engine.decode_rate:,.0f} tok/s")
    if engine.prompt_rate is not None:
        parts.append(f"reads {engine.prompt_rate:,.0f} tok/s")
    if engine.prefix_hits is not None:
        parts.append(f"{engine.prefix_hits:.0%} reused")
    share = bandwidth_share(engine, view)
    if share is not None:
        parts.append(f"{share:.0%} of the memory's bandwidth")
    lines = [head, [("  " + " · ".join(parts), "plain")]] if parts else [head]
    if engine.failure:
        lines.append([("  " + safe_line(engine.failure), "bad")])
    return lines


def bandwidth_share(engine: EngineLoad, view: GpuView) -> float | None:
    """How near generation is to what the GPU's memory can give: all weights are read once a step.

    Known where there is one GPU whose bus and clock the driver tells, and the engine lies on it.
    """
    if len(view.gpus) != 1 or not engine.weights or engine.steps_rate is None:
        return None
    limit = view.gpus[0].bandwidth_limit
    return engine.steps_rate * engine.weights / limit if limit else None


def _latency(window: Latency, width: int, model: str, *, utf8: bool) -> list[Line]:
    name = f"+{window.model.partition('+')[2]} · " if window.model != model else ""
    failed = f" · {window.failed} failed" if window.failed else ""
    lines: list[Line] = [
        [
            (f"  {safe_line(name)}{counted(window.requests, 'request')} in {window.minutes} min", "muted"),
            (failed, "bad"),
        ]
    ]
    for kind, title in KINDS.items():
        sketch = window.sketches[kind]
        if not sketch.count:
            continue
        figures = _told(_figures(window, kind, width))
        room = width - _NAME - len(figures)
        # Of few there is no distribution to be seen.
        bars = next((size for size in (12, 6) if room >= size + 2), 0) if sketch.count >= _FEW else 0
        shown = histogram([count for _, _, count in sketch.histogram(bars)], utf8=utf8) if bars else ""
        lines.append(
            [(f"  {title:{_NAME - 3}} ", "muted"), (f"{shown:{bars}}  " if bars else "", "accent"), (figures, "plain")]
        )
    return lines


def _figures(window: Latency, kind: str, width: int) -> list[tuple[str, float | None]]:
    """The percentiles that so many requests tell, where there is room for them, and the slowest; of few the two ends."""
    if window.sketches[kind].count == 1:
        return [("", window.percentile(kind, 1.0))]
    known = {f"p{share}": window.known_percentile(kind, share / 100) for share in (50, 95, 99)}
    told: list[tuple[str, float | None]] = [(name, value) for name, value in known.items() if value is not None]
    told = told or [("least", window.percentile(kind, 0.0))]
    if "p99" not in dict(told):
        told.append(("most", window.percentile(kind, 1.0)))
    while len(told) > 1 and _NAME + len(_told(told)) > width:
        told.pop()
    return told


def _told(figures: Sequence[tuple[str, float | None]]) -> str:
    return "  ".join(f"{name} {_milliseconds(value):>{_FIGURE}}" for name, value in figures)


def histogram(counts: list[int], *, utf8: bool) -> str:
    """How often values of each size came, as bars; empty bins stay empty."""
    glyphs, most = (_BLOCKS if utf8 else _ASCII), max(counts, default=0)
    return "".join(" " if not c else glyphs[min(7, int(c / most * 7.999))] for c in counts)


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def alerts(found: Sequence[Alert], width: int) -> list[Line]:
    """What is raised, then what was: when, for how long, what, and how it ended where its value did not come back."""
    lines: list[Line] = []
    for alert in found:
        over = alert.cleared_at is not None
        style = "muted" if over else "bad" if alert.rule.severity == "error" else "warn"
        head = f"{_clock(alert.raised_at)} " + (f"for {_duration(alert.seconds)} " if over else "")
        outcome = f"  {alert.outcome}" if alert.outcome else ""
        text = safe_line(alert.text)
        room = width - 1 - len(head) - len(outcome)
        if outcome and _LEAST_TEXT <= room < len(text):
            # What became of it is seen, whatever the length of what it was.
            text = text[: room - 1] + "…"
        lines.append([(head, "muted"), (text, style), (safe_line(outcome), "muted")])
    return lines


def _duration(seconds: float) -> str:
    """A length of time in one number."""
    for limit, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{seconds / limit:.0f} {unit}"
    return f"{seconds:.0f} s"


def _clock(at: float) -> str:
    form = "%H:%M" if time.time() - at < 86_400 else "%b %d %H:%M"
    return time.strftime(form, time.localtime(at))
