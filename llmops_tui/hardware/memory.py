"""How much memory a device has, how much is free, and which processes hold the rest."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "host"


@dataclass(frozen=True)
class DeviceMemory:
    """One device's memory in bytes. ``by_process`` is what processes hold that cannot be taken back from them."""

    device: str
    total: int
    free: int
    by_process: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)


def devices() -> list[str]:
    """The devices a model can be loaded to: GPUs as ``gpu0``, and the host."""
    nvml = _nvml()
    count = int(nvml.nvmlDeviceGetCount()) if nvml is not None else 0
    return [*(f"gpu{n}" for n in range(count)), HOST]


def measure(device: str) -> DeviceMemory:
    """The memory of one device now."""
    return _measure_host() if device == HOST else _measure_gpu(device)


def _measure_host() -> DeviceMemory:
    import psutil

    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    limit, used = _control_group()
    if limit is not None and limit < total:
        total, free = limit, min(free, limit - used)
    held: dict[int, int] = {}
    names: dict[int, str] = {}
    for process in psutil.process_iter(["pid", "name", "memory_info"]):
        info: Any = process.info["memory_info"]
        if info is not None:
            # Pages of mapped files are the kernel's to take back; they count as free already.
            held[process.pid] = max(0, int(info.rss - getattr(info, "shared", 0)))
            names[process.pid] = str(process.info["name"])
    return DeviceMemory(HOST, total, max(0, free), held, names)


def _control_group() -> tuple[int | None, int]:
    """The memory limit of our control group and what is used of it, the reclaimable cache left out."""
    base = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = (base / "memory.max").read_text().strip()
        if limit != "max":
            used = int((base / "memory.current").read_text())
            stat = dict(line.split() for line in (base / "memory.stat").read_text().splitlines())
            return int(limit), max(0, used - int(stat.get("inactive_file", 0)) - int(stat.get("active_file", 0)))
    return None, 0


def _measure_gpu(device: str) -> DeviceMemory:
    import psutil

    nvml = _nvml()
    handle = nvml.nvmlDeviceGetHandleByIndex(int(device.removeprefix("gpu")))
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    held: dict[int, int] = {}
    names: dict[int, str] = {}
    with contextlib.suppress(Exception):
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
            held[int(process.pid)] = int(process.usedGpuMemory or 0)
            with contextlib.suppress(psutil.Error):
                names[int(process.pid)] = psutil.Process(process.pid).name()
    return DeviceMemory(device, int(memory.total), int(memory.free), held, names)


def _nvml() -> Any:
    """NVML, where there is a driver; it is made ready once and stays so."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  NVML's errors share no useful base; without a driver there are no GPUs
        return None
    return pynvml


def process_tree(pid: int) -> set[int]:
    """A process and all that descend from it."""
    import psutil

    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        return {pid}
