"""Prometheus metrics of one model server, named in the manner of vLLM's and llama-server's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llmops_tui.inference.engine_wire import EngineState
from llmops_tui.workspace.events import RequestRecord

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
# Engine counters by their names in the engine's state.
_ENGINE_COUNTERS = {
    "prompt_tokens": ("llmops:prompt_tokens", "Prompt tokens taken in."),
    "generated_tokens": ("llmops:generation_tokens", "Tokens generated."),
    "reused_tokens": ("llmops:prefix_cache_hits", "Prompt tokens that did not have to be evaluated again."),
    "drafted_tokens": ("llmops:spec_decode_num_draft_tokens", "Tokens guessed by speculation."),
    "accepted_tokens": ("llmops:spec_decode_num_accepted_tokens", "Guessed tokens that were right."),
    "steps": ("llmops:engine_steps", "Batches evaluated."),
    "prefill_seconds": ("llmops:prompt_seconds", "Seconds spent in steps that evaluate prompts."),
    "decode_seconds": ("llmops:tokens_predicted_seconds", "Seconds spent in steps that only generate."),
}


class ServerMetrics:
    """The metrics of one server, each labelled with its model's name."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        self._model = model
        label = ("model_name",)
        self._running = Gauge("llmops:num_requests_running", "Requests in the batch.", label, registry=self.registry)
        self._waiting = Gauge("llmops:num_requests_waiting", "Requests in the queue.", label, registry=self.registry)
        self._usage = Gauge("llmops:kv_cache_usage_perc", "Cache cells in use, 0 to 1.", label, registry=self.registry)
        self._restarts = Counter("llmops:engine_restarts", "Engine processes lost.", label, registry=self.registry)
        self._refused = Counter(
            "llmops:request_refused", "Requests turned away.", (*label, "code"), registry=self.registry
        )
        self._ended = Counter(
            "llmops:request_success",
            "Requests that ended, by reason.",
            (*label, "finished_reason"),
            registry=self.registry,
        )
        self._first = Histogram(
            "llmops:time_to_first_token_seconds",
            "From arrival to first token.",
            label,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._whole = Histogram(
            "llmops:e2e_request_latency_seconds",
            "From arrival to end.",
            label,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._token = Histogram(
            "llmops:time_per_output_token_seconds",
            "Mean time of a token after the first.",
            label,
            buckets=_TOKEN_SECONDS,
            registry=self.registry,
        )
        self._engine = {
            key: Counter(name, text, label, registry=self.registry) for key, (name, text) in _ENGINE_COUNTERS.items()
        }
        self._up = Gauge("llmops:engine_up", "Whether a request would be answered now.", label, registry=self.registry)
        self._state = Gauge(
            "llmops:engine_state", "How the engine stands, in a word.", (*label, "state"), registry=self.registry
        )
        self._seen: dict[str, float] = {}

    def ended(self, result: RequestRecord) -> None:
        """Count a request that ended; ``result`` are its figures."""
        self._ended.labels(self._model, str(result["finish_reason"])).inc()
        self._whole.labels(self._model).observe(float(result.get("total_ms") or 0) / 1000)
        first, speed = result.get("ttft_ms"), result.get("tokens_per_s")
        if first is not None:
            self._first.labels(self._model).observe(first / 1000)
        if speed:
            self._token.labels(self._model).observe(1 / speed)

    def refused(self, code: str) -> None:
        """Count a request that was turned away."""
        self._refused.labels(self._model, code).inc()

    def engine_lost(self) -> None:
        """Count an engine process that died; its counters begin anew."""
        self._restarts.labels(self._model).inc()
        self._seen.clear()

    def page(self, state: EngineState, queued: int, status: str = "ok") -> bytes:
        """The page in Prometheus' text format. ``state`` is the engine's, empty where it is not known; ``standing`` a word."""
        self._up.labels(self._model).set(status == "ok")
        self._state.clear()
        self._state.labels(self._model, status).set(1)
        self._running.labels(self._model).set(state.get("running", 0))
        self._waiting.labels(self._model).set(queued)
        capacity = state.get("cache_capacity", 0)
        self._usage.labels(self._model).set(state.get("cached_tokens", 0) / capacity if capacity else 0)
        counts = cast("Mapping[str, float]", state)
        for key, counter in self._engine.items():
            now = float(counts.get(key, 0))
            counter.labels(self._model).inc(max(0.0, now - self._seen.get(key, 0.0)))
            self._seen[key] = max(now, self._seen.get(key, 0.0))
        return generate_latest(self.registry)
