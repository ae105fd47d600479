"""The names of all series, and their values at a moment. A name is what, whose and which: ``gpu0.temperature``."""

from __future__ import annotations

from collections.abc import Iterable

from llmops_tui.hardware.gpus import Gpu
from llmops_tui.hardware.host import HostLoad
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.monitoring.latency import ALERT_MINUTES, KINDS, Latencies

_SHARES = (50, 95, 99)

# What a series measures, by the last part of its name.
UNITS = {
    "cpu": "%", "memory": "%", "disk": "%", "swap": "B", "read": "B/s", "written": "B/s", "received": "B/s", "sent": "B/s",
    "utilisation": "%", "bandwidth": "%", "power": "W", "temperature": "°C", "clock": "MHz", "running": "requests",
    "waiting": "requests", "cache": "%", "prompt_rate": "tok/s", "decode_rate": "tok/s", "p50": "ms", "p95": "ms",
    "p99": "ms", "loss": "nats", "throughput": "tok/s", "tokens_per_s": "tok/s", "rate": "1/s",
}  # fmt: skip


def unit_of(series: str) -> str:
    """The unit of a series; a share for what has none."""
    if series.startswith("errors."):
        return "share"
    return UNITS.get(series.rpartition(".")[2], "")


def of_host(host: HostLoad) -> dict[str, float | None]:
    """The series of the machine."""
    disk = 100 * host.disk_used / host.disk_total if host.disk_used is not None and host.disk_total else None
    return {
        "host.cpu": host.cpu,
        "host.memory": 100 * host.memory_used / host.memory_total,
        "host.swap": host.swap_used,
        "host.disk": disk,
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
        }
    return found


def of_engines(engines: Iterable[EngineLoad]) -> dict[str, float | None]:
    """The series of the engines; rates count only while something runs."""
    found: dict[str, float | None] = {}
    for engine in engines:
        busy = engine.running > 0
        found |= {
            f"engine.{engine.model}.running": engine.running,
            f"engine.{engine.model}.waiting": engine.waiting,
            f"engine.{engine.model}.cache": None if engine.cache is None else 100 * engine.cache,
            f"engine.{engine.model}.prompt_rate": engine.prompt_rate if busy else None,
            f"engine.{engine.model}.decode_rate": engine.decode_rate if busy else None,
        }
    return found


def of_latencies(latencies: Latencies, now: float) -> dict[str, float | None]:
    """Percentiles of the last minutes in milliseconds, and the share of requests that failed."""
    found: dict[str, float | None] = {}
    for model in latencies.models():
        window = latencies.window(model, now, ALERT_MINUTES)
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
