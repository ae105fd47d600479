"""A clock for limits that is never set back, whatever becomes of the time of day, and goes on over restarts.

Within one boot it goes as the system's clock since the boot, which nobody can set. What passed between two boots is told by
the time of day alone, where that went forwards; where it went back, nothing passed, so that nothing is let through for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.inference.access.gcra import MICROSECONDS

# Told by Linux alone; elsewhere the monotonic clock has to do, which may stop while a machine sleeps.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class Reading:
    """Moments in microseconds: of the system since its ``boot``, of the time of day, and of the limits' clock."""

    boot: str
    since_boot: int
    wall: int
    now: int


def this_boot() -> str:
    """What tells one boot of the system from another; empty where that is not told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


class LimitClock:
    """Reads on from the last reading; the three clocks can be given, in seconds."""

    def __init__(
        self,
        since_boot: Callable[[], float] | None = None,
        wall: Callable[[], float] = time.time,
        boot: Callable[[], str] = this_boot,
    ) -> None:
        self._since_boot = since_boot or (lambda: time.clock_gettime(_SINCE_BOOT))
        self._wall = wall
        self._boot = boot

    @property
    def wall(self) -> float:
        """The time of day."""
        return self._wall()

    def read(self, last: Reading | None) -> Reading:
        """A reading that is not before the last one, which may be of another process or boot."""
        boot, since, wall = self._boot(), int(self._since_boot() * MICROSECONDS), int(self._wall() * MICROSECONDS)
        if last is None:
            return Reading(boot, since, wall, wall)
        same = boot == last.boot and since >= last.since_boot
        passed = since - last.since_boot if same else max(0, wall - last.wall)
        return Reading(boot, since, wall, last.now + passed)
