"""AMD GPUs through AMD's own library, where it is installed with the driver; nothing where it is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from llmops_tui.hardware.gpus import Gpu, GpuProcess, GpuView, Retry, ask

_NONE = GpuView(state="none", cause="No AMD driver is installed")


class AmdSource:
    """``amdsmi``, which comes with ROCm. ``library`` is the module, for tests a fake."""

    def __init__(self, library: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._library = library
        self._retry = Retry(clock)
        self._missing = False
        self._ready = False

    def look(self, *, processes: bool = False) -> GpuView:
        """All GPUs now; none where there is no library."""
        if self._missing or (not self._ready and self._retry.waits):
            return _NONE
        try:
            if not self._ready:
                if self._library is None:
                    import amdsmi  # type: ignore[import-not-found]

                    self._library = amdsmi
                self._library.amdsmi_init()
                self._ready = True
            handles = self._library.amdsmi_get_processor_handles()
            return GpuView(tuple(self._gpu(n, handle, processes=processes) for n, handle in enumerate(handles)))
        except (ImportError, KeyError, OSError):
            # The package without ROCm's library beside it fails so when it is imported.
            self._missing = True
            return _NONE
        except Exception as error:  # noqa: BLE001  the library's errors share no base that may be imported here
            self.close()
            return GpuView((), "trouble", f"AMD's library failed: {error}", "It is asked again.", self._retry.failed())

    def look_slowly(self) -> None:
        """Nothing here is slow."""

    def close(self) -> None:
        """Shut the library down."""
        if self._ready:
            ask(self._library.amdsmi_shut_down)
        self._ready = False

    def _gpu(self, index: int, handle: Any, *, processes: bool) -> Gpu:
        library = self._library
        asic = ask(library.amdsmi_get_gpu_asic_info, handle) or {}
        activity = ask(library.amdsmi_get_gpu_activity, handle) or {}
        memory = ask(library.amdsmi_get_gpu_vram_usage, handle) or {}
        power = ask(library.amdsmi_get_power_info, handle) or {}
        found = (ask(library.amdsmi_get_gpu_process_list, handle) or ()) if processes else ()
        heat = ask(
            library.amdsmi_get_temp_metric, handle, library.AmdSmiTemperatureType.EDGE,
            library.AmdSmiTemperatureMetric.CURRENT,
        )  # fmt: skip
        return Gpu(
            index=index,
            name=str(asic.get("market_name") or "AMD GPU"),
            uuid=str(ask(library.amdsmi_get_gpu_device_uuid, handle) or ""),
            utilisation=_number(activity.get("gfx_activity")),
            bandwidth=_number(activity.get("umc_activity")),
            memory_used=_bytes(memory.get("vram_used")),
            memory_total=_bytes(memory.get("vram_total")),
            power=_number(power.get("average_socket_power")) or _number(power.get("current_socket_power")),
            power_limit=_watts(power.get("power_limit")),
            temperature=_number(heat),
            processes=tuple(
                GpuProcess(int(p["pid"]), int(p.get("memory_usage", {}).get("vram_mem", 0)) or None) for p in found
            ),
        )


def _number(value: Any) -> float | None:
    """A number; the library says ``N/A`` where it has none."""
    return float(value) if isinstance(value, (int, float)) else None


def _watts(value: Any) -> float | None:
    """Watts; some releases of the library tell microwatts."""
    number = _number(value)
    return number * 1e-6 if number is not None and number > 1e5 else number


def _bytes(megabytes: Any) -> int | None:
    number = _number(megabytes)
    return None if number is None else int(number * 1024 * 1024)
