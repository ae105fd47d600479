"""How the monitor's panes are drawn: lines of texts with the names of their colours."""

from __future__ import annotations

import time
from collections.abc import Sequence

from llmops_tui.hardware.gpus import Gpu, GpuInstance, GpuView
from llmops_tui.hardware.host import HostLoad
from llmops_tui.hardware.processes import ProcessLoad
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.monitoring.latency import KINDS, Latency
from llmops_tui.monitoring.recorder import Moment
from llmops_tui.safe_text import safe_line
from screens.actions import screen_place
from screens.widgets.line_list import Line, cell

HELP_MACHINE = (
    "What the machine does now. util is the share of time in which any kernel ran, not how full the GPU was: bandwidth and "
    "power against its limit say more. What the driver does not tell is –, never 0."
)
HELP_CHART = (
    "What was measured, over restarts: seconds for 15 minutes, tens of seconds for a day, minutes for 90 days. ← → put a "
    "crosshair on a moment, enter says what ran then. Each dot is the largest value of its stretch of time."
)
HELP_PROCESSES = (
    "What takes processor and memory. Ours have their own names: ▣ a model server, ▶ a run, ⛭ a job. x sends a signal, "
    "after asking; r is read-only: then nothing is sent."
)
HELP_ENGINES = (
    "The model servers: requests in the batch and in the queue, cache in use, prompt tokens reused, and how long requests "
    "took over the last 15 minutes, as percentiles and as a histogram from the fastest to the slowest."
)
HELP_ALERTS = (
    "What is wrong now, then what was. enter says what was going on around one: what ran, what was changed, who asked. "
    "e changes the rules, d shows what they would have raised in the last day."
)
NO_ENGINES = f"No model is loaded.\nIt is when it is first used: u on {screen_place('models')}."
NO_ALERTS = "Nothing is wrong, and nothing was.\ne changes the rules."
NO_PROCESSES = "Looking …"
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.:-=+*#"
_MARKS = {"server": "▣", "run": "▶", "job": "⛭", "app": "◆", "elsewhere": "?"}
_ASCII_MARKS = {"server": "S", "run": "R", "job": "J", "app": "A", "elsewhere": "?"}
_LEAST_TEXT = 16
SORTS = ("cpu", "memory", "gpu memory", "name")


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
    return "–" if value is None else f"{value:{form}}{' ' if unit and unit != '%' else ''}{unit}"


def machine(moment: Moment, width: int, *, utf8: bool) -> list[Line]:
    """The machine: its GPUs, or why there are none, and the host."""
    lines: list[Line] = []
    view = moment.gpus
    # Of a driver that fails all cards tell the same; that is one line.
    alike = len(view.gpus) > 1 and view.state != "ok" and all(gpu.trouble == view.state for gpu in view.gpus)
    # What is wrong is seen first, however many cards there are.
    for gpu in () if alike else sorted(view.gpus, key=lambda gpu: not gpu.trouble):
        lines += _gpu(gpu, width, utf8=utf8)
    lines += _gpu_trouble(view, alike=alike)
    return lines + _host(moment.host, width, utf8=utf8)


