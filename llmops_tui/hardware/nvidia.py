"""NVIDIA GPUs through NVML: each of its errors becomes a state with a cause and a remedy, and is tried again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llmops_tui.hardware.gpu_source import Retry, ask, believed
from llmops_tui.hardware.gpus import Gpu, GpuLink, GpuProcess, GpuView
from llmops_tui.hardware.nvidia_cards import Card, ask_memory, find_cards, instances_of, kind_of, memory_of, trouble_of
from llmops_tui.hardware.nvidia_events import XidEvents

# A single value that is not supported is missing; these say that the whole GPU, or the driver, is in trouble.
_FATAL = {
    "GpuIsLost", "ResetRequired", "IrqIssue", "Uninitialized", "DriverNotLoaded", "LibRmVersionMismatch", "Timeout",
    "OperatingSystem", "InsufficientPower", "Unknown",
}  # fmt: skip
_REASONS = (
    (0x0000000000000004, "power"), (0x0000000000000008, "hardware slowdown"), (0x0000000000000010, "sync boost"),
    (0x0000000000000020, "heat"), (0x0000000000000040, "hardware heat"), (0x0000000000000080, "power brake"),
    (0x0000000000000002, "clocks set"), (0x0000000000000100, "display"),
)  # fmt: skip
_PROCESS_WINDOW_US = 1_000_000
_COLDEST, _HOTTEST = -60.0, 200.0


class NvidiaSource:
    """NVML, made ready when first asked and again after it failed. ``nvml`` is the module, for tests a fake."""

    def __init__(self, nvml: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml = nvml
        self._retry = Retry(clock)
        # Of single GPUs that cannot be asked, while the others are.
        self._lost = Retry(clock)
        self._view = GpuView(state="none")
        self._ready = False
        self._cards: list[Card] = []
        self._links: dict[int, GpuLink] = {}
        self._xids = XidEvents()
        self._lock = threading.Lock()

    def look(self, *, processes: bool = False) -> GpuView:
        """All GPUs now, or the trouble; asks the driver again only when the wait after a failure is over."""
        with self._lock:
            if not self._ready and self._retry.waits:
                return self._waiting()
            try:
                if not self._ready:
                    self._open()
                elif any(card.handle is None for card in self._cards) and not self._lost.waits:
                    self._find()
                gpus = tuple(self._gpu(index, processes=processes) for index in range(len(self._cards)))
            except Exception as error:  # noqa: BLE001  NVML's errors share no useful base, and none may stop the app
                return self._failed(error)
            lost = min((gpu for gpu in gpus if gpu.trouble), key=lambda gpu: gpu.foreign, default=None)
            if lost is not None and all(gpu.trouble for gpu in gpus):
                # The library has to be made ready anew before a GPU that came back is seen.
                self._shut()
                self._view = GpuView(gpus, lost.trouble, lost.name, lost.remedy, self._retry.failed())
                return self._view
            self._retry.worked()
            return GpuView(gpus) if gpus else GpuView(state="none", cause="No NVIDIA GPU was found")

    def look_slowly(self) -> None:
        """PCIe traffic (each question blocks for 20 ms), memory errors, critical errors."""
        nvml, cards = self._nvml, list(self._cards)
        if not self._ready:
            return
        xids = self._xids
        xids.read(nvml, cards)
        for index, card in enumerate(cards):
            known = {"xid": xids.last.get(index), "fault": xids.fault.get(index), "xids": xids.faults.get(index)}
            if card.handle is None:
                # What it counted last is all that is known of it; what flows is not known.
                self._links[index] = replace(self._links.get(index, GpuLink()), received=None, sent=None, **known)
                continue
            handle = card.handle
            received = _whole(
                ask(nvml.nvmlDeviceGetPcieThroughput, handle, getattr(nvml, "NVML_PCIE_UTIL_RX_BYTES", 1))
            )
            sent = _whole(ask(nvml.nvmlDeviceGetPcieThroughput, handle, getattr(nvml, "NVML_PCIE_UTIL_TX_BYTES", 0)))
            self._links[index] = GpuLink(
                received=received * 1024.0 if received is not None else None,
                sent=sent * 1024.0 if sent is not None else None,
                generation=_whole(ask(nvml.nvmlDeviceGetCurrPcieLinkGeneration, handle)),
                width=_whole(ask(nvml.nvmlDeviceGetCurrPcieLinkWidth, handle)),
                ecc_corrected=_whole(ask(nvml.nvmlDeviceGetTotalEccErrors, handle, 0, 0)),
                ecc_uncorrected=_whole(ask(nvml.nvmlDeviceGetTotalEccErrors, handle, 1, 0)),
                **known,
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
        self._find()

    def _find(self) -> None:
        """Find the GPUs, those known before where they were."""
        self._cards = find_cards(self._nvml, self._cards)
        if any(card.handle is None for card in self._cards):
            self._lost.failed()
        else:
            self._lost.worked()

    def _shut(self) -> None:
        if self._ready:
            self._xids.close(self._nvml)
            ask(self._nvml.nvmlShutdown)
        self._ready = False

    def _failed(self, error: Exception) -> GpuView:
        self._shut()
        state, cause, remedy = trouble_of(error)
        if isinstance(error, ImportError):
            state, cause, remedy = "none", "nvidia-ml-py is not installed", "pip install nvidia-ml-py"
        # GPUs that were there before are not nothing now.
        known = tuple(
            replace(card, trouble=state, remedy=remedy).silent(index) for index, card in enumerate(self._cards)
        )
        self._view = GpuView(known, state, cause, remedy, self._retry.failed())
        return self._view

    def _waiting(self) -> GpuView:
        view = self._view
        return GpuView(view.gpus, view.state, view.cause, view.remedy, self._retry.waits)

    def _gpu(self, index: int, *, processes: bool) -> Gpu:
        nvml, card = self._nvml, self._cards[index]
        handle = card.handle
        link = self._links.get(index, GpuLink())
        if handle is None:
            return replace(card.silent(index), link=link)
        try:
            memory = ask_memory(nvml, handle)
        except Exception as error:  # noqa: BLE001  what kind it is decides below
            if kind_of(error) in _FATAL:
                state, _, remedy = trouble_of(error)
                return replace(card.silent(index), trouble=state, remedy=remedy, link=link)
            memory = None
        used, total = memory_of(memory)
        rates = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        reasons = believed(ask(nvml.nvmlDeviceGetCurrentClocksEventReasons, handle))
        return Gpu(
            index=index,
            name=card.name,
            uuid=card.uuid,
            utilisation=_percent(getattr(rates, "gpu", None)),
            bandwidth=_percent(getattr(rates, "memory", None)),
            memory_used=used,
            memory_total=total,
            power=_scaled(ask(nvml.nvmlDeviceGetPowerUsage, handle), 1e-3, 1e7),
            power_limit=_scaled(ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle), 1e-3, 1e7),
            energy=_scaled(ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle), 1e-3),
            temperature=believed(ask(nvml.nvmlDeviceGetTemperature, handle, 0), _COLDEST, _HOTTEST),
            fan=_percent(ask(nvml.nvmlDeviceGetFanSpeed, handle)),
            clock=_scaled(ask(nvml.nvmlDeviceGetClockInfo, handle, 1), 1.0, 1e5),
            clock_limit=_scaled(ask(nvml.nvmlDeviceGetMaxClockInfo, handle, 1), 1.0, 1e5),
            memory_clock=_scaled(ask(nvml.nvmlDeviceGetClockInfo, handle, 2), 1.0, 1e5),
            bandwidth_limit=card.bandwidth,
            throttled=None if reasons is None else tuple(word for bit, word in _REASONS if int(reasons) & bit),
            link=link,
            processes=self._processes(handle) if processes else (),
            instances=instances_of(nvml, handle),
        )

    def _processes(self, handle: Any) -> tuple[GpuProcess, ...]:
        nvml = self._nvml
        memory: dict[int, int | None] = {}
        for call in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
            for found in ask(call, handle) or ():
                memory[int(found.pid)] = _whole(found.usedGpuMemory)
        since = int(time.time() * 1e6) - _PROCESS_WINDOW_US
        shares: dict[int, float] = {}
        for sample in ask(nvml.nvmlDeviceGetProcessUtilization, handle, since) or ():
            share = _percent(sample.smUtil)
            if share is not None:
                shares[int(sample.pid)] = share
        return tuple(GpuProcess(pid, used, shares.get(pid)) for pid, used in sorted(memory.items()))


def _scaled(value: Any, factor: float, high: float = math.inf) -> float | None:
    told = believed(value, 0, high)
    return None if told is None else told * factor


def _whole(value: Any) -> int | None:
    told = believed(value)
    return None if told is None else int(told)


def _percent(value: Any) -> float | None:
    """A share in percent; drivers have been seen to tell 991."""
    return believed(value, 0, 100)
