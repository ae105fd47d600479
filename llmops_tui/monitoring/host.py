"""Load of this machine: CPU, memory, and NVIDIA GPUs where there are any. Missing values are None, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GpuLoad:
    """One GPU at one moment. Utilisation in percent, memory in bytes."""

    index: int
    name: str
    utilisation: float | None
    memory_used: int | None
    memory_total: int | None


@dataclass(frozen=True)
class HostLoad:
    """The machine at one moment. CPU in percent of all cores, memory in bytes."""

    cpu: float
    memory_used: int
    memory_total: int
    gpus: tuple[GpuLoad, ...]


class HostSampler:
    """Samples the machine; the first sample of CPU load covers the time since this object was made."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        psutil.cpu_percent(None)
        self.gpu_problem = ""
        self._nvml = self._open_nvml()

    def sample(self) -> HostLoad:
        """The load now."""
        memory = self._psutil.virtual_memory()
        return HostLoad(
            cpu=float(self._psutil.cpu_percent(None)),
            memory_used=int(memory.total - memory.available),
            memory_total=int(memory.total),
            gpus=self._gpus(),
        )

    def _open_nvml(self) -> Any:
        try:
            import pynvml

            pynvml.nvmlInit()
        except ImportError as error:
            self.gpu_problem = str(error)
        except Exception as error:  # noqa: BLE001  NVML's errors share no useful base, and none may stop the app
            self.gpu_problem = str(error)
        else:
            return pynvml
        return None

    def _gpus(self) -> tuple[GpuLoad, ...]:
        nvml = self._nvml
        if nvml is None:
            return ()
        found = []
        for index in range(_ask(nvml.nvmlDeviceGetCount) or 0):
            handle = _ask(nvml.nvmlDeviceGetHandleByIndex, index)
            if handle is None:
                continue
            name = _ask(nvml.nvmlDeviceGetName, handle) or "GPU"
            rates = _ask(nvml.nvmlDeviceGetUtilizationRates, handle)
            memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle)
            found.append(
                GpuLoad(
                    index=index,
                    name=name if isinstance(name, str) else bytes(name).decode("utf-8", "replace"),
                    utilisation=float(rates.gpu) if rates is not None else None,
                    memory_used=int(memory.used) if memory is not None else None,
                    memory_total=int(memory.total) if memory is not None else None,
                )
            )
        return tuple(found)


def _ask(call: Any, *arguments: Any) -> Any:
    """A value of NVML, or none where the driver does not give it."""
    try:
        return call(*arguments)
    except Exception:  # noqa: BLE001  every NVML call may fail in its own way; a missing value is the answer
        return None
