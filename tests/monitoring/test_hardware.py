"""GPUs, driven by a session of NVML in the form it is recorded in, and by every error that it knows."""

from __future__ import annotations

import pynvml
import pytest

from llmops_tui.hardware.amd import AmdSource
from llmops_tui.hardware.gpus import RETRY_SECONDS, GpuSampler
from llmops_tui.hardware.host import HostSampler
from llmops_tui.hardware.nvidia import NvidiaSource
from llmops_tui.hardware.processes import Ours, ProcessSampler
from tests.fakes import FakeClock, FakeNvml

ERRORS = sorted(n for n in dir(pynvml) if n.startswith("NVML_ERROR_") and isinstance(getattr(pynvml, n), int))


def source(nvml: FakeNvml, clock: FakeClock | None = None) -> NvidiaSource:
    return NvidiaSource(nvml, clock or FakeClock())


def test_a_busy_gpu_is_shown_as_the_driver_tells_it() -> None:
    nvml = FakeNvml.session()
    nvml.place = 15
    gpus = source(nvml)
    view = gpus.look(processes=True)
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


def test_what_is_not_told_is_missing_and_never_zero() -> None:
    nvml = FakeNvml.session()
    (gpu, other) = source(nvml).look(processes=True).gpus
    assert gpu.fan is None
    assert other.processes == ()
    assert gpu.link.received is None
    nvml.fails = dict.fromkeys(("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetClockInfo"), pynvml.NVML_ERROR_NOT_SUPPORTED)  # fmt: skip
    (gpu, _) = source(nvml).look().gpus
    assert (gpu.utilisation, gpu.power, gpu.temperature, gpu.memory_used, gpu.throttled, gpu.clock) == (None,) * 6
    assert gpu.trouble == ""


def test_a_share_above_a_hundred_percent_is_not_believed() -> None:
    nvml = FakeNvml.session()
    nvml.place = 20
    assert nvml.frames[20]["gpus"][0]["rates"][0] == 991
    assert source(nvml).look().gpus[0].utilisation is None


def test_the_slow_lane_brings_links_memory_errors_and_critical_errors() -> None:
    nvml = FakeNvml.session()
    gpus = source(nvml)
    nvml.place = 40
    gpus.look()
    gpus.look_slowly()
    link = gpus.look().gpus[0].link
    raw = nvml.frames[40]["gpus"][0]
    assert link.received == raw["received"] * 1024
    assert (link.generation, link.width, link.ecc_corrected, link.ecc_uncorrected, link.xid) == (5, 16, 2, 0, 31)
    nvml.place = 41
    gpus.look_slowly()
    # A critical error stays told after its moment.
    assert gpus.look().gpus[0].link.xid == 31


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_every_error_of_the_driver_is_a_state_with_a_cause_and_is_tried_again(name: str, call: str) -> None:
    nvml, clock = FakeNvml.session(), FakeClock()
    nvml.fails = {call: getattr(pynvml, name)}
    gpus = source(nvml, clock)
    view = gpus.look()
    assert view.gpus == ()
    assert view.state != "ok"
    assert view.cause
    assert view.remedy
    assert view.retry_in == RETRY_SECONDS[0]
    asked = nvml.calls
    assert gpus.look().state == view.state
    assert nvml.calls == asked
    # Ever longer waits, up to the longest.
    for seconds in (*RETRY_SECONDS[1:], RETRY_SECONDS[-1]):
        clock.advance(60)
        assert gpus.look().retry_in == seconds
    nvml.fails = {}
    clock.advance(60)
    assert gpus.look().state == "ok"


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_of_one_value_leaves_the_others(name: str) -> None:
    nvml = FakeNvml.session()
    nvml.fails = {"nvmlDeviceGetPowerUsage": getattr(pynvml, name)}
    view = source(nvml).look()
    assert [gpu.power for gpu in view.gpus] == [None, None]
    assert view.gpus[0].memory_total


def test_a_lost_gpu_is_named_beside_one_that_lives_and_found_again() -> None:
    nvml, clock = FakeNvml.session(), FakeClock()
    gpus = source(nvml, clock)
    gpus.look()
    nvml.place = 52
    view = gpus.look()
    assert view.state == "ok"
    assert view.gpus[0].trouble == ""
    assert view.gpus[1].trouble == "gpu lost"
    assert "Xid" in view.gpus[1].remedy
    nvml.place = 56
    assert gpus.look().gpus[1].trouble == ""


def test_when_all_gpus_are_lost_the_driver_is_opened_anew() -> None:
    nvml, clock = FakeNvml.session(), FakeClock()
    gpus = source(nvml, clock)
    gpus.look()
    nvml.fails = {"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_GPU_IS_LOST}
    assert gpus.look().state == "gpu lost"
    assert not nvml.ready
    nvml.fails = {}
    clock.advance(60)
    assert gpus.look().state == "ok"


def test_without_a_driver_it_says_so_calmly() -> None:
    nvml = FakeNvml.session()
    nvml.fails = {"nvmlInit": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND}
    sampler = GpuSampler([source(nvml), AmdSource()])
    assert sampler.look().state == "none"
    sampler.look_slowly()
    sampler.close()


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
    view = sampler.look(processes=True)
    assert [gpu.index for gpu in view.gpus] == [0, 1, 2]
    amd = view.gpus[2]
    assert (amd.name, amd.utilisation, amd.bandwidth, amd.temperature) == ("AMD Instinct MI300X", 88.0, None, None)
    assert (amd.memory_total, amd.power, amd.power_limit) == (196_608 * 1024 * 1024, 512.0, 750.0)
    assert amd.processes[0].pid == 7


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
        rows = ProcessSampler().look(source(nvml).look(processes=True).gpus, {os.getpid(): Ours("qlora-03", "run")})
        by_pid = {row.pid: row for row in rows}
        # A share of time is known from the second look on.
        assert {row.cpu for row in rows} == {None}
        assert (by_pid[child.pid].name, by_pid[child.pid].role, by_pid[child.pid].gpu_memory) == (
            "qlora-03",
            "run",
            1000,
        )
        assert by_pid[99_999_999].role == "elsewhere"
        assert by_pid[1].role == ""
    finally:
        child.communicate(b"\n")