def _gpu(gpu: Gpu, width: int, *, utf8: bool) -> list[Line]:
    head: Line = [
        (f"GPU {gpu.index}  ", "accent"),
        (cell(safe_line(gpu.name), 24 if width >= 150 else 16) + " ", "plain"),
    ]
    if gpu.trouble:
        return [[*head, (f"{gpu.trouble}. ", "bad"), (gpu.remedy, "muted")]]
    share = gpu.memory_used / gpu.memory_total if gpu.memory_used is not None and gpu.memory_total else None
    size = 10 if width >= 110 else 5
    memory = f" {bytes_text(gpu.memory_used)} of {bytes_text(gpu.memory_total)}"
    held = ", ".join(gpu.throttled or ())
    hot = gpu.temperature is not None and gpu.temperature > 85
    first: Line = [
        *head, ("util ", "muted"), _calm(bar(None if gpu.utilisation is None else gpu.utilisation / 100, size, utf8=utf8)),
        (f" {number(gpu.utilisation, '%'):>4}  ", "plain"), ("mem ", "muted"), bar(share, size, utf8=utf8),
        (memory + "  ", "plain"), ("bandwidth ", "muted"), (f"{number(gpu.bandwidth, '%'):>4}", "plain"),
    ]  # fmt: skip
    second: Line = [
        ("power ", "muted"), (f"{number(gpu.power)} of {number(gpu.power_limit, 'W')}  ", "plain"),
        (f"{number(gpu.temperature, '°C')}  ", "bad" if hot else "plain"), ("clock ", "muted"),
        (number(gpu.clock, "MHz") + "  ", "plain"),
        *([("held down by ", "muted"), (held + "  ", "warn")] if held else []), *_link(gpu, utf8=utf8),
    ]  # fmt: skip
    lines: list[Line] = (
        [[*first, ("  ", "plain"), *second]] if width >= 175 else [first, [("       ", "plain"), *second]]
    )
    return lines + [_part(gpu, part, size, utf8=utf8) for part in gpu.instances]


def _part(gpu: Gpu, part: GpuInstance, size: int, *, utf8: bool) -> Line:
    """A part of a GPU that is divided, by the number that nvidia-smi gives it."""
    share = part.memory_used / part.memory_total if part.memory_used is not None and part.memory_total else None
    return [
        (f"  {gpu.index}.{part.index}  ", "accent"), (f"{safe_line(part.name):10} ", "plain"), ("mem ", "muted"),
        bar(share, size, utf8=utf8), (f" {bytes_text(part.memory_used)} of {bytes_text(part.memory_total)}  ", "plain"),
        (safe_line(part.uuid), "muted"),
    ]  # fmt: skip


def _link(gpu: Gpu, *, utf8: bool) -> Line:
    link = gpu.link
    down, up = ("↓", "↑") if utf8 else ("in ", "out ")
    line: Line = []
    if link.received is not None or link.sent is not None:
        line += [("PCIe ", "muted"), (f"{down}{bytes_text(link.received)} {up}{bytes_text(link.sent)}/s  ", "plain")]
    if link.ecc_uncorrected or link.ecc_corrected:
        line.append((f"ECC {link.ecc_corrected or 0} mended, {link.ecc_uncorrected or 0} not  ", "bad"))
    if link.xid is not None:
        line.append((f"Xid {link.xid}", "bad"))
    return line


def _calm(shown: tuple[str, str]) -> tuple[str, str]:
    """A bar whose fullness is nothing bad: a busy GPU is what one wants."""
    return shown[0], "muted" if shown[1] == "muted" else "accent"


def _gpu_trouble(view: GpuView, *, alike: bool) -> list[Line]:
    if view.state == "ok" or (not alike and view.gpus and all(gpu.trouble for gpu in view.gpus)):
        return []
    calm = view.state == "none" and not alike
    text: Line = [
        (f"{len(view.gpus)} GPUs " if alike else "GPU    ", "accent"),
        (view.cause + ". ", "muted" if calm else "bad"),
    ]
    if calm:
        return [[*text, ("Models run on the processor.", "muted")]]
    again = f" Asked again in {view.retry_in:.0f} s; F5 asks now." if view.retry_in else ""
    return [[*text, (view.remedy + again, "muted")]]


