"""GPUs, driven by a session of NVML in the form it is recorded in, and by every error that it knows."""

from __future__ import annotations

import ctypes
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from llmops_tui.hardware.amd import AmdSource
from llmops_tui.hardware.gpu_sampler import GpuSampler
from llmops_tui.hardware.gpu_source import RETRY_SECONDS
from llmops_tui.hardware.gpus import Gpu, GpuLink
from llmops_tui.hardware.host import HostSampler
from llmops_tui.hardware.nvidia import NvidiaSource
from llmops_tui.hardware.processes import Ours, ProcessSampler
from llmops_tui.monitoring.occurrences import Recent, notes_of
from llmops_tui.monitoring.series import of_gpus
from tests.fakes import FakeClock, FakeNvml
from tests.representatives import representatives

ERRORS = sorted(n for n in dir(pynvml) if n.startswith("NVML_ERROR_") and isinstance(getattr(pynvml, n), int))


def source(nvml: FakeNvml, clock: FakeClock | None = None) -> NvidiaSource:
    return NvidiaSource(nvml, clock or FakeClock())


def test_a_busy_gpu_is_shown_as_the_driver_tells_it() -> None:
    nvml = FakeNvml.session()
    nvml.place = 15
    gpus = source(nvml)
    view = gpus.inspect(processes=True)
    assert view.state == "ok"
    busy, idle = view.gpus
    raw = nvml.frames[15]["gpus"][0]
    assert (busy.name, busy.utilisation, busy.bandwidth) == ("NVIDIA H200", raw["rates"][0], raw["rates"][1])
    assert (busy.memory_used, busy.memory_total) == tuple(raw["memory"])
    assert busy.power == pytest.approx(raw["power"] / 1000)
    assert busy.power_limit == 700.0
    assert busy.throttled == ("power",)
    assert idle.throttled == ()
    # 6,144 bits at 3,201 MHz, two transfers a clock: 4.9 TB/s.
    assert busy.bandwidth_limit == pytest.approx(4.917e12, rel=1e-3)
    assert [(p.pid, p.memory) for p in busy.processes] == [(4121, 48_200_000_000), (4200, None)]


def test_a_card_is_shown_as_nvidia_smi_showed_it_while_it_trained() -> None:
    nvml = FakeNvml.session("nvml_h200")
    gpus = source(nvml)
    idle = gpus.inspect(processes=True).gpus[0]
    assert (idle.memory_used, idle.utilisation, idle.throttled, idle.processes) == (0, 0.0, (), ())
    nvml.place = 4
    busy = gpus.inspect(processes=True).gpus[0]
    # What nvidia-smi said: 11459 MiB of 143771, 11194 of them the trainer's; 100 %, and held down by the power limit.
    assert busy.memory_used == pytest.approx(11_459 * 2**20, abs=2**20)
    assert busy.memory_total == pytest.approx(143_771 * 2**20, abs=2**20)
    assert [(p.pid, p.memory) for p in busy.processes] == [(4999, 11_194 * 2**20)]
    assert (busy.utilisation, busy.throttled, busy.fan) == (100.0, ("power",), None)
    # 6,016 bits at 3,201 MHz: the 4.8 TB/s of its data sheet.
    assert busy.bandwidth_limit == pytest.approx(4.8e12, rel=0.005)


def test_a_driver_that_cannot_leave_out_what_it_keeps_is_asked_the_old_way() -> None:
    nvml = FakeNvml.session("nvml_h200")
    nvml.old = True
    (gpu,) = source(nvml).inspect().gpus
    assert (gpu.memory_used, gpu.trouble) == (644_939_776, "")


def test_what_is_not_told_is_missing_and_never_zero() -> None:
    nvml = FakeNvml.session()
    (gpu, other) = source(nvml).inspect(processes=True).gpus
    assert gpu.fan is None
    assert other.processes == ()
    assert gpu.link.received is None
    nvml.fails = dict.fromkeys(
        (
            "nvmlDeviceGetUtilizationRates",
            "nvmlDeviceGetPowerUsage",
            "nvmlDeviceGetTemperature",
            "nvmlDeviceGetMemoryInfo",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetClockInfo",
        ),
        pynvml.NVML_ERROR_NOT_SUPPORTED,
    )
    (gpu, _) = source(nvml).inspect().gpus
    assert (gpu.utilisation, gpu.power, gpu.temperature, gpu.memory_used, gpu.throttled, gpu.clock) == (None,) * 6
    assert gpu.trouble == ""


