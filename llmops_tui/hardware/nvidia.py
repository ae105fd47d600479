"""NVIDIA GPUs through NVML: each of its errors becomes a state with a cause and a remedy, and is tried again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from llmops_tui.hardware.gpus import Gpu, GpuLink, GpuProcess, GpuView, Retry, ask

_REBOOT = "Load the driver again (sudo nvidia-smi -r), or restart the machine."
# By the name of NVML's error: state, cause, remedy. The names are those of nvidia-ml-py's exceptions.
_STATES = {
    "LibraryNotFound": ("none", "No NVIDIA driver is installed", "Install the driver where there is an NVIDIA GPU."),
    "DriverNotLoaded": ("driver not loaded", "The NVIDIA driver is installed but not loaded", "sudo modprobe nvidia"),
    "LibRmVersionMismatch": (
        "driver mismatch", "The driver was updated under the running kernel module",
        "Restart the machine, or unload and load the module: sudo rmmod nvidia && sudo modprobe nvidia.",
    ),
    "GpuIsLost": ("gpu lost", "The GPU fell off the bus", "Look for an Xid in dmesg; restart; check power and seat."),
    "ResetRequired": ("reset required", "The GPU must be reset before it can be used again", "sudo nvidia-smi --gpu-reset"),
    "NoPermission": ("no permission", "This user may not ask the driver", "Join the group video or render."),
    "InsufficientPower": ("no power", "A power cable of the GPU is not connected", "Shut down and check the power cables."),
    "IrqIssue": ("interrupt trouble", "The kernel found an interrupt issue with the GPU", _REBOOT),
    "OperatingSystem": ("blocked", "The system or the container blocks the GPU", "Start it with --gpus all."),
    "CorruptedInforom": ("damaged inforom", "The GPU's record of itself is damaged", "Reset the GPU, or replace it."),
    "GpuNotFound": ("none", "No NVIDIA GPU was found", "Is it seated, powered and visible in lspci?"),
    "Timeout": ("no answer", "The driver did not answer in time", "A hung GPU: look at dmesg. It is asked again."),
    "InUse": ("in use", "Another process holds the GPU for itself", "It is asked again when that process is done."),
    "Memory": ("out of memory", "The driver had no memory to answer", "Free host memory. It is asked again."),
    "Uninitialized": ("not ready", "The driver's library was not ready", "It is made ready again."),
    "FunctionNotFound": ("old driver", "The driver is older than this library and lacks a function", "Update the driver."),
}  # fmt: skip
# A single value that is not supported is missing; these say that the whole GPU, or the driver, is in trouble.
_FATAL = {
    "GpuIsLost", "ResetRequired", "IrqIssue", "Uninitialized", "DriverNotLoaded", "LibRmVersionMismatch", "Timeout",
    "OperatingSystem", "InsufficientPower",
}  # fmt: skip
_REASONS = (
    (0x0000000000000004, "power"), (0x0000000000000008, "hardware slowdown"), (0x0000000000000010, "sync boost"),
    (0x0000000000000020, "heat"), (0x0000000000000040, "hardware heat"), (0x0000000000000080, "power brake"),
    (0x0000000000000002, "clocks set"), (0x0000000000000100, "display"),
)  # fmt: skip
_PROCESS_WINDOW_US = 1_000_000
_XID_EVENT = 0x8


class NvidiaSource:
    """NVML, made ready when first asked and again after it failed. ``nvml`` is the module, for tests a fake."""

    def __init__(self, nvml: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml = nvml
        self._retry = Retry(clock)
        self._view = GpuView(state="none")
        self._ready = False
        self._handles: list[Any] = []
        self._names: list[tuple[str, str]] = []
        self._limits: list[float | None] = []
        self._links: dict[int, GpuLink] = {}
        self._events: Any = None
        self._lock = threading.Lock()

    def look(self, *, processes: bool = False) -> GpuView:
        """All GPUs now, or the trouble; asks the driver again only when the wait after a failure is over."""
        with self._lock:
            if not self._ready and self._retry.waits:
                return self._waiting()
            try:
                if not self._ready:
                    self._open()
                gpus = tuple(self._gpu(index, processes=processes) for index in range(len(self._handles)))
            except Exception as error:  # noqa: BLE001  NVML's errors share no useful base, and none may stop the app
                return self._failed(error)
            lost = next((gpu for gpu in gpus if gpu.trouble), None)
            if lost is not None and all(gpu.trouble for gpu in gpus):
                # The library has to be made ready anew before a GPU that came back is seen.
                self._shut()
                self._view = GpuView(gpus, lost.trouble, lost.name, lost.remedy, self._retry.failed())
                return self._view
            self._retry.worked()
            return GpuView(gpus) if gpus else GpuView(state="none", cause="No NVIDIA GPU was found")

    def look_slowly(self) -> None:
        """PCIe traffic (each question blocks for 20 ms), memory errors, critical errors."""
        nvml, handles = self._nvml, list(self._handles)
        if not self._ready:
            return
        xids = self._new_xids()
        for index, handle in enumerate(handles):
            received = ask(nvml.nvmlDeviceGetPcieThroughput, handle, getattr(nvml, "NVML_PCIE_UTIL_RX_BYTES", 1))
            sent = ask(nvml.nvmlDeviceGetPcieThroughput, handle, getattr(nvml, "NVML_PCIE_UTIL_TX_BYTES", 0))
            before = self._links.get(index, GpuLink())
            self._links[index] = GpuLink(
                received=received * 1024.0 if received is not None else None,
                sent=sent * 1024.0 if sent is not None else None,
                generation=ask(nvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
                width=ask(nvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
                ecc_corrected=ask(nvml.nvmlDeviceGetTotalEccErrors, handle, 0, 0),
                ecc_uncorrected=ask(nvml.nvmlDeviceGetTotalEccErrors, handle, 1, 0),
                xid=xids.get(index, before.xid),
            )

    def close(self) -> None:
        """Shut the library down."""
        with self._lock:
            self._shut()

    def _open(self) -> None:
        if self._nvml is None:
            import pynvml

            self._nvml = pynvml
        self._nvml.nvmlInit()
        self._ready = True
        self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(n) for n in range(self._nvml.nvmlDeviceGetCount())]
        self._names = [
            (_text(ask(self._nvml.nvmlDeviceGetName, h)) or "GPU", _text(ask(self._nvml.nvmlDeviceGetUUID, h)))
            for h in self._handles
        ]
        self._limits = [self._bandwidth_limit(h) for h in self._handles]

    def _shut(self) -> None:
        if self._ready:
            ask(self._nvml.nvmlShutdown)
        self._ready, self._events = False, None

    def _failed(self, error: Exception) -> GpuView:
        self._shut()
        kind = _kind(error)
        state, cause, remedy = _STATES.get(kind, ("trouble", f"NVML failed: {error}", "It is asked again."))
        if isinstance(error, ImportError):
            state, cause, remedy = "none", "nvidia-ml-py is not installed", "pip install nvidia-ml-py"
        self._view = GpuView((), state, cause, remedy, self._retry.failed())
        return self._view

    def _waiting(self) -> GpuView:
        view = self._view
        return GpuView(view.gpus, view.state, view.cause, view.remedy, self._retry.waits)

    def _gpu(self, index: int, *, processes: bool) -> Gpu:
        nvml, handle = self._nvml, self._handles[index]
        name, uuid = self._names[index]
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        except Exception as error:  # noqa: BLE001  what kind it is decides below
            kind = _kind(error)
            if kind in _FATAL:
                state, _, remedy = _STATES[kind]
                return Gpu(index, name, uuid, trouble=state, remedy=remedy)
            memory = None
        rates = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        reasons = ask(nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
        return Gpu(
            index=index,
            name=name,
            uuid=uuid,
            utilisation=_percent(getattr(rates, "gpu", None)),
            bandwidth=_percent(getattr(rates, "memory", None)),
            memory_used=getattr(memory, "used", None),
            memory_total=getattr(memory, "total", None),
            power=_scaled(ask(nvml.nvmlDeviceGetPowerUsage, handle), 1e-3),
            power_limit=_scaled(ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle), 1e-3),
            energy=_scaled(ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle), 1e-3),
            temperature=_scaled(ask(nvml.nvmlDeviceGetTemperature, handle, 0), 1.0),
            fan=_percent(ask(nvml.nvmlDeviceGetFanSpeed, handle)),
            clock=_scaled(ask(nvml.nvmlDeviceGetClockInfo, handle, 1), 1.0),
            clock_limit=_scaled(ask(nvml.nvmlDeviceGetMaxClockInfo, handle, 1), 1.0),
            memory_clock=_scaled(ask(nvml.nvmlDeviceGetClockInfo, handle, 2), 1.0),
            bandwidth_limit=self._limits[index],
            throttled=None if reasons is None else tuple(word for bit, word in _REASONS if reasons & bit),
            link=self._links.get(index, GpuLink()),
            processes=self._processes(handle) if processes else (),
        )

    def _bandwidth_limit(self, handle: Any) -> float | None:
        clock = ask(self._nvml.nvmlDeviceGetMaxClockInfo, handle, 2)
        width = ask(self._nvml.nvmlDeviceGetMemoryBusWidth, handle)
        # Two transfers a clock; the clock is in MHz, the width in bits.
        return None if not clock or not width else clock * 1e6 * 2 * width / 8

    def _processes(self, handle: Any) -> tuple[GpuProcess, ...]:
        nvml = self._nvml
        memory: dict[int, int | None] = {}
        for call in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
            for found in ask(call, handle) or ():
                memory[int(found.pid)] = found.usedGpuMemory
        since = int(time.time() * 1e6) - _PROCESS_WINDOW_US
        shares: dict[int, float] = {}
        for sample in ask(nvml.nvmlDeviceGetProcessUtilization, handle, since) or ():
            share = _percent(sample.smUtil)
            if share is not None:
                shares[int(sample.pid)] = share
        return tuple(GpuProcess(pid, used, shares.get(pid)) for pid, used in sorted(memory.items()))

    def _new_xids(self) -> dict[int, int]:
        """Critical errors since the last look, by GPU."""
        nvml, found = self._nvml, {}
        with contextlib.suppress(Exception):
            if self._events is None:
                self._events = nvml.nvmlEventSetCreate()
                for handle in self._handles:
                    ask(nvml.nvmlDeviceRegisterEvents, handle, _XID_EVENT, self._events)
            while True:
                # Without an event the wait ends in an error at once.
                event = nvml.nvmlEventSetWait_v2(self._events, 0)
                place = nvml.nvmlDeviceGetIndex(event.device)
                found[int(place)] = int(event.eventData)
        return found


def _kind(error: Exception) -> str:
    return type(error).__name__.removeprefix("NVMLError_")


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _scaled(value: Any, factor: float) -> float | None:
    return None if value is None else float(value) * factor


def _percent(value: Any) -> float | None:
    """A share in percent; drivers have been seen to tell 991."""
    return None if value is None or not 0 <= float(value) <= 100 else float(value)
