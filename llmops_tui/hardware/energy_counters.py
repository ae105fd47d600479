"""Energy counters of the machine: those of GPUs, and of processors where the kernel lets them be read."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.hardware.gpu_sampler import GpuSampler

POWERCAP = Path("/sys/class/powercap")
NOT_MEASURED = "not measured: no GPU tells its energy, and the counters of the processor cannot be read here"


@dataclass(frozen=True)
class Measured:
    """Joules between two readings, of whole devices, whoever used them; none where nothing tells, with ``note``."""

    joules: float | None
    note: str


class EnergyMeter:
    """Reads counters at its beginning and its end. Nothing runs in between."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._powercap = powercap
        self._before = read_counters(powercap)

    def stop(self) -> Measured:
        """The energy since the beginning. A counter that went backwards has wrapped or was reset, and is left out."""
        after = read_counters(self._powercap)
        return difference(self._before, after)


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> Measured:
    """What counters gained that both readings have."""
    both = {name: after[name] - before[name] for name in before if name in after and after[name] >= before[name]}
    if not both:
        return Measured(None, NOT_MEASURED)
    return Measured(sum(both.values()), f"of {', '.join(sorted(both))}, whoever used them")


def read_counters(powercap: Path = POWERCAP) -> dict[str, float]:
    """Joules by device since some moment; empty where nothing tells.

    Of processors each package is read, whose counter has those of its cores in it.
    """
    found: dict[str, float] = {}
    sampler = GpuSampler()
    try:
        for gpu in sampler.inspect().gpus:
            if gpu.energy is not None:
                found[f"gpu{gpu.index}"] = gpu.energy
    finally:
        sampler.close()
    for zone in sorted(powercap.glob("*:*")) if powercap.is_dir() else ():
        with contextlib.suppress(OSError, ValueError):
            name = (zone / "name").read_text().strip()
            if name.startswith("package"):
                found[name] = int((zone / "energy_uj").read_text()) / 1e6
    return found
