"""What people call a series and how its values are written: ``latency.m.first.p95`` and 6200 as words with units."""

from __future__ import annotations

from llmops_tui.monitoring.latency import KINDS
from llmops_tui.monitoring.series import unit_of

_HOST = {
    "cpu": "processor load", "memory": "memory in use", "swap": "swap in use", "disk": "disk in use",
    "disk_free": "free space on the disk", "read": "reading from disk", "written": "writing to disk",
    "received": "receiving over the network", "sent": "sending over the network",
}  # fmt: skip
_GPU = {
    "utilisation": "load", "bandwidth": "memory bandwidth", "memory": "memory in use", "power": "power",
    "temperature": "temperature", "clock": "clock", "received": "receiving", "sent": "sending", "xid": "faults",
    "ecc_uncorrected": "uncorrected memory errors", "ecc_corrected": "corrected memory errors",
}  # fmt: skip
_ENGINE = {
    "running": "running requests", "waiting": "waiting requests", "cache": "context in use", "prompt_rate": "reading prompts",
    "decode_rate": "generating", "throughput": "mean speed",
}  # fmt: skip
# What is either so or not: how it is told where it is so, or for ``up`` where it is not.
_STATES = {"up": "is down", "lost": "is lost", "throttled": "is slowed down", "rolled_back": "was rolled back"}
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SECOND = 1000.0


def named(series: str) -> str:
    """What a series measures, of what; its own name where that says all that is known."""
    what, _, rest = series.partition(".")
    whose, _, last = rest.rpartition(".")
    found = ""
    if what == "host":
        found = _HOST.get(rest, "")
    elif what.startswith("gpu"):
        part = f" instance {whose}" if whose else ""
        found = f"{_GPU.get(last, last.replace('_', ' '))} of GPU {what.removeprefix('gpu')}{part}"
    elif what == "engine" and whose:
        found = f"{_ENGINE.get(last, last.replace('_', ' '))} of {whose}"
    elif what == "latency" and whose:
        model, _, kind = whose.rpartition(".")
        found = f"{KINDS.get(kind, kind)} of {model}, {last.removeprefix('p')}th percentile"
    elif what == "errors":
        found = f"failed requests of {rest}"
    elif what == "requests" and whose:
        found = f"requests of {whose}"
    elif what == "training" and whose:
        found = f"{last.replace('_', ' ').replace('per s', 'per second')} of {whose}"
    elif what == "job" and whose:
        found = f"failed jobs of kind {whose}"
    elif what == "drift" and whose:
        found = f"evidence of change in {whose}"
    return found or series


def state_told(series: str) -> str:
    """What an alert on a series says that is either so or not; empty for all others."""
    what, _, rest = series.partition(".")
    whose, _, last = rest.rpartition(".")
    if last not in _STATES:
        return ""
    if what.startswith("gpu"):
        return f"GPU {what.removeprefix('gpu')} {_STATES[last]}"
    return f"the {what} {'of ' if what == 'engine' else ''}{whose} {_STATES[last]}" if whose else ""


def value_told(series: str, value: float) -> str:
    """A value of a series with its unit, in as many digits as are read."""
    unit = unit_of(series)
    if unit == "share":
        return f"{100 * value:.3g}%"
    if unit in {"B", "B/s"}:
        size = next((f"{value / least:.3g} {name}" for least, name in _SIZES if abs(value) >= least), f"{value:.0f} B")
        return f"{size}{'/s' if unit == 'B/s' else ''}"
    if unit == "ms" and abs(value) >= _SECOND:
        return f"{value / _SECOND:.3g} s"
    if unit == "1/s":
        return f"{value:.3g} a second"
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
    if unit == "%":
        return f"{text}%"
    # What is counted is named already.
    return f"{text} {unit}" if unit and unit not in {"requests", "jobs", "errors"} else text