def test_a_share_above_a_hundred_percent_is_not_believed() -> None:
    nvml = FakeNvml.session()
    nvml.place = 20
    assert nvml.frames[20]["gpus"][0]["rates"][0] == 991
    assert source(nvml).inspect().gpus[0].utilisation is None


def test_the_slow_lane_brings_links_memory_errors_and_critical_errors() -> None:
    nvml = FakeNvml.session()
    gpus = source(nvml)
    nvml.place = 40
    gpus.inspect()
    gpus.inspect_slowly()
    link = gpus.inspect().gpus[0].link
    raw = nvml.frames[40]["gpus"][0]
    assert link.received == raw["received"] * 1024
    assert (link.generation, link.width, link.ecc_corrected, link.ecc_uncorrected, link.xid) == (5, 16, 2, 0, 31)
    nvml.place = 41
    gpus.inspect_slowly()
    # A critical error stays told after its moment.
    assert gpus.inspect().gpus[0].link.xid == 31


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_every_error_of_the_driver_is_a_state_with_a_cause_and_is_tried_again(name: str, call: str) -> None:
    nvml, clock = FakeNvml.session(), FakeClock()
    nvml.fails = {call: getattr(pynvml, name)}
    gpus = source(nvml, clock)
    view = gpus.inspect()
    assert view.gpus == ()
    assert view.state != "ok"
    assert view.cause
    assert view.remedy
    assert view.retry_in == RETRY_SECONDS[0]
    asked = nvml.calls
    assert gpus.inspect().state == view.state
    assert nvml.calls == asked
    # Ever longer waits, up to the longest.
    for seconds in (*RETRY_SECONDS[1:], RETRY_SECONDS[-1]):
        clock.advance(60)
        assert gpus.inspect().retry_in == seconds
    nvml.fails = {}
    clock.advance(60)
    assert gpus.inspect().state == "ok"


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_of_one_value_leaves_the_others(name: str) -> None:
    nvml = FakeNvml.session()
    nvml.fails = {"nvmlDeviceGetPowerUsage": getattr(pynvml, name)}
    view = source(nvml).inspect()
    assert [gpu.power for gpu in view.gpus] == [None, None]
    assert view.gpus[0].memory_total


def test_a_lost_gpu_is_named_beside_one_that_lives_and_found_again() -> None:
    nvml, clock = FakeNvml.session(), FakeClock()
    gpus = source(nvml, clock)
    gpus.inspect()
    nvml.place = 52
    view = gpus.inspect()
    assert view.state == "ok"
    assert view.gpus[0].trouble == ""
    assert view.gpus[1].trouble == "gpu lost"
    assert "Xid" in view.gpus[1].remedy
    nvml.place = 56
    assert gpus.inspect().gpus[1].trouble == ""


