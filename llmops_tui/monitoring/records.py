"""Records of monitoring as ``--json`` has them. Moments are seconds since 1970; latencies are milliseconds."""

from __future__ import annotations

from typing import Any, TypedDict

from llmops_tui.jobs.entries import JobRecord


class AlertRecord(TypedDict):
    """An alert: of which rule and series, since when, and the worst value so far."""

    alert: int | None
    rule: str
    series: str
    severity: str
    state: str
    raised_at: float
    cleared_at: float | None
    ended: str
    lasted_s: float
    silent_since: float | None
    worst: float | None
    note: str
    text: str


class EntryRecord(TypedDict):
    """One thing at one time."""

    at: float
    kind: str
    text: str
    who: str
    of: str


class TrafficRecord(TypedDict):
    """The requests of one sender to one model."""

    model: str
    who: str
    requests: int
    failed: int
    slowest_ms: float


class IncidentRecord(TypedDict):
    """An alert with what was going on; ``cut``: it went on after ``end``."""

    alert: AlertRecord
    begin: float
    end: float
    cut: bool
    entries: list[EntryRecord]
    traffic: list[TrafficRecord]


class _Requests(TypedDict):
    requests: int
    errors: int
    tokens: int
    minutes: int


class LatencyRecord(_Requests, total=False):
    """The requests of a model over some minutes; of each time the percentiles ``p50``, ``p95`` and ``p99``."""

    first_ms: dict[str, float | None]
    token_ms: dict[str, float | None]
    total_ms: dict[str, float | None]


class GpusRecord(TypedDict):
    """The GPUs, or why there are none to see; each as :class:`llmops_tui.hardware.gpus.Gpu`."""

    state: str
    cause: str
    remedy: str
    gpus: list[dict[str, Any]]


class EngineRecord(TypedDict):
    """A model server and its engine: as :class:`llmops_tui.monitoring.engines.EngineLoad`, its processes by number."""

    pid: int
    engine_pid: int | None
    model: str
    state: str
    running: int
    waiting: int
    slots: int
    cache: float | None
    prefix_hits: float | None
    prompt_rate: float | None
    decode_rate: float | None
    steps_rate: float | None
    weights: int | None
    address: str
    failure: str
    processes: int
    answering: int


class MomentRecord(TypedDict):
    """Everything at one moment; hosts and processes as their classes have them."""

    at: float
    host: dict[str, Any]
    gpu: GpusRecord
    engines: list[EngineRecord]
    latency: dict[str, LatencyRecord]
    processes: list[dict[str, Any]]
    jobs: list[JobRecord]
    alerts: list[AlertRecord]
    recording: bool
    cost: float
    trouble: str
