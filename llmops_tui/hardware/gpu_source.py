"""The interface of GPU sources, one per vendor library, with retries."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

from llmops_tui.hardware.gpus import GpuView

# What libraries tell where they have no value: all bits set, in 32 and in 64 of them.
_NO_VALUES = frozenset({2**32 - 1, 2**64 - 1})
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)


class GpuSource(Protocol):
    """A vendor's library: NVIDIA's or AMD's."""

    def inspect(self, *, processes: bool) -> GpuView:
        """All GPUs now; never raises."""

    def inspect_slowly(self) -> None:
        """Ask for what blocks or seldom changes; the next looks carry it."""

    def close(self) -> None:
        """Let go of the library."""


class Retry:
    """When to try again what failed: soon, then ever later."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed = 0
        self._next = 0.0

    @property
    def waits(self) -> float:
        """Seconds until it may be tried again."""
        return max(0.0, self._next - self._clock())

    def failed(self) -> float:
        """Note a failure; returns the seconds to wait."""
        seconds = RETRY_SECONDS[min(self._failed, len(RETRY_SECONDS) - 1)]
        self._failed += 1
        self._next = self._clock() + seconds
        return seconds

    def worked(self) -> None:
        """Note that it works."""
        self._failed, self._next = 0, 0.0


def believed(value: Any, low: float = 0.0, high: float = math.inf) -> float | None:
    """A number that a library told, or none: where it has none itself, or tells what cannot be.

    Drivers have been seen to tell a temperature of 4,294,967,295 degrees, which is -1 in the bits of no value, and loads
    of 991 %.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value in _NO_VALUES:
        return None
    return float(value) if math.isfinite(value) and low <= value <= high else None


def ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """A value of a driver, or none where it does not give it."""
    try:
        return call(*arguments)
    except Exception:  # noqa: BLE001  every call of a driver may fail in its own way; a missing value is the answer
        return None
