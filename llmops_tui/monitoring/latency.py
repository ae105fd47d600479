"""Request latency by model: percentiles over any window, from one sketch per minute."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmops_tui.monitoring.records import LatencyRecord
from llmops_tui.monitoring.sketch import LatencySketch
from llmops_tui.workspace.event_log import Timing

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

    def plus(self, other: Minute) -> Minute:
        """Both together."""
        return Minute(
            {kind: LatencySketch.sum([self.sketches[kind], other.sketches[kind]]) for kind in KINDS},
            self.requests + other.requests,
            self.failed + other.failed,
            self.tokens + other.tokens,
        )

    def count(self, timing: Timing) -> None:
        """Take in one request."""
        self.requests += 1
        self.failed += timing.failed
        self.tokens += timing.tokens
        if timing.failed:
            return
        self.sketches["total"].add(timing.total_ms)
        if timing.ttft_ms is not None:
            self.sketches["first"].add(timing.ttft_ms)
        if timing.token_ms is not None:
            self.sketches["token"].add(timing.token_ms)

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

    def known_percentile(self, kind: str, share: float) -> float | None:
        """A percentile in milliseconds, where more than one request lies beyond it; else it is little more than the slowest."""
        beyond = self.sketches[kind].count * round(1 - share, 6)
        return self.percentile(kind, share) if beyond > 1 else None

    def as_dict(self) -> LatencyRecord:
        """For JSON."""

        def percentiles(kind: str) -> dict[str, float | None]:
            return {f"p{share}": self.percentile(kind, share / 100) for share in (50, 95, 99)}

        return {
            "requests": self.requests,
            "errors": self.failed,
            "tokens": self.tokens,
            "minutes": self.minutes,
            "first_ms": percentiles("first"),
            "token_ms": percentiles("token"),
            "total_ms": percentiles("total"),
        }


class Latencies:
    """The last minutes of all models.

    What is shown goes by a clock that only goes on: a request belongs to the last minutes whatever the clock on the wall
    said as it ended. What is kept goes by that clock, a minute being what is new in it and added to what is kept of it:
    a minute that comes twice, as when the clock is set back, has the requests of both.
    """

    def __init__(self) -> None:
        self._minutes: dict[str, dict[int, Minute]] = {}
        self._fresh: dict[tuple[str, int], Minute] = {}

    def observe(self, timing: Timing, ticks: float) -> None:
        """Count one request, which ended at a moment of that clock."""
        self._minutes.setdefault(timing.model, {}).setdefault(int(ticks // 60), Minute()).count(timing)
        self._fresh.setdefault((timing.model, int(timing.ended_at // 60)), Minute()).count(timing)

    def models(self) -> list[str]:
        """The models that had requests lately."""
        return sorted(self._minutes)

    def window(self, model: str, ticks: float, minutes: int = WINDOW_MINUTES) -> Latency:
        """The requests of a model in the last minutes, the one under way included."""
        last = int(ticks // 60)
        return over(
            model, minutes, (m for at, m in self._minutes.get(model, {}).items() if last - minutes < at <= last)
        )

    def take_over(self, kept: Iterable[tuple[str, int, str]], now: float, ticks: float) -> None:
        """Go on with minutes that were kept, as (model, minute, text); ``now`` is what the clock on the wall shows."""
        for model, at, text in kept:
            place = int(ticks // 60) - (int(now // 60) - at)
            minutes = self._minutes.setdefault(model, {})
            minutes[place] = Minute.load(text).plus(minutes.get(place, Minute()))

    def fresh(self) -> list[tuple[str, int, Minute]]:
        """What is not kept yet, as (model, minute, what is new in it)."""
        return [(model, at, minute) for (model, at), minute in sorted(self._fresh.items(), key=lambda item: item[0])]

    def settle(self, ticks: float) -> None:
        """What was new is kept; forgets the minutes that no window reaches any more."""
        self._fresh.clear()
        oldest = int(ticks // 60) - WINDOW_MINUTES
        for model, minutes in list(self._minutes.items()):
            self._minutes[model] = {at: m for at, m in minutes.items() if at > oldest}
            if not self._minutes[model]:
                del self._minutes[model]
