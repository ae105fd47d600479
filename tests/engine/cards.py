"""A machine's GPUs as NVML tells of them, for tests: none of this was seen on a real card."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

from llmops_tui.hardware.cuda_devices import CudaDevice, cuda_devices
from llmops_tui.hardware.memory import HOST, DeviceMemory
from llmops_tui.jobs.leases import MemoryLedger


@dataclass
class Card:
    """One GPU; ``instances`` are the bytes of its MIG instances, where it is cut up."""

    total: int = 24_000_000_000
    used: int = 0
    lost: bool = False
    instances: list[int] = field(default_factory=list)


class Cards:
    """As much of NVML as is asked for GPUs to load models to, in the order of the bus."""

    def __init__(self, count: int = 1, **each: Any) -> None:
        self.cards = [Card(**each) for _ in range(count)]
        self.environment: dict[str, str] = {}

    def devices(self) -> list[CudaDevice]:
        return cuda_devices(self, self.environment)

    def ledger(self, folder: Path) -> MemoryLedger:
        return MemoryLedger(folder / "user", self.measure, lambda pid: {pid})

    def measure(self, device: str) -> DeviceMemory:
        if device == HOST:
            return DeviceMemory(HOST, 64_000_000_000, 64_000_000_000)
        found = next(d for d in self.devices() if d.name == device)
        memory = self.nvmlDeviceGetMemoryInfo(found.handle)
        return DeviceMemory(device, memory.total, memory.free)

    def nvmlInit(self) -> None: ...  # noqa: N802  NVML's names

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> tuple[int, int]:  # noqa: N802
        if self.cards[index].lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return (index, -1)

    def nvmlDeviceGetUUID(self, handle: tuple[int, int]) -> str:  # noqa: N802
        index, place = handle
        return f"GPU-{index}aaa-bbbb" if place < 0 else f"MIG-{index}{place}cc-dddd"

    def nvmlDeviceGetMigMode(self, handle: tuple[int, int]) -> tuple[int, int]:  # noqa: N802
        on = int(bool(self.cards[handle[0]].instances))
        return (on, on)

    def nvmlDeviceGetMaxMigDeviceCount(self, _handle: tuple[int, int]) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: tuple[int, int], place: int) -> tuple[int, int]:  # noqa: N802
        if place >= len(self.cards[handle[0]].instances):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return (handle[0], place)

    def nvmlDeviceGetMemoryInfo(self, handle: tuple[int, int]) -> Any:  # noqa: N802
        card = self.cards[handle[0]]
        if card.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        total = card.total if handle[1] < 0 else card.instances[handle[1]]
        return SimpleNamespace(total=total, free=total - card.used, used=card.used)

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: tuple[int, int]) -> list[Any]:  # noqa: N802
        return []
