"""Whether a model that is not downloaded yet would fit, estimated from its weights."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.hardware import memory
from llmops_tui.inference.device_placement import usable_gpus
from llmops_tui.inference.memory_reservation import ledger
from llmops_tui.models.memory import PROCESS_BYTES


@dataclass(frozen=True)
class Room:
    """The memory that can be taken now, in bytes, on the GPU with most room, where there is one, and on the host."""

    device: str
    on_device: int
    on_host: int

    def fits(self, size: int) -> bool:
        """Whether weights of so many bytes fit somewhere."""
        return self.verdict(size) != "too large"

    def verdict(self, size: int) -> str:
        """Where weights of so many bytes fit: on the device, on the host, or nowhere."""
        if self.device != memory.HOST and size <= self.on_device:
            return f"fits on {self.device}"
        if size + PROCESS_BYTES <= self.on_host:
            return "fits" if self.device == memory.HOST else "fits on the host"
        return "too large"

    def text(self) -> str:
        """What is free, for people."""
        free = [(memory.HOST, self.on_host)]
        free += [(self.device, self.on_device)] if self.device != memory.HOST else []
        return ", ".join(f"{size / 1e9:.1f} GB free on {device}" for device, size in reversed(free))


def room() -> Room:
    """The room there is now. Looks at devices, so not for the thread that draws."""
    connection = ledger()
    on_host = connection.available(memory.HOST)
    free = {gpu.name: connection.available(gpu.name) for gpu in usable_gpus() if gpu.answers}
    device = max(free, key=lambda name: free[name], default=memory.HOST)
    return Room(device, free.get(device, on_host), on_host)