def _host(host: HostLoad, width: int, *, utf8: bool) -> list[Line]:
    size = 10 if width >= 110 else 5
    disk = host.disk_used / host.disk_total if host.disk_used is not None and host.disk_total else None
    down, up = ("↓", "↑") if utf8 else ("in ", "out ")
    first: Line = [
        ("Host   ", "accent"), ("cpu ", "muted"), _calm(bar(host.cpu / 100, size, utf8=utf8)),
        (f" {host.cpu:3.0f}% of {host.cores} cores  ", "plain"), ("mem ", "muted"),
        bar(host.memory_used / host.memory_total, size, utf8=utf8),
        (f" {bytes_text(host.memory_used)} of {bytes_text(host.memory_total)}  ", "plain"), ("load ", "muted"),
        (number(host.load, form=".2f"), "plain"),
    ]  # fmt: skip
    second: Line = [
        ("disk ", "muted"), bar(disk, size, utf8=utf8),
        (f" {bytes_text(host.disk_used)} of {bytes_text(host.disk_total)}  ", "plain"),
        (f"{down}{bytes_text(host.disk_read)} {up}{bytes_text(host.disk_written)}/s  ", "plain"), ("net ", "muted"),
        (f"{down}{bytes_text(host.received)} {up}{bytes_text(host.sent)}/s", "plain"),
    ]  # fmt: skip
    return [[*first, ("  ", "plain"), *second]] if width >= 175 else [first, [("       ", "plain"), *second]]


def processes(rows: list[ProcessLoad], width: int, *, utf8: bool) -> list[Line]:
    """The processes, one a line."""
    marks = _MARKS if utf8 else _ASCII_MARKS
    gpu = any(row.gpu_memory is not None for row in rows)
    # On small terminals the name matters more than the pid, which the dialogs tell.
    pid = width >= 44
    room = max(8, width - 19 - (8 if pid else 0) - (7 if gpu else 0))
    lines: list[Line] = []
    for row in rows:
        style = "accent" if row.role else "plain"
        told_pid = [(f"{row.pid:>8}", "muted")] if pid else []
        line: Line = [
            (f"{marks.get(row.role, ' ')} ", style), (cell(safe_line(row.name), room), style), *told_pid,
            (f"{number(row.cpu, '%'):>7}", "plain" if (row.cpu or 0) >= 0.5 else "muted"),
            (f"{bytes_text(row.memory):>8}", "plain"),
        ]  # fmt: skip
        lines.append([*line, (f"{bytes_text(row.gpu_memory):>7}", "plain")] if gpu else line)
    return lines


def sorted_processes(rows: tuple[ProcessLoad, ...], by: str, narrow: str) -> list[ProcessLoad]:
    """The processes that match, in their order: ours first where they are sorted by name, the largest first elsewhere."""
    words = narrow.lower().split()
    kept = [r for r in rows if all(w in f"{r.name} {r.role} {r.command} {r.pid}".lower() for w in words)]
    keys = {
        "cpu": lambda r: (-round(r.cpu or 0), -(r.memory or 0)), "memory": lambda r: (-(r.memory or 0), r.pid),
        "gpu memory": lambda r: (-(r.gpu_memory or 0), -(r.memory or 0)), "name": lambda r: (not r.role, r.name.lower(), r.pid),
    }  # fmt: skip
    return sorted(kept, key=keys[by])


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
        (name, "accent"), (f"  {engine.state}", "good" if good else "bad"),
        (f"  {engine.running} of {engine.slots} slots", "plain"),
        (f" · queue {engine.waiting}", "warn" if engine.waiting else "plain"),
        (f" · cache {number(None if engine.cache is None else 100 * engine.cache, '%')}", "plain"),
    ]  # fmt: skip
    parts = []
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
        [(f"  {safe_line(name)}{_requests(window.requests)} in {window.minutes} min", "muted"), (failed, "bad")]
    ]
    bars = 12 if width >= 66 else 6 if width >= 56 else 0
    for kind, title in KINDS.items():
        sketch = window.sketches[kind]
        if not sketch.count:
            continue
        shown = histogram([count for _, _, count in sketch.histogram(bars)], utf8=utf8) if bars else ""
        shares = (50, 95, 99) if width >= 54 else (50, 95)
        figures = "  ".join(f"p{p} {_milliseconds(window.percentile(kind, p / 100)):>7}" for p in shares)
        lines.append([(f"  {title:14} ", "muted"), (f"{shown:{bars}}", "accent"), (f"  {figures}", "plain")])
    return lines


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


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
