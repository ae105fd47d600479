"""Prometheus metrics of the router: which models are loaded, and what was passed on and loaded; see ``ServerMetrics``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LOAD_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


class RouterMetrics:
    """Counts by model, by their registered names alone: what clients invent makes no series."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        label = ("model_name",)
        self._loaded = Gauge(
            "llmops:router_model_loaded", "Whether a registered model is loaded.", label, registry=self.registry
        )
        self._running = Gauge(
            "llmops:router_requests_running", "Requests being answered.", label, registry=self.registry
        )
        self._waiting = Gauge(
            "llmops:router_requests_waiting", "Requests that wait for a model to load.", label, registry=self.registry
        )
        self._passed = Counter(
            "llmops:router_requests",
            "Requests passed on, by status of the answer.",
            (*label, "status"),
            registry=self.registry,
        )
        self._refused = Counter(
            "llmops:router_request_refused", "Requests answered by the router.", ("code",), registry=self.registry
        )
        self._loads = Counter("llmops:router_loads", "Loads by outcome.", (*label, "outcome"), registry=self.registry)
        self._load_seconds = Histogram(
            "llmops:router_load_seconds", "Time to load a model.", label, buckets=_LOAD_SECONDS, registry=self.registry
        )
        self._unloads = Counter("llmops:router_unloads", "Models unloaded to make room.", label, registry=self.registry)

    def passed(self, model: str, status: int) -> None:
        """Count a request that a model's server answered."""
        self._passed.labels(model, str(status)).inc()

    def refused(self, code: str) -> None:
        """Count a request that was turned away here."""
        self._refused.labels(code).inc()

    def loaded(self, model: str, outcome: str, seconds: float) -> None:
        """Count a load: ``ok``, ``failed``, or ``given_up`` before it began."""
        self._loads.labels(model, outcome).inc()
        if outcome == "ok":
            self._load_seconds.labels(model).observe(seconds)

    def unloaded(self, model: str) -> None:
        """Count a model that made way."""
        self._unloads.labels(model).inc()

    def page(self, models: Iterable[str], loaded: set[str], counts: Mapping[str, tuple[int, int]]) -> bytes:
        """The page in Prometheus' text format, for all registered models."""
        for gauge in (self._loaded, self._running, self._waiting):
            # One that was removed has no state any more.
            gauge.clear()
        for name in models:
            active, waiting = counts.get(name, (0, 0))
            self._loaded.labels(name).set(name in loaded)
            self._running.labels(name).set(active)
            self._waiting.labels(name).set(waiting)
        return generate_latest(self.registry)
