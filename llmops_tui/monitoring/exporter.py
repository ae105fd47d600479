"""The Prometheus exporter: machine, GPUs, engines, latencies and alerts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from llmops_tui.hardware.gpus import Gpu
from llmops_tui.hardware.host import HostLoad
from llmops_tui.monitoring.latency import KINDS
from llmops_tui.monitoring.recorder import Moment

_GPU_LABELS = ["gpu", "name"]
_PART_LABELS = ["gpu", "instance", "name", "uuid"]
# Name, what it is, and how to take it from a GPU.
_GPU_GAUGES = (
    ("llmops_gpu_utilisation_percent", "Share of the last sample period in which a kernel ran.", "utilisation"),
    ("llmops_gpu_memory_bandwidth_percent", "Share of the period in which memory was read or written.", "bandwidth"),
    ("llmops_gpu_memory_used_bytes", "Memory in use.", "memory_used"),
    ("llmops_gpu_memory_total_bytes", "Total memory.", "memory_total"),
    ("llmops_gpu_power_watts", "Power drawn.", "power"),
    ("llmops_gpu_power_limit_watts", "Power limit.", "power_limit"),
    ("llmops_gpu_temperature_celsius", "Temperature.", "temperature"),
    ("llmops_gpu_clock_megahertz", "Clock of the multiprocessors.", "clock"),
)
_HOST_GAUGES = (
    ("llmops_host_cpu_percent", "Load of all cores.", "cpu"),
    ("llmops_host_memory_used_bytes", "Memory in use that cannot be reclaimed.", "memory_used"),
    ("llmops_host_memory_total_bytes", "Total memory.", "memory_total"),
    ("llmops_host_disk_used_bytes", "Space used on the file system of the workspace.", "disk_used"),
    ("llmops_host_disk_total_bytes", "Size of the file system of the workspace.", "disk_total"),
    ("llmops_host_disk_free_bytes", "Space available to this user on the file system of the workspace.", "disk_free"),
    ("llmops_host_disk_read_bytes_per_second", "Read from all disks.", "disk_read"),
    ("llmops_host_disk_written_bytes_per_second", "Written to all disks.", "disk_written"),
    ("llmops_host_network_received_bytes_per_second", "Received over all networks.", "received"),
    ("llmops_host_network_sent_bytes_per_second", "Sent over all networks.", "sent"),
)
_ENGINE_GAUGES = (
    ("llmops_engine_requests_running", "Requests in the batch.", "running"),
    ("llmops_engine_requests_waiting", "Requests in the queue.", "waiting"),
    ("llmops_engine_slots", "Maximum number of requests in the batch.", "slots"),
    ("llmops_engine_cache_ratio", "Share of the cache in use, 0 to 1.", "cache"),
    ("llmops_engine_prefix_hit_ratio", "Share of prompt tokens that were not evaluated again, 0 to 1.", "prefix_hits"),
    ("llmops_engine_prompt_tokens_per_second", "Speed of evaluating prompts.", "prompt_rate"),
    ("llmops_engine_decode_tokens_per_second", "Speed of generating.", "decode_rate"),
)


def page(moment: Moment, engine_pages: Iterable[str]) -> bytes:
    """The page in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(moment, list(engine_pages)))
    return generate_latest(registry)


