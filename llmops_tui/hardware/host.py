"""Load of this machine: processor, memory, disk, network. Missing values are None, never 0."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SLOW_SECONDS = 10.0


@dataclass(frozen=True)
class HostLoad:
    """The machine at one moment. CPU in percent of all cores; memory, swap and disk in bytes; rates in bytes/s.

    ``disk`` is the file system of the workspace; ``disk_free`` what this user may still write there.
    """

    cpu: float
    memory_used: int
    memory_total: int
    load: float | None = None
    cores: int = 1
    swap_used: int | None = None
    disk_used: int | None = None
    disk_total: int | None = None
    disk_free: int | None = None
    disk_read: float | None = None
    disk_written: float | None = None
    received: float | None = None
    sent: float | None = None


class HostSampler:
    """Samples the machine; the first sample of CPU load covers the time since this object was made, rates come later."""

    def __init__(self, folder: Path = Path("/")) -> None:
        import psutil

        self._psutil = psutil
        self._folder = folder
        self._cores = psutil.cpu_count() or 1
        psutil.cpu_percent(None)
        self._before: dict[str, tuple[float, float]] = {}
        self._slow: tuple[float, Any, Any] = (-math.inf, None, None)

    def sample(self) -> HostLoad:
        """The load now."""
        memory = self._psutil.virtual_memory()
        disk, swap = self._slowly()
        traffic = self._ask(self._psutil.disk_io_counters)
        network = self._ask(self._psutil.net_io_counters)
        load = self._ask(self._psutil.getloadavg)
        return HostLoad(
            cpu=float(self._psutil.cpu_percent(None)),
            memory_used=int(memory.total - memory.available),
            memory_total=int(memory.total),
            load=float(load[0]) if load else None,
            cores=self._cores,
            swap_used=int(swap.used) if swap is not None else None,
            disk_used=int(disk.used) if disk is not None else None,
            disk_total=int(disk.total) if disk is not None else None,
            disk_free=int(disk.free) if disk is not None else None,
            disk_read=self._rate("read", traffic and traffic.read_bytes),
            disk_written=self._rate("written", traffic and traffic.write_bytes),
            received=self._rate("received", network and network.bytes_recv),
            sent=self._rate("sent", network and network.bytes_sent),
        )

    def _slowly(self) -> tuple[Any, Any]:
        """Disk and swap space, which change slowly: asked every few seconds."""
        at, disk, swap = self._slow
        if time.monotonic() - at >= _SLOW_SECONDS:
            disk = self._ask(lambda: self._psutil.disk_usage(str(self._folder)))
            swap = self._ask(self._psutil.swap_memory)
            self._slow = (time.monotonic(), disk, swap)
        return disk, swap

    def _rate(self, name: str, count: int | None) -> float | None:
        """What was added to a counter since the last look, each second."""
        if count is None:
            return None
        now = time.monotonic()
        before = self._before.get(name)
        self._before[name] = (now, float(count))
        if before is None or now <= before[0]:
            return None
        return max(0.0, count - before[1]) / (now - before[0])

    @staticmethod
    def _ask(call: Any) -> Any:
        """A value, or none where this system or this container does not tell it."""
        try:
            return call()
        except (OSError, RuntimeError, AttributeError, NotImplementedError):
            return None
