"""Two servers measured in turns: pairs of figures, their ratios, and the processor time beside the clock."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
from load import Endpoint


@dataclass(frozen=True)
class Measured:
    """One side of a pair: its figure, and the processor seconds it took with all its processes and threads."""

    value: float
    processor: float = 0.0


Pair = tuple[Measured, Measured]


def pairs(rounds: int, measure: Callable[[str], Measured], begin: int = 0) -> list[Pair]:
    """(ours, other) in turns; who begins changes, so that neither has the warmer or the quieter place."""
    found = []
    for number in range(begin, begin + rounds):
        order = ("ours", "other") if number % 2 == 0 else ("other", "ours")
        values = {name: measure(name) for name in order}
        found.append((values["ours"], values["other"]))
    return found


def told(found: list[Pair], unit: str) -> dict[str, Any]:
    """Medians of both, the median of the ratios, and their range.

    ``processor_ratio`` is ours over the other's in processor time for the same work: what else runs on the machine has less of a
    part in it.
    """
    ratios = sorted(ours.value / other.value for ours, other in found)
    figures = {
        f"ours_{unit}": statistics.median(ours.value for ours, _ in found),
        f"llama_server_{unit}": statistics.median(other.value for _, other in found),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[0],
        "ratio_high": ratios[-1],
        "pairs": len(found),
    }
    if all(other.processor for _, other in found):
        figures["processor_ratio"] = statistics.median(ours.processor / other.processor for ours, other in found)
    return figures


def processor_seconds(handle: Endpoint) -> float:
    """What a server and its children have used since they started."""
    server = psutil.Process(handle.process.pid)
    times = [p.cpu_times() for p in (server, *server.children(recursive=True))]
    return sum(t.user + t.system for t in times)
