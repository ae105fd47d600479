"""Rendering of the machine: one or two lines per GPU, and the host."""

from __future__ import annotations

from llmops_tui.counts import counted
from llmops_tui.hardware.gpus import Gpu, GpuInstance, GpuView
from llmops_tui.hardware.host import HostLoad
from llmops_tui.monitoring.recorder import Moment
from llmops_tui.safe_text import safe_line
from screens.monitor.rendering import bar, bytes_text, number
from screens.widgets.line_list import Line, cell

HELP_MACHINE = (
    "The current load. util is the share of time in which any kernel ran, not how busy the GPU was: bandwidth and "
    "power against its limit say more. – means that the driver reports no value."
)


def machine(moment: Moment, width: int, *, utf8: bool) -> list[Line]:
    """The machine: its GPUs, or why there are none, and the host."""
    lines: list[Line] = []
    view = moment.gpus
    # Of a driver that fails all cards tell the same; that is one line.
    alike = len(view.gpus) > 1 and view.state != "ok" and all(gpu.trouble == view.state for gpu in view.gpus)
    # What is wrong is seen first, however many cards there are.
    for gpu in () if alike else sorted(view.gpus, key=lambda gpu: not gpu.trouble):
        lines += _gpu(gpu, width, utf8=utf8)
    lines += _gpu_error(view, alike=alike)
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
        *head,
        ("util ", "muted"),
        _calm(bar(None if gpu.utilisation is None else gpu.utilisation / 100, size, utf8=utf8)),
        (f" {number(gpu.utilisation, '%'):>4}  ", "plain"),
        ("mem ", "muted"),
        bar(share, size, utf8=utf8),
        (memory + "  ", "plain"),
        ("bandwidth ", "muted"),
        (f"{number(gpu.bandwidth, '%'):>4}", "plain"),
    ]
    second: Line = [
        ("power ", "muted"),
        (f"{number(gpu.power)} of {number(gpu.power_limit, 'W')}  ", "plain"),
        (f"{number(gpu.temperature, '°C')}  ", "bad" if hot else "plain"),
        ("clock ", "muted"),
        (number(gpu.clock, "MHz") + "  ", "plain"),
        *([("throttled by ", "muted"), (held + "  ", "warn")] if held else []),
        *_link(gpu, utf8=utf8),
    ]
    lines: list[Line] = (
        [[*first, ("  ", "plain"), *second]] if width >= 175 else [first, [("       ", "plain"), *second]]
    )
    return lines + [_part(gpu, part, size, utf8=utf8) for part in gpu.instances]


def _part(gpu: Gpu, part: GpuInstance, size: int, *, utf8: bool) -> Line:
    """A part of a GPU that is divided, by the number that nvidia-smi gives it."""
    share = part.memory_used / part.memory_total if part.memory_used is not None and part.memory_total else None
    return [
        (f"  {gpu.index}.{part.index}  ", "accent"),
        (f"{safe_line(part.name):10} ", "plain"),
        ("mem ", "muted"),
        bar(share, size, utf8=utf8),
        (f" {bytes_text(part.memory_used)} of {bytes_text(part.memory_total)}  ", "plain"),
        (safe_line(part.uuid), "muted"),
    ]


def _link(gpu: Gpu, *, utf8: bool) -> Line:
    link = gpu.link
    down, up = ("↓", "↑") if utf8 else ("in ", "out ")
    line: Line = []
    if link.received is not None or link.sent is not None:
        line += [("PCIe ", "muted"), (f"{down}{bytes_text(link.received)} {up}{bytes_text(link.sent)}/s  ", "plain")]
    if link.ecc_uncorrected or link.ecc_corrected:
        line.append((f"ECC {link.ecc_corrected or 0} fixed, {link.ecc_uncorrected or 0} not  ", "bad"))
    if link.xid is not None:
        line.append((f"Xid {link.xid}", "bad"))
    return line


def _calm(shown: tuple[str, str]) -> tuple[str, str]:
    """A bar whose fullness is nothing bad: a busy GPU is what one wants."""
    return shown[0], "muted" if shown[1] == "muted" else "accent"


def _gpu_error(view: GpuView, *, alike: bool) -> list[Line]:
    if view.state == "ok" or (not alike and view.gpus and all(gpu.trouble for gpu in view.gpus)):
        return []
    calm = view.state == "none" and not alike
    text: Line = [
        (f"{len(view.gpus)} GPUs " if alike else "GPU    ", "accent"),
        (view.cause + ". ", "muted" if calm else "bad"),
    ]
    if calm:
        return [[*text, ("Models run on the CPU.", "muted")]]
    again = f" Retry in {view.retry_in:.0f} s; F5 retries now." if view.retry_in else ""
    return [[*text, (view.remedy + again, "muted")]]


def _host(host: HostLoad, width: int, *, utf8: bool) -> list[Line]:
    size = 10 if width >= 110 else 5
    disk = host.disk_used / host.disk_total if host.disk_used is not None and host.disk_total else None
    down, up = ("↓", "↑") if utf8 else ("in ", "out ")
    first: Line = [
        ("Host   ", "accent"),
        ("cpu ", "muted"),
        _calm(bar(host.cpu / 100, size, utf8=utf8)),
        (f" {host.cpu:3.0f}% of {counted(host.cores, 'core')}  ", "plain"),
        ("mem ", "muted"),
        bar(host.memory_used / host.memory_total, size, utf8=utf8),
        (f" {bytes_text(host.memory_used)} of {bytes_text(host.memory_total)}  ", "plain"),
        ("load ", "muted"),
        (number(host.load, form=".2f"), "plain"),
    ]
    second: Line = [
        ("disk ", "muted"),
        bar(disk, size, utf8=utf8),
        (f" {bytes_text(host.disk_used)} of {bytes_text(host.disk_total)}  ", "plain"),
        (f"{down}{bytes_text(host.disk_read)} {up}{bytes_text(host.disk_written)}/s  ", "plain"),
        ("net ", "muted"),
        (f"{down}{bytes_text(host.received)} {up}{bytes_text(host.sent)}/s", "plain"),
    ]
    return [[*first, ("  ", "plain"), *second]] if width >= 175 else [first, [("       ", "plain"), *second]]
