"""Record what NVML says each second, in the form that the tests replay: ``python tools/record_nvml.py FILE [SECONDS]``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pynvml

# Calls with what comes after the handle, by the name under which the answer is kept.
CALLS: dict[str, tuple[str, tuple[int, ...]]] = {
    "name": ("nvmlDeviceGetName", ()), "uuid": ("nvmlDeviceGetUUID", ()), "power": ("nvmlDeviceGetPowerUsage", ()),
    "power_limit": ("nvmlDeviceGetEnforcedPowerLimit", ()), "energy": ("nvmlDeviceGetTotalEnergyConsumption", ()),
    "temperature": ("nvmlDeviceGetTemperature", (0,)), "fan": ("nvmlDeviceGetFanSpeed", ()),
    "clock": ("nvmlDeviceGetClockInfo", (1,)), "clock_limit": ("nvmlDeviceGetMaxClockInfo", (1,)),
    "memory_clock": ("nvmlDeviceGetClockInfo", (2,)), "memory_clock_limit": ("nvmlDeviceGetMaxClockInfo", (2,)),
    "bus_width": ("nvmlDeviceGetMemoryBusWidth", ()), "reasons": ("nvmlDeviceGetCurrentClocksEventReasons", ()),
    "received": ("nvmlDeviceGetPcieThroughput", (1,)), "sent": ("nvmlDeviceGetPcieThroughput", (0,)),
    "generation": ("nvmlDeviceGetCurrPcieLinkGeneration", ()), "width": ("nvmlDeviceGetCurrPcieLinkWidth", ()),
    "ecc_corrected": ("nvmlDeviceGetTotalEccErrors", (0, 0)), "ecc_uncorrected": ("nvmlDeviceGetTotalEccErrors", (1, 0)),
}  # fmt: skip


def ask(call: Any, *arguments: Any) -> Any:
    """A plain value, or the name of the error that came instead."""
    try:
        value = call(*arguments)
    except pynvml.NVMLError as error:
        return {"error": type(error).__name__.removeprefix("NVMLError_")}
    return value.decode() if isinstance(value, bytes) else value


def frame() -> list[dict[str, Any]]:
    """All GPUs now."""
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        gpu = {key: ask(getattr(pynvml, name), handle, *rest) for key, (name, rest) in CALLS.items()}
        rates = ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
        gpu["rates"] = rates if isinstance(rates, dict) else [rates.gpu, rates.memory]
        memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
        gpu["memory"] = memory if isinstance(memory, dict) else [memory.used, memory.total, memory.reserved]
        processes = ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
        gpu["processes"] = processes if isinstance(processes, dict) else [[p.pid, p.usedGpuMemory] for p in processes]
        found.append(gpu)
    return found


def main() -> None:
    """Record for so many seconds."""
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    pynvml.nvmlInit()
    with Path(sys.argv[1]).open("w", encoding="utf-8") as file:
        for _ in range(seconds):
            file.write(json.dumps({"at": time.time(), "gpus": frame()}) + "\n")
            time.sleep(1.0)
    pynvml.nvmlShutdown()


if __name__ == "__main__":
    main()
