"""How long requests take, by model: percentiles over any window, from one sketch a minute."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from llmops_tui.monitoring.sketch import LatencySketch
from llmops_tui.workspace.journal import Timing

# What is measured of a request, in milliseconds, and what it is called.
KINDS = {"first": "first token", "token": "between tokens", "total": "whole answer"}
WINDOW_MINUTES = 15
ALERT_MINUTES = 5


@dataclass
class Minute:
    """The requests of one model that ended in one minute."""

    sketches: dict[str, LatencySketch] = field(default_factory=lambda: {kind: LatencySketch() for kind in KINDS})
    requests: int = 0
    failed: int = 0
    tokens: int = 0

    def dump(self) -> str:
        """As text, to be kept."""
        return json.dumps(
            [self.requests, self.failed, self.tokens, {kind: sketch.dump() for kind, sketch in self.sketches.items()}]
        )

    @classmethod
    def load(cls, text: str) -> Minute:
        """A minute that was kept."""
        requests, failed, tokens, sketches = json.loads(text)
        return cls({kind: LatencySketch.load(body) for kind, body in sketches.items()}, requests, failed, tokens)


def over(model: str, minutes: int, found: Iterable[Minute]) -> Latency:
    """The requests of some minutes together."""
    kept = list(found)
    return Latency(
        model=model,
        minutes=minutes,
        requests=sum(m.requests for m in kept),
        failed=sum(m.failed for m in kept),
        tokens=sum(m.tokens for m in kept),
        sketches={kind: LatencySketch.sum(m.sketches[kind] for m in kept) for kind in KINDS},
    )


@dataclass(frozen=True)
class Latency:
    """The requests of one model over a window of ``minutes``. Sketches in milliseconds, by :data:`KINDS`."""

    model: str
    minutes: int
    requests: int
    failed: int
    tokens: int
    sketches: dict[str, LatencySketch]

    @property
    def error_rate(self) -> float | None:
        """The share of requests that ended in an error; none without requests."""
        return self.failed / self.requests if self.requests else None

    def percentile(self, kind: str, share: float) -> float | None:
        """A percentile in milliseconds."""
        return self.sketches[kind].quantile(share)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "requests": self.requests, "errors": self.failed, "tokens": self.tokens, "minutes": self.minutes,
            **{
                f"{kind}_ms": {f"p{share}": self.percentile(kind, share / 100) for share in (50, 95, 99)} for kind in KINDS
            },
        }  # fmt: skip


class Latencies:
    """The last minutes of all models."""

    def __init__(self) -> None:
        self._minutes: dict[str, dict[int, Minute]] = {}
        self._dirty: set[tuple[str, int]] = set()

    def observe(self, timing: Timing) -> None:
        """Count one request in the minute in which it ended."""
        at = int(timing.ended_at) // 60
        minute = self._minutes.setdefault(timing.model, {}).setdefault(at, Minute())
        self._dirty.add((timing.model, at))
        minute.requests += 1
        minute.failed += timing.failed
        minute.tokens += timing.tokens
        if timing.failed:
            return
        minute.sketches["total"].add(timing.total_ms)
        if timing.ttft_ms is not None:
            minute.sketches["first"].add(timing.ttft_ms)
        if timing.token_ms is not None:
            minute.sketches["token"].add(timing.token_ms)

    def models(self) -> list[str]:
        """The models that had requests lately."""
        return sorted(self._minutes)

    def window(self, model: str, now: float, minutes: int = WINDOW_MINUTES) -> Latency:
        """The requests of a model in the last minutes, the one under way included."""
        last = int(now) // 60
        return over(
            model, minutes, (m for at, m in self._minutes.get(model, {}).items() if last - minutes < at <= last)
        )

    def take_over(self, kept: Iterable[tuple[str, int, str]]) -> None:
        """Go on with minutes that were kept, as (model, minute, text)."""
        for model, at, text in kept:
            self._minutes.setdefault(model, {})[at] = Minute.load(text)

    def settle(self, now: float) -> list[tuple[str, int, str]]:
        """The minutes that changed since the last time, to be kept; forgets those that no window reaches any more."""
        changed = [(model, at, self._minutes[model][at].dump()) for model, at in sorted(self._dirty)]
        self._dirty.clear()
        oldest = int(now) // 60 - WINDOW_MINUTES
        for model, minutes in list(self._minutes.items()):
            self._minutes[model] = {at: m for at, m in minutes.items() if at > oldest}
            if not self._minutes[model]:
                del self._minutes[model]
        return changed
