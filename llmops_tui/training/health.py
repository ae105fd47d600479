"""Problems of a run, detected at the step they occur: NaN, spikes, divergence, exploding gradients."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field

from llmops_tui.training.history import Event

_WINDOW = 50
_FEW = 10
# Robust standard deviations from the running median that make a spike.
_SPIKE_SIGMAS = 8.0
_MAD_TO_SIGMA = 1.4826
_DIVERGED_STEPS = 25
_DIVERGED_FACTOR = 1.5
_STALL_FACTOR = 20.0
_STALL_SECONDS = 120.0


@dataclass
class Watch:
    """Looks at each step's figures; remembers what it needs to."""

    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _norms: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _smooth: float | None = None
    _best: float = math.inf
    _above: int = 0
    _told: set[str] = field(default_factory=set)

    def inspect(self, step: int, loss: float, grad_norm: float | None) -> list[Event]:
        """What is to be said about this step."""
        found = []
        if not math.isfinite(loss):
            found.append(
                self._once(
                    "nan",
                    Event(
                        step,
                        "error",
                        f"the loss is {loss}",
                        "Lower optimizer.learning_rate by 10, or compute in bfloat16 or float32; the last checkpoint is older.",
                    ),
                )
            )
            return [event for event in found if event]
        if grad_norm is not None and not math.isfinite(grad_norm):
            found.append(
                self._once(
                    "norm",
                    Event(
                        step,
                        "error",
                        f"the gradient's norm is {grad_norm}",
                        "Compute in bfloat16 instead of float16, or lower optimizer.learning_rate.",
                    ),
                )
            )
        found += [self._spike(step, loss), self._diverged(step, loss), self._exploded(step, grad_norm)]
        self._losses.append(loss)
        if grad_norm is not None and math.isfinite(grad_norm):
            self._norms.append(grad_norm)
        return [event for event in found if event]

    def _spike(self, step: int, loss: float) -> Event | None:
        if len(self._losses) < _FEW:
            return None
        middle = statistics.median(self._losses)
        spread = _MAD_TO_SIGMA * statistics.median(abs(v - middle) for v in self._losses)
        if loss <= middle + max(_SPIKE_SIGMAS * spread, 0.5 * abs(middle), 0.1):
            return None
        return Event(
            step,
            "warn",
            f"the loss jumped to {loss:.3g}, the last {len(self._losses)} steps had {middle:.3g}",
            "Inspect the rows of this step, or lower optimizer.learning_rate; optimizer.max_grad_norm limits the harm.",
        )

    def _diverged(self, step: int, loss: float) -> Event | None:
        self._smooth = loss if self._smooth is None else 0.9 * self._smooth + 0.1 * loss
        if self._smooth < self._best:
            self._best, self._above = self._smooth, 0
            self._told.discard("diverged")
            return None
        self._above = self._above + 1 if self._smooth > _DIVERGED_FACTOR * self._best + 0.1 else 0
        if self._above < _DIVERGED_STEPS:
            return None
        return self._once(
            "diverged",
            Event(
                step,
                "error",
                f"the loss has risen for {self._above} steps: {self._smooth:.3g} after {self._best:.3g}",
                "Stop, and start again with a third of optimizer.learning_rate and more optimizer.warmup.",
            ),
        )

    def _exploded(self, step: int, norm: float | None) -> Event | None:
        if norm is None or len(self._norms) < _FEW or norm <= 100 * max(statistics.median(self._norms), 1e-8):
            return None
        return Event(
            step,
            "warn",
            f"the gradient's norm is {norm:.3g}, a hundred times the usual",
            "A row may be broken; optimizer.max_grad_norm limits the harm.",
        )

    def _once(self, name: str, event: Event) -> Event | None:
        if name in self._told:
            return None
        self._told.add(name)
        return event


def stalled(seconds: list[float], silent_for: float) -> str:
    """Whether a run that said nothing for so many seconds stands still, judged by its steps' times; why, or nothing."""
    usual = statistics.median(seconds) if seconds else 0.0
    limit = max(_STALL_SECONDS, _STALL_FACTOR * usual)
    if silent_for <= limit:
        return ""
    return f"no step for {silent_for:.0f} s, where one takes {usual:.1f} s: check its log, the disk and the GPU"


def beside_the_base(base: float | None, result: float | None, step: int) -> list[Event]:
    """What is to be said where the base was measured before the first step, and is better than what the run ends with.

    Both are evaluation losses; ``step`` is that of the result.
    """
    if base is None or result is None or not result > base:
        return []
    told = f"the base was better than the result: evaluation loss {base:.4g} before the first step, {result:.4g} at step {step}"
    return [
        Event(step, "warn", told, "Nothing was learned that the held-out rows show: lower optimizer.learning_rate.")
    ]
