"""AMD GPUs through AMD's library, where it is installed with the driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llmops_tui.hardware.gpu_source import Retry, ask, believed
from llmops_tui.hardware.gpus import Gpu, GpuProcess, GpuView

_AGAIN = "The query is retried."
_NO_SHORT = 2**16 - 1
_NONE = GpuView(state="none", cause="No AMD driver is installed")


class AmdSource:
    """``amdsmi``, which comes with ROCm. ``library`` is the module, for tests a fake."""

    def __init__(self, library: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._library = library
        self._retry = Retry(clock)
        self._missing = False
        self._ready = False
        # The GPUs as they were last seen, in their places, and the trouble they are in since.
        self._known: list[Gpu] = []
        self._view = _NONE

    def inspect(self, *, processes: bool = False) -> GpuView:
        """All GPUs now; none where there is no library."""
        if self._missing:
            return _NONE
        if not self._ready and self._retry.waits:
            return replace(self._view, retry_in=self._retry.waits)
        try:
            self._open()
            gpus = [self._gpu(handle, processes=processes) for handle in self._library.amdsmi_get_processor_handles()]
        except Exception as error:  # noqa: BLE001  the library's errors share no base that may be imported here
            return self._failed(error)
        self._retry.worked()
        self._place(gpus)
        return GpuView(tuple(self._known))

    def inspect_slowly(self) -> None:
        """Nothing here is slow."""

    def close(self) -> None:
        """Shut the library down."""
        if self._ready:
            ask(self._library.amdsmi_shut_down)
        self._ready = False

    def _open(self) -> None:
        if not self._ready:
            if self._library is None:
                import amdsmi  # type: ignore[import-not-found]

                self._library = amdsmi
            self._library.amdsmi_init()
            self._ready = True

    def _failed(self, error: Exception) -> GpuView:
        if not self._known and not self._ready and isinstance(error, (ImportError, KeyError, OSError)):
            # The package without ROCm's library beside it fails so when it is imported.
            self._missing = True
            return _NONE
        self.close()
        known = tuple(replace(gpu, trouble="trouble", remedy=_AGAIN) for gpu in map(_silent, self._known))
        self._view = GpuView(known, "trouble", f"AMD's library failed: {error}", _AGAIN, self._retry.failed())
        return self._view

    def _place(self, gpus: list[Gpu]) -> None:
        """Put each where it was before; one that is not listed any more is gone, and not nothing."""
        places = {gpu.uuid: place for place, gpu in enumerate(self._known) if gpu.uuid}
        now: dict[int, Gpu] = {}
        for number, gpu in enumerate(gpus):
            there = self._known[number] if number < len(self._known) else None
            if there is not None and not gpu.uuid:
                # One that says not even who it is can only be the one that was there.
                now[number] = replace(gpu, name=there.name, uuid=there.uuid)
            else:
                now[places.get(gpu.uuid, number if there is None or not there.uuid else len(self._known) + number)] = (
                    gpu
                )
        for place, gpu in enumerate(self._known):
            now.setdefault(place, replace(_silent(gpu), trouble="gone", remedy="Check dmesg, power and seat."))
        self._known = [replace(now[place], index=index) for index, place in enumerate(sorted(now))]

    def _gpu(self, handle: Any, *, processes: bool) -> Gpu:
        library = self._library
        asic = self._ask("amdsmi_get_gpu_asic_info", handle) or {}
        activity = self._ask("amdsmi_get_gpu_activity", handle) or {}
        memory = self._ask("amdsmi_get_gpu_vram_usage", handle) or {}
        power = self._ask("amdsmi_get_power_info", handle) or {}
        uuid = str(self._ask("amdsmi_get_gpu_device_uuid", handle) or "")
        name = str(asic.get("market_name") or "AMD GPU")
        if not activity and not memory and not power:
            return Gpu(0, name, uuid, trouble="no answer", remedy=f"Check dmesg. {_AGAIN}")
        found = (self._ask("amdsmi_get_gpu_process_list", handle) or ()) if processes else ()
        heat = ask(
            lambda: library.amdsmi_get_temp_metric(
                handle, library.AmdSmiTemperatureType.EDGE, library.AmdSmiTemperatureMetric.CURRENT
            )
        )
        return Gpu(
            index=0,
            name=name,
            uuid=uuid,
            utilisation=believed(activity.get("gfx_activity"), 0, 100),
            bandwidth=believed(activity.get("umc_activity"), 0, 100),
            memory_used=_bytes(memory.get("vram_used")),
            memory_total=_bytes(memory.get("vram_total")),
            power=_watts(power.get("average_socket_power")) or _watts(power.get("current_socket_power")),
            power_limit=_watts(power.get("power_limit")),
            temperature=believed(heat, -60, 200),
            processes=tuple(
                GpuProcess(int(p["pid"]), int(p.get("memory_usage", {}).get("vram_mem", 0)) or None) for p in found
            ),
        )

    def _ask(self, name: str, handle: Any) -> Any:
        """What a function of the library tells; none where it fails, or this release has no such function."""
        return ask(lambda: getattr(self._library, name)(handle))


def _silent(gpu: Gpu) -> Gpu:
    """A GPU of which nothing is known but which it is."""
    return Gpu(gpu.index, gpu.name, gpu.uuid)


def _watts(value: Any) -> float | None:
    """Watts; some releases of the library tell microwatts, and 65,535 for none."""
    told = believed(value)
    if told is None or told == _NO_SHORT:
        return None
    return told * 1e-6 if told > 1e5 else told


def _bytes(megabytes: Any) -> int | None:
    told = believed(megabytes)
    return None if told is None else int(told * 1024 * 1024)
