"""How much memory a device has, how much is free, and which processes hold the rest."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_tui.hardware.cuda_devices import cuda_devices, open_nvml
from llmops_tui.hardware.gpu_source import ask

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
    """The devices a model can be loaded to: GPUs as ``gpu0``, and the host. A GPU that does not answer is left out."""
    return [*(device.name for device in cuda_devices()), HOST]


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


def _measure_gpu(name: str) -> DeviceMemory:
    import psutil

    nvml = open_nvml()
    device = next((d for d in cuda_devices(nvml) if d.name == name), None)
    memory = None if device is None else ask(nvml.nvmlDeviceGetMemoryInfo, device.handle)
    if device is None or memory is None:
        # It fell off the bus since it was listed: there is nothing to be had of it.
        return DeviceMemory(name, 0, 0)
    held: dict[int, int] = {}
    names: dict[int, str] = {}
    for process in ask(nvml.nvmlDeviceGetComputeRunningProcesses, device.handle) or ():
        held[int(process.pid)] = int(process.usedGpuMemory or 0)
        with contextlib.suppress(psutil.Error):
            names[int(process.pid)] = psutil.Process(process.pid).name()
    return DeviceMemory(name, int(memory.total), int(memory.free), held, names)


def process_tree(pid: int) -> set[int]:
    """A process and all that descend from it."""
    import psutil

    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        return {pid}