class _Snapshot(Collector):
    """One moment, as metrics. What is not known is left out, never 0."""

    def __init__(self, moment: Moment, pages: list[str]) -> None:
        self._moment = moment
        self._pages = pages

    def collect(self) -> Iterator[Metric]:
        """All families, each name once."""
        moment = self._moment
        yield from _of_host(moment.host)
        yield from _of_gpus(moment.gpus.gpus)
        yield from _standing_of_gpus(moment.gpus.gpus)
        yield from self._of_engines()
        yield from self._of_requests()
        alerts = GaugeMetricFamily(
            "llmops_alert_active", "An active alert.", labels=["rule", "series", "severity", "state"]
        )
        for alert in moment.alerts:
            alerts.add_metric([alert.rule.name, alert.series, alert.rule.severity, alert.state], 1)
        yield alerts
        jobs = GaugeMetricFamily("llmops_jobs_running", "Running jobs, by kind.", labels=["kind"])
        for kind in sorted({job.kind for job in moment.jobs}):
            jobs.add_metric([kind], sum(job.kind == kind for job in moment.jobs))
        yield jobs
        yield _gauge("llmops_monitor_looked_timestamp_seconds", "Time of the last sample.", moment.at)
        yield _gauge("llmops_monitor_core_ratio", "Share of a core used by monitoring.", moment.cost)
        yield from self._of_servers()

    def _of_engines(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "llmops_engine_up",
            "Whether the engine can answer requests: 0 while it loads, hangs or is dead.",
            labels=["model_name"],
        )
        state = GaugeMetricFamily("llmops_engine_state", "State of the engine.", labels=["model_name", "state"])
        for engine in self._moment.engines:
            up.add_metric([engine.model], float(engine.up))
            state.add_metric([engine.model, engine.state], 1)
        yield from (up, state)
        for name, text, field in _ENGINE_GAUGES:
            family = GaugeMetricFamily(name, text, labels=["model_name"])
            for engine in self._moment.engines:
                value = getattr(engine, field) if engine.answers else None
                if value is not None:
                    family.add_metric([engine.model], float(value))
            yield family

    def _of_requests(self) -> Iterator[Metric]:
        latency = GaugeMetricFamily(
            "llmops_request_latency_seconds",
            "Percentiles over the last 15 minutes.",
            labels=["model_name", "kind", "quantile"],
        )
        recent = GaugeMetricFamily("llmops_requests_recent", "Requests in the last 15 minutes.", labels=["model_name"])
        errors = GaugeMetricFamily(
            "llmops_request_error_ratio", "Share of these requests that failed.", labels=["model_name"]
        )
        for window in self._moment.latencies:
            recent.add_metric([window.model], window.requests)
            if window.error_rate is not None:
                errors.add_metric([window.model], window.error_rate)
            for kind in KINDS:
                for share in (0.5, 0.95, 0.99):
                    value = window.percentile(kind, share)
                    if value is not None:
                        latency.add_metric([window.model, kind, str(share)], value / 1000)
        yield from (latency, recent, errors)

    def _of_servers(self) -> Iterator[Metric]:
        """The pages of the model servers as one: each family once, with the samples of all."""
        families: dict[str, Metric] = {}
        for text in self._pages:
            for family in text_string_to_metric_families(text):
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type)).samples.extend(
                    family.samples
                )
        yield from families.values()


def _of_host(host: HostLoad) -> Iterator[Metric]:
    for name, text, field in _HOST_GAUGES:
        value = getattr(host, field)
        if value is not None:
            yield _gauge(name, text, float(value))


def _of_gpus(gpus: Iterable[Gpu]) -> Iterator[Metric]:
    for name, text, field in _GPU_GAUGES:
        family = GaugeMetricFamily(name, text, labels=_GPU_LABELS)
        for gpu in gpus:
            value = getattr(gpu, field)
            if value is not None:
                family.add_metric([str(gpu.index), gpu.name], float(value))
        yield family
    energy = CounterMetricFamily(
        "llmops_gpu_energy_joules", "Energy used since the driver was loaded.", labels=_GPU_LABELS
    )
    throttled = GaugeMetricFamily(
        "llmops_gpu_throttled", "A reason that holds clocks down.", labels=[*_GPU_LABELS, "reason"]
    )
    ecc = CounterMetricFamily(
        "llmops_gpu_ecc_errors", "Memory errors since the driver was loaded.", labels=[*_GPU_LABELS, "kind"]
    )
    for gpu in gpus:
        labels = [str(gpu.index), gpu.name]
        if gpu.energy is not None:
            energy.add_metric(labels, gpu.energy)
        for reason in gpu.throttled or ():
            throttled.add_metric([*labels, reason], 1)
        for kind, count in (("corrected", gpu.link.ecc_corrected), ("uncorrected", gpu.link.ecc_uncorrected)):
            if count is not None:
                ecc.add_metric([*labels, kind], count)
    yield from (energy, throttled, ecc)


def _standing_of_gpus(gpus: Iterable[Gpu]) -> Iterator[Metric]:
    # Each card is known by its UUID, whatever place it has today.
    up = GaugeMetricFamily("llmops_gpu_up", "Whether the GPU responds.", labels=[*_GPU_LABELS, "uuid"])
    faults = CounterMetricFamily(
        "llmops_gpu_faults", "Critical errors (Xid) of the card since monitoring started.", labels=_GPU_LABELS
    )
    part_used = GaugeMetricFamily(
        "llmops_gpu_instance_memory_used_bytes", "Memory in use on a part.", labels=_PART_LABELS
    )
    part_total = GaugeMetricFamily("llmops_gpu_instance_memory_total_bytes", "Memory of a part.", labels=_PART_LABELS)
    for gpu in gpus:
        labels = [str(gpu.index), gpu.name]
        if not gpu.foreign:
            up.add_metric([*labels, gpu.uuid], float(not gpu.trouble))
        if gpu.link.xids is not None:
            faults.add_metric(labels, gpu.link.xids)
        for part in gpu.instances:
            place = [str(gpu.index), str(part.index), part.name, part.uuid]
            if part.memory_used is not None:
                part_used.add_metric(place, part.memory_used)
            if part.memory_total is not None:
                part_total.add_metric(place, part.memory_total)
    yield from (up, faults, part_used, part_total)


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family