def test_when_all_gpus_are_lost_the_driver_is_opened_anew() -> None:
    nvml, clock = FakeNvml.session(), FakeClock()
    gpus = source(nvml, clock)
    gpus.inspect()
    nvml.fails = {"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_GPU_IS_LOST}
    assert gpus.inspect().state == "gpu lost"
    assert not nvml.ready
    nvml.fails = {}
    clock.advance(60)
    assert gpus.inspect().state == "ok"


def test_without_a_driver_it_says_so_calmly() -> None:
    nvml = FakeNvml.session()
    nvml.fails = {"nvmlInit": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND}
    sampler = GpuSampler([source(nvml), AmdSource()])
    assert sampler.inspect().state == "none"
    sampler.inspect_slowly()
    sampler.close()


class EightCards(FakeNvml):
    """Eight GPUs: ``broken`` names those that fail when their handle is asked for, ``listed`` those the driver counts."""

    def __init__(self) -> None:
        card = FakeNvml.session().frames[15]["gpus"][0]
        super().__init__([{"gpus": [card | {"uuid": f"GPU-{n}", "temperature": 40 + n} for n in range(8)]}])
        self.broken: dict[int, int] = {}
        self.listed = list(range(8))

    def _answer(self, name: str, *arguments: Any) -> Any:
        if name == "nvmlDeviceGetCount":
            return len(self.listed)
        if name == "nvmlDeviceGetHandleByIndex":
            card = self.listed[arguments[0]]
            if card in self.broken:
                raise pynvml.NVMLError(self.broken[card])
            return card
        if name == "nvmlDeviceGetIndex":
            return self.listed.index(arguments[0])
        return super()._answer(name, *arguments)


OF_ONE = [n for n in ERRORS if n not in {
    "NVML_ERROR_UNINITIALIZED", "NVML_ERROR_DRIVER_NOT_LOADED", "NVML_ERROR_LIB_RM_VERSION_MISMATCH", "NVML_ERROR_LIBRARY_NOT_FOUND",
}]  # fmt: skip


@pytest.mark.parametrize("name", OF_ONE)
@pytest.mark.parametrize("card", representatives([0, 3, 7], 3))
def test_one_of_eight_that_is_lost_at_start_hides_no_other(name: str, card: int) -> None:
    nvml, clock = EightCards(), FakeClock()
    nvml.broken = {card: getattr(pynvml, name)}
    gpus = source(nvml, clock)
    view = gpus.inspect()
    assert view.state == "ok"
    assert [gpu.index for gpu in view.gpus] == list(range(8))
    assert [gpu.index for gpu in view.gpus if gpu.trouble] == [card]
    assert view.gpus[card].remedy
    assert [gpu.temperature for gpu in view.gpus if not gpu.trouble] == [40.0 + n for n in range(8) if n != card]
    # It is asked for again, less and less often, and found where it belongs; the library stays as it is meanwhile.
    gpus.inspect_slowly()
    calls = []
    for _ in range(40):
        before = nvml.calls
        gpus.inspect()
        calls.append(nvml.calls - before)
        clock.advance(1)
    # At each second look it was asked for again at most: after 1, 2, 5, 10, 30 seconds.
    assert len([n for n in calls if n > min(calls)]) == 4
    nvml.broken = {}
    clock.advance(31)
    view = gpus.inspect()
    assert [(gpu.uuid, gpu.trouble) for gpu in view.gpus] == [(f"GPU-{n}", "") for n in range(8)]


@pytest.mark.parametrize("name", ["NO_PERMISSION", "IN_USE", "GPU_NOT_FOUND"])
def test_a_card_that_is_given_to_others_is_listed_and_never_lost(name: str) -> None:
    nvml, clock = EightCards(), FakeClock()
    nvml.broken = {2: getattr(pynvml, f"NVML_ERROR_{name}")}
    gpus = source(nvml, clock)
    for _ in range(3):
        view = gpus.inspect()
        assert view.gpus[2].trouble
        assert [of_gpus(view.gpus)[f"gpu{n}.lost"] for n in range(4)] == [0, 0, None, 0]
        clock.advance(60)
    # It becomes ours: from now on it can be lost, and so can one that answered before, whatever it says.
    nvml.broken = {}
    assert of_gpus(gpus.inspect().gpus)["gpu2.lost"] == 0
    nvml.fails = {"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_GPU_IS_LOST}
    gpus.inspect()
    nvml.fails, nvml.broken = {}, {2: getattr(pynvml, f"NVML_ERROR_{name}")}
    clock.advance(60)
    view = gpus.inspect()
    assert [of_gpus(view.gpus)[f"gpu{n}.lost"] for n in range(4)] == [0, 0, 1, 0]
    assert view.gpus[2].uuid == "GPU-2"


def test_a_gpu_keeps_its_place_whatever_becomes_of_the_others() -> None:
    nvml, clock = EightCards(), FakeClock()
    gpus = source(nvml, clock)
    assert [gpu.uuid for gpu in gpus.inspect().gpus] == [f"GPU-{n}" for n in range(8)]
    # All fall over, and the driver is loaded again without the third, which makes the fourth the third.
    nvml.fails = {"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_GPU_IS_LOST}
    gpus.inspect()
    nvml.fails, nvml.listed = {}, [0, 1, 3, 4, 5, 6, 7]
    clock.advance(60)
    view = gpus.inspect()
    assert [gpu.uuid for gpu in view.gpus] == [f"GPU-{n}" for n in range(8)]
    assert [(gpu.index, gpu.trouble) for gpu in view.gpus if gpu.trouble] == [(2, "gone")]
    assert view.gpus[3].temperature == 43
    # Back, at another place of the driver's; and one more that was never there.
    nvml.frames[0]["gpus"].append(nvml.frames[0]["gpus"][0] | {"uuid": "GPU-new"})
    nvml.listed = [8, 7, 6, 5, 4, 3, 2, 1, 0]
    clock.advance(60)
    assert [(gpu.uuid, gpu.trouble) for gpu in gpus.inspect().gpus] == [
        *((f"GPU-{n}", "") for n in range(8)),
        ("GPU-new", ""),
    ]


def test_a_driver_that_fails_makes_no_gpu_disappear() -> None:
    nvml, clock = EightCards(), FakeClock()
    sampler = GpuSampler([source(nvml, clock), AmdSource(FakeAmd(), clock)])
    assert len(sampler.inspect().gpus) == 9
    nvml.fails = {
        "nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_UNINITIALIZED,
        "nvmlInit": pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    }
    sampler.inspect()
    clock.advance(60)
    for _ in range(2):
        view = sampler.inspect()
        assert view.state == "driver not loaded"
        assert [gpu.trouble for gpu in view.gpus] == ["driver not loaded"] * 8 + [""]
        assert view.gpus[8].name.startswith("AMD")


@pytest.mark.parametrize("value", [2**32 - 1, 2**64 - 1])
def test_all_bits_set_is_no_value(value: int) -> None:
    nvml = FakeNvml.session()
    for name in (
        "power",
        "power_limit",
        "energy",
        "temperature",
        "fan",
        "clock",
        "clock_limit",
        "memory_clock",
        "memory_clock_limit",
        "bus_width",
        "reasons",
        "received",
        "sent",
        "generation",
        "width",
        "ecc_corrected",
        "ecc_uncorrected",
    ):
        nvml.frames[0]["gpus"][0][name] = value
    nvml.frames[0]["gpus"][0] |= {"rates": [value, value], "memory": [value, value], "processes": [[5, value]]}
    gpus = source(nvml)
    gpus.inspect()
    gpus.inspect_slowly()
    (gpu, other) = gpus.inspect(processes=True).gpus
    told = {
        name: kept
        for name, kept in (asdict(gpu) | asdict(gpu.link)).items()
        if isinstance(kept, (int, float)) and not isinstance(kept, bool) and name not in {"index", "xids"}
    }
    assert told == {}
    assert gpu.throttled is None
    assert gpu.processes[0].memory is None
    assert other.temperature is not None


@pytest.mark.parametrize("heat", [-274, 4294967295, 1000])
def test_a_temperature_that_cannot_be_is_none(heat: int) -> None:
    nvml = FakeNvml.session()
    nvml.frames[0]["gpus"][0]["temperature"] = heat
    assert source(nvml).inspect().gpus[0].temperature is None
    cold = FakeNvml.session()
    cold.frames[0]["gpus"][0]["temperature"] = -5
    assert source(cold).inspect().gpus[0].temperature == -5


class Divided(FakeNvml):
    """A GPU that is divided into two parts of seven places, beside one that is whole."""

    def _answer(self, name: str, *arguments: Any) -> Any:
        handle = arguments[0] if arguments else None
        if name == "nvmlDeviceGetMigMode":
            return [int(handle == 0), 0]
        if name == "nvmlDeviceGetMaxMigDeviceCount":
            return 7
        if name == "nvmlDeviceGetMigDeviceHandleByIndex":
            if arguments[1] not in {0, 4}:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
            return f"part{arguments[1]}"
        if isinstance(handle, str) and handle.startswith("part"):
            part = {
                "nvmlDeviceGetName": "NVIDIA H200 MIG 1g.18gb",
                "nvmlDeviceGetUUID": f"MIG-{handle}",
                "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=9e9, total=18e9),
            }
            return part[name]
        if handle == 0 and name == "nvmlDeviceGetUtilizationRates":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return super()._answer(name, *arguments)


def test_the_parts_of_a_divided_gpu_are_seen_each() -> None:
    nvml = Divided(FakeNvml.session().frames)
    divided, whole = source(nvml).inspect().gpus
    assert whole.instances == ()
    assert divided.utilisation is None
    assert [(p.index, p.name, p.uuid, p.memory_used) for p in divided.instances] == [
        (0, "1g.18gb", "MIG-part0", 9_000_000_000),
        (4, "1g.18gb", "MIG-part4", 9_000_000_000),
    ]
    found = of_gpus([divided])
    assert found["gpu0.0.memory"] == found["gpu0.4.memory"] == 50


@pytest.mark.parametrize(("xid", "counted"), [(79, 1), (48, 1), (31, 0), (43, 0)])
def test_critical_errors_are_counted_but_for_those_that_programs_make(xid: int, counted: int) -> None:
    nvml = EightCards()
    gpus = source(nvml)
    gpus.inspect()
    gpus.inspect_slowly()
    assert [gpu.link.xids for gpu in gpus.inspect().gpus] == [0] * 8
    nvml.frames[0]["xid"] = [5, xid]
    gpus.inspect_slowly()
    links = [gpu.link for gpu in gpus.inspect().gpus]
    assert [link.xid for link in links] == [None] * 5 + [xid] + [None] * 2
    assert [link.xids for link in links] == [0] * 5 + [counted] + [0] * 2


class Telling(EightCards):
    """Cards whose critical errors wait in the set they were registered with: ``waiting`` as (card, Xid), ``sets`` not freed.

    Handles are pointers, a new object each time, as the library gives them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[int, int]] = []
        self.sets: list[str] = []
        self.made = 0
        self._memory = [ctypes.create_string_buffer(8) for _ in range(8)]

    def _pointer(self, card: int) -> Any:
        return ctypes.cast(self._memory[card], pynvml.c_nvmlDevice_t)

    def _answer(self, name: str, *arguments: Any) -> Any:
        if name == "nvmlShutdown":
            assert self.sets == []
        if name == "nvmlEventSetCreate":
            self.made += 1
            self.sets.append(f"set {self.made}")
            return self.sets[-1]
        if name == "nvmlEventSetFree":
            self.sets.remove(arguments[0])
            self.waiting.clear()
            return None
        if name == "nvmlEventSetWait_v2":
            assert arguments[0] in self.sets
            if not self.waiting:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
            card, xid = self.waiting.pop(0)
            return SimpleNamespace(device=self._pointer(card), eventData=xid)
        if name == "nvmlDeviceGetHandleByIndex":
            return self._pointer(super()._answer(name, *arguments))
        known = [ctypes.addressof(memory) for memory in self._memory]
        plain = [
            known.index(ctypes.addressof(given.contents)) if isinstance(given, pynvml.c_nvmlDevice_t) else given
            for given in arguments
        ]
        if name == "nvmlDeviceGetIndex" and plain[0] in self.broken:
            raise pynvml.NVMLError(self.broken[plain[0]])
        return super()._answer(name, *plain)


def test_of_errors_that_follow_one_another_the_note_has_that_of_the_card() -> None:
    nvml = Telling()
    gpus = source(nvml)
    gpus.inspect()
    # The end of the program that the card took with it comes last.
    nvml.waiting = [(5, 48), (5, 45), (2, 31), (6, 79)]
    gpus.inspect_slowly()
    view = gpus.inspect()
    links = [view.gpus[place].link for place in (5, 2, 6)]
    assert [(link.xid, link.fault, link.xids) for link in links] == [(45, 48, 1), (31, None, 0), (79, 79, 1)]
    assert "Xid 48" in notes_of(view.gpus, [], [])["gpu5.xid"]


def test_an_error_of_a_card_that_fell_off_the_bus_is_counted_and_those_after_it() -> None:
    nvml = Telling()
    gpus = source(nvml)
    gpus.inspect()
    gpus.inspect_slowly()
    nvml.broken = {3: pynvml.NVML_ERROR_GPU_IS_LOST}
    nvml.waiting = [(3, 79), (4, 48)]
    gpus.inspect_slowly()
    assert [gpu.link.xids for gpu in gpus.inspect().gpus] == [0, 0, 0, 1, 1, 0, 0, 0]


def test_what_lies_unread_is_read_before_a_set_is_freed_and_none_is_left_behind() -> None:
    nvml, clock = Telling(), FakeClock()
    nvml.broken = {2: pynvml.NVML_ERROR_GPU_IS_LOST}
    gpus = source(nvml, clock)
    for _ in range(10):
        gpus.inspect()
        gpus.inspect_slowly()
        clock.advance(60)
    # It was asked for again and again; as long as the same cards answer, the set stays.
    assert (nvml.made, len(nvml.sets)) == (1, 1)
    nvml.broken, nvml.waiting = {}, [(1, 48)]
    gpus.inspect()
    gpus.inspect_slowly()
    assert gpus.inspect().gpus[1].link.xids == 1
    assert (nvml.made, len(nvml.sets)) == (2, 1)
    # All fall off the bus: the library is shut down before the slow lane looks again.
    nvml.waiting = [(0, 79)]
    nvml.fails = {"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_GPU_IS_LOST}
    assert gpus.inspect().state == "gpu lost"
    assert nvml.sets == []
    nvml.fails = {}
    clock.advance(60)
    gpus.inspect()
    gpus.inspect_slowly()
    assert [gpu.link.xids for gpu in gpus.inspect().gpus] == [1, 1, 0, 0, 0, 0, 0, 0]
    gpus.close()
    assert nvml.sets == []


def test_what_counters_gained_counts_for_ten_minutes() -> None:
    recent = Recent()

    def gained(ticks: float, ecc: int | None, xids: int | None = 0) -> tuple[float | None, float | None]:
        gpu = Gpu(0, "a", "GPU-a", link=GpuLink(ecc_corrected=ecc, xids=xids))
        found = recent.of_gpus([gpu], ticks)
        return found["gpu0.ecc_corrected"], found["gpu0.xid"]

    # What there was before nobody knows the time of.
    assert gained(0, 1000) == (0, 0)
    assert gained(10, 1002, 1) == (2, 1)
    assert gained(20, None, None) == (None, None)
    # A counter that began anew, as after the driver was loaded again, lost nothing.
    assert gained(30, 0, 1) == (2, 1)
    assert gained(609, 5, 1) == (7, 1)
    assert gained(611, 5, 1) == (5, 0)


def test_a_rule_is_told_which_card_and_what_happened() -> None:
    nvml = EightCards()
    nvml.broken = {2: pynvml.NVML_ERROR_GPU_IS_LOST}
    nvml.frames[0]["gpus"][1]["reasons"] = 0x44
    nvml.frames[0]["gpus"][0]["reasons"] = 0x4
    view = source(nvml).inspect()
    values, notes = of_gpus(view.gpus), notes_of(view.gpus, [], [])
    assert [values[f"gpu{n}.lost"] for n in range(4)] == [0, 0, 1, 0]
    # At its power limit a card is at work; held down by heat it is not well.
    assert [values[f"gpu{n}.throttled"] for n in range(3)] == [0, 1, None]
    assert notes["gpu2.lost"] == "GPU 2: gpu lost"
    assert notes["gpu1.throttled"] == "GPU 1 NVIDIA H200 GPU-1: power, hardware heat"


class FakeAmd:
    """As much of AMD's library as is asked, with its N/A."""

    class AmdSmiTemperatureType:
        EDGE = 0

    class AmdSmiTemperatureMetric:
        CURRENT = 0

    def amdsmi_init(self) -> None: ...

    def amdsmi_shut_down(self) -> None: ...

    def amdsmi_get_processor_handles(self) -> list[str]:
        return ["a"]

    def amdsmi_get_gpu_asic_info(self, _handle: str) -> dict[str, object]:
        return {"market_name": "AMD Instinct MI300X"}

    def amdsmi_get_gpu_device_uuid(self, _handle: str) -> str:
        return "uuid"

    def amdsmi_get_gpu_activity(self, _handle: str) -> dict[str, object]:
        return {"gfx_activity": 88, "umc_activity": "N/A"}

    def amdsmi_get_gpu_vram_usage(self, _handle: str) -> dict[str, object]:
        return {"vram_total": 196_608, "vram_used": 1024}

    def amdsmi_get_power_info(self, _handle: str) -> dict[str, object]:
        return {"average_socket_power": "N/A", "current_socket_power": 512, "power_limit": 750_000_000}

    def amdsmi_get_temp_metric(self, *_arguments: object) -> int:
        raise RuntimeError("not supported")

    def amdsmi_get_gpu_process_list(self, _handle: str) -> list[dict[str, object]]:
        return [{"pid": 7, "memory_usage": {"vram_mem": 5}}]


def test_amd_gpus_stand_beside_those_of_nvidia() -> None:
    sampler = GpuSampler([source(FakeNvml.session()), AmdSource(FakeAmd())])
    view = sampler.inspect(processes=True)
    assert [gpu.index for gpu in view.gpus] == [0, 1, 2]
    amd = view.gpus[2]
    assert (amd.name, amd.utilisation, amd.bandwidth, amd.temperature) == ("AMD Instinct MI300X", 88.0, None, None)
    assert (amd.memory_total, amd.power, amd.power_limit) == (196_608 * 1024 * 1024, 512.0, 750.0)
    assert amd.processes[0].pid == 7


def test_an_amd_gpu_in_trouble_hides_neither_itself_nor_its_trouble() -> None:
    fake, clock = FakeAmd(), FakeClock()
    gpus = AmdSource(fake, clock)
    gpus.inspect()

    def broken(*_arguments: object) -> Any:
        raise RuntimeError("hung")

    for name in (
        "amdsmi_get_gpu_activity",
        "amdsmi_get_gpu_vram_usage",
        "amdsmi_get_power_info",
        "amdsmi_get_gpu_device_uuid",
    ):
        setattr(fake, name, broken)
    (gpu,) = gpus.inspect().gpus
    assert (gpu.uuid, gpu.trouble) == ("uuid", "no answer")
    fake.amdsmi_get_processor_handles = broken  # type: ignore[method-assign]
    for _ in range(2):
        view = gpus.inspect()
        assert (view.state, view.gpus[0].trouble) == ("trouble", "trouble")
    fake.amdsmi_get_processor_handles = list  # type: ignore[method-assign,assignment]
    clock.advance(60)
    assert [(gpu.uuid, gpu.trouble) for gpu in gpus.inspect().gpus] == [("uuid", "gone")]


def test_the_host_is_known_and_rates_come_with_the_second_look() -> None:
    sampler = HostSampler()
    first, second = sampler.sample(), sampler.sample()
    assert 0 < first.memory_used < first.memory_total
    assert first.disk_read is None
    assert second.disk_read is None or second.disk_read >= 0
    assert 0 <= second.cpu <= 100


def test_our_processes_have_our_names_and_so_have_their_children() -> None:
    import os
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        nvml = FakeNvml.session()
        nvml.frames[0]["gpus"][0]["processes"] = [[child.pid, 1000], [99_999_999, 5]]
        rows = ProcessSampler().inspect(
            source(nvml).inspect(processes=True).gpus, {os.getpid(): Ours("qlora-03", "run")}
        )
        by_pid = {row.pid: row for row in rows}
        # At the first look it is what they took since they began; of what is not seen from inside nothing is known.
        assert {row.pid for row in rows if row.cpu is None} == {99_999_999}
        assert (by_pid[os.getpid()].cpu or 0.0) > 0
        assert (by_pid[child.pid].name, by_pid[child.pid].role, by_pid[child.pid].gpu_memory) == (
            "qlora-03",
            "run",
            1000,
        )
        assert by_pid[99_999_999].role == "elsewhere"
        assert by_pid[1].role == ""
    finally:
        child.communicate(b"\n")
