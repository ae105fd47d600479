"""GPUs at one moment: load, memory, power, heat, clocks, links and faults. What a driver does not tell is None, never 0."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

# Why clocks are held down, where that is a fault: of the cooling or the power supply. A card at its power limit is at work.
FAULTS = frozenset({"hardware slowdown", "heat", "hardware heat", "power brake"})
# What libraries tell where they have no value: all bits set, in 32 and in 64 of them.
_NO_VALUES = frozenset({2**32 - 1, 2**64 - 1})
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class GpuProcess:
    """A process on a GPU. Memory in bytes; ``share`` is its part of the multiprocessors' time in percent."""

    pid: int
    memory: int | None = None
    share: float | None = None


@dataclass(frozen=True)
class GpuLink:
    """What changes slowly or is slow to ask for: PCIe traffic in bytes/s, its generation and width, errors of memory.

    ``ecc_corrected`` and ``ecc_uncorrected`` count since the driver was loaded; ``xid`` is the last critical error and
    ``fault`` the last that was the card's own fault, of which ``xids`` were seen since this process looks; none where the
    driver does not tell of any.
    """

    received: float | None = None
    sent: float | None = None
    generation: int | None = None
    width: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    xid: int | None = None
    fault: int | None = None
    xids: int | None = None


@dataclass(frozen=True)
class GpuInstance:
    """A part of a GPU that was divided (MIG): its place on it, its name such as ``1g.18gb``, and its memory in bytes."""

    index: int
    name: str
    uuid: str
    memory_used: int | None = None
    memory_total: int | None = None


@dataclass(frozen=True)
class Gpu:
    """One GPU at one moment.

    Attributes:
        utilisation: percent of the last sample period in which any kernel ran; no measure of how full the GPU was.
        bandwidth: percent of that period in which its memory was read or written.
        memory_used, memory_total: bytes.
        power, power_limit: watts. energy: joules since the driver was loaded.
        temperature: degrees Celsius. fan: percent.
        clock, clock_limit, memory_clock: MHz.
        bandwidth_limit: bytes a second that its memory can give at most: clock × 2 × bus width.
        throttled: why its clocks are held down, in words; empty where they are not.
        instances: its parts, where it is divided (MIG); it then tells no load of its own.
        trouble, remedy: set where this GPU does not answer.
        foreign: it is listed and was never this process's to ask, as where it is given to others: it cannot be lost.
    """

    index: int
    name: str
    uuid: str = ""
    utilisation: float | None = None
    bandwidth: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power: float | None = None
    power_limit: float | None = None
    energy: float | None = None
    temperature: float | None = None
    fan: float | None = None
    clock: float | None = None
    clock_limit: float | None = None
    memory_clock: float | None = None
    bandwidth_limit: float | None = None
    throttled: tuple[str, ...] | None = None
    link: GpuLink = field(default_factory=GpuLink)
    processes: tuple[GpuProcess, ...] = ()
    instances: tuple[GpuInstance, ...] = ()
    trouble: str = ""
    remedy: str = ""
    foreign: bool = False


@dataclass(frozen=True)
class GpuView:
    """All GPUs at one moment, or why there are none to see: ``state`` is a word, ``cause`` and ``remedy`` sentences.

    ``ok``; ``none``: this machine has no GPU or no driver, which is no fault; anything else is trouble that is tried
    again after ``retry_in`` seconds.
    """

    gpus: tuple[Gpu, ...] = ()
    state: str = "ok"
    cause: str = ""
    remedy: str = ""
    retry_in: float = 0.0


class GpuSource(Protocol):
    """A vendor's library: NVIDIA's or AMD's."""

    def look(self, *, processes: bool) -> GpuView:
        """All GPUs now; never raises."""

    def look_slowly(self) -> None:
        """Ask for what blocks or seldom changes; the next looks carry it."""

    def close(self) -> None:
        """Let go of the library."""


class GpuSampler:
    """The GPUs of this machine, whoever made them. ``look_slowly`` may be called from another thread."""

    def __init__(self, sources: list[GpuSource] | None = None) -> None:
        if sources is None:
            from llmops_tui.hardware.amd import AmdSource
            from llmops_tui.hardware.nvidia import NvidiaSource

            sources = [NvidiaSource(), AmdSource()]
        self._sources = sources

    def look(self, *, processes: bool = False) -> GpuView:
        """All GPUs now, numbered through. Trouble of one vendor does not hide the GPUs of the other."""
        views = [source.look(processes=processes) for source in self._sources]
        gpus = tuple(gpu for view in views for gpu in view.gpus)
        gpus = tuple(gpu if gpu.index == n else replace(gpu, index=n) for n, gpu in enumerate(gpus))
        trouble = next((v for v in views if v.state not in {"ok", "none"}), None)
        if trouble is not None:
            return replace(trouble, gpus=gpus)
        return GpuView(gpus) if gpus else views[0]

    def look_slowly(self) -> None:
        """Ask for PCIe traffic, memory errors and critical errors."""
        for source in self._sources:
            source.look_slowly()

    def close(self) -> None:
        """Let go of the libraries."""
        for source in self._sources:
            source.close()


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
