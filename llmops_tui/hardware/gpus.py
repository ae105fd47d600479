"""GPU readings: load, memory, power, temperature, clocks, links and errors. A value the driver lacks is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass, field

# Why clocks are held down, where that is a fault: of the cooling or the power supply. A card at its power limit is at work.
FAULTS = frozenset({"hardware slowdown", "heat", "hardware heat", "power brake"})


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
