"""Names and values of all series. A name says what, whose and which: ``gpu0.temperature``."""

from __future__ import annotations

from collections.abc import Iterable

from llmops_tui.hardware.gpus import FAULTS, Gpu
from llmops_tui.hardware.host import HostLoad
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.monitoring.latency import ALERT_MINUTES, KINDS, Latencies

_SHARES = (50, 95, 99)

# What a series measures, by the last part of its name.
UNITS = {
    "cpu": "%", "memory": "%", "disk": "%", "swap": "B", "read": "B/s", "written": "B/s", "received": "B/s", "sent": "B/s",
    "utilisation": "%", "bandwidth": "%", "power": "W", "temperature": "°C", "clock": "MHz", "running": "requests",
    "waiting": "requests", "cache": "%", "prompt_rate": "tok/s", "decode_rate": "tok/s", "p50": "ms", "p95": "ms",
    "p99": "ms", "loss": "nats", "throughput": "tok/s", "tokens_per_s": "tok/s", "rate": "1/s", "disk_free": "B",
    "failed": "jobs", "xid": "errors", "ecc_corrected": "errors", "ecc_uncorrected": "errors",
}  # fmt: skip


# Of these each one more is news: an alert that is raised already is told again.
_COUNTED = {"failed", "xid", "ecc_uncorrected"}


def counts_events(series: str) -> bool:
    """Whether a series counts what happens one by one."""
    return series.rpartition(".")[2] in _COUNTED


def unit_of(series: str) -> str:
    """The unit of a series; a share for what has none."""
    if series.startswith("errors."):
        return "share"
    return UNITS.get(series.rpartition(".")[2], "")


def why_silent(series: str) -> str:
    """Why a series has no values any more, as far as its name tells."""
    what, _, rest = series.partition(".")
    if what == "engine" and rest.rpartition(".")[2] != "throughput":
        return "no data: the model is unloaded or idle"
    if what in {"latency", "errors", "requests", "engine"}:
        return f"no data: no requests for {ALERT_MINUTES} minutes"
    return {
        "training": "no data: the run has ended",
        "job": "no data: no such job recently",
        "experiment": "no data: the experiment was ended",
    }.get(what, "no data: this value is no longer reported")


def of_host(host: HostLoad) -> dict[str, float | None]:
    """The series of the machine."""
    disk = 100 * host.disk_used / host.disk_total if host.disk_used is not None and host.disk_total else None
    return {
        "host.cpu": host.cpu,
        "host.memory": 100 * host.memory_used / host.memory_total,
        "host.swap": host.swap_used,
        "host.disk": disk,
        "host.disk_free": host.disk_free,
        "host.read": host.disk_read,
        "host.written": host.disk_written,
        "host.received": host.received,
        "host.sent": host.sent,
    }


def of_gpus(gpus: Iterable[Gpu]) -> dict[str, float | None]:
    """The series of the GPUs."""
    found: dict[str, float | None] = {}
    for gpu in gpus:
        known = gpu.memory_used is not None and gpu.memory_total
        found |= {
            f"gpu{gpu.index}.utilisation": gpu.utilisation,
            f"gpu{gpu.index}.bandwidth": gpu.bandwidth,
            f"gpu{gpu.index}.memory": 100 * (gpu.memory_used or 0) / (gpu.memory_total or 1) if known else None,
            f"gpu{gpu.index}.power": gpu.power,
            f"gpu{gpu.index}.temperature": gpu.temperature,
            f"gpu{gpu.index}.clock": gpu.clock,
            f"gpu{gpu.index}.received": gpu.link.received,
            f"gpu{gpu.index}.sent": gpu.link.sent,
            f"gpu{gpu.index}.lost": None if gpu.foreign else float(bool(gpu.trouble)),
            f"gpu{gpu.index}.throttled": None if gpu.throttled is None else float(bool(FAULTS & set(gpu.throttled))),
            f"gpu{gpu.index}.ecc_uncorrected": gpu.link.ecc_uncorrected,
        }
        for instance in gpu.instances:
            if instance.memory_used is not None and instance.memory_total:
                share = 100 * instance.memory_used / instance.memory_total
                found[f"gpu{gpu.index}.{instance.index}.memory"] = share
    return found


def of_engines(engines: Iterable[EngineLoad]) -> dict[str, float | None]:
    """The series of the engines; rates count only while something runs."""
    found: dict[str, float | None] = {}
    for engine in engines:
        busy = engine.running > 0
        # Loading is neither: that it takes long is nothing to be woken for, and it says nothing of what it will be.
        found[f"engine.{engine.model}.up"] = None if engine.state == "loading" else float(engine.up)
        if not engine.answers:
            continue
        found |= {
            f"engine.{engine.model}.running": engine.running,
            f"engine.{engine.model}.waiting": engine.waiting,
            f"engine.{engine.model}.cache": None if engine.cache is None else 100 * engine.cache,
            f"engine.{engine.model}.prompt_rate": engine.prompt_rate if busy else None,
            f"engine.{engine.model}.decode_rate": engine.decode_rate if busy else None,
        }
    return found


def of_latencies(latencies: Latencies, ticks: float) -> dict[str, float | None]:
    """Percentiles of the last minutes in milliseconds, and the share of requests that failed."""
    found: dict[str, float | None] = {}
    for model in latencies.models():
        window = latencies.window(model, ticks, ALERT_MINUTES)
        if window.requests:
            found[f"errors.{model}"] = window.error_rate
            found[f"requests.{model}.rate"] = window.requests / (ALERT_MINUTES * 60)
            found[f"engine.{model}.throughput"] = window.tokens / (ALERT_MINUTES * 60)
        for kind in KINDS:
            for share in _SHARES:
                value = window.percentile(kind, share / 100)
                if value is not None:
                    found[f"latency.{model}.{kind}.p{share}"] = value
    return found
