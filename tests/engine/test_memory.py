from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.hardware.memory import HOST, DeviceMemory, devices, measure
from llmops_tui.inference import memory_reservation
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.leases import MemoryLedger, MemoryShortError
from llmops_tui.jobs.process import ProcessIdentity, identify
from llmops_tui.models.engine_settings import EngineSettings
from llmops_tui.models.gguf import read_header
from llmops_tui.models.memory import choose_layers, estimate, largest_that_fits
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL
from tests.engine.tiny_models import FAMILIES, write_tiny
from tests.representatives import representatives
from tests.waiting import wait_for


def me() -> ProcessIdentity:
    found = identify(os.getpid())
    assert found is not None
    return found


class Device:
    """A device of 10 GB whose use the test sets."""

    def __init__(self) -> None:
        self.used: dict[int, int] = {}

    def __call__(self, device: str) -> DeviceMemory:
        free = 10_000_000_000 - sum(self.used.values())
        return DeviceMemory(device, 10_000_000_000, free, dict(self.used), dict.fromkeys(self.used, "foreign"))


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def ledger(tmp_path: Path, device: Device) -> MemoryLedger:
    return MemoryLedger(tmp_path / "user" / "leases", device)


def take(ledger: MemoryLedger, size: int, name: str = "m", process: ProcessIdentity | None = None) -> Any:
    return ledger.take({"gpu0": size}, name=name, kind="server", workspace="w", process=process or me())


def test_what_was_promised_counts_before_it_is_used_and_only_once(ledger: MemoryLedger, device: Device) -> None:
    lease = take(ledger, 6_000_000_000)
    assert ledger.available("gpu0") == 4_000_000_000
    device.used[os.getpid()] = 2_000_000_000
    assert ledger.available("gpu0") == 4_000_000_000
    device.used[os.getpid()] = 7_000_000_000
    assert ledger.available("gpu0") == 3_000_000_000
    ledger.give_back(lease)
    device.used.clear()
    assert ledger.available("gpu0") == 10_000_000_000


def test_what_does_not_fit_names_who_holds_the_memory(ledger: MemoryLedger, device: Device) -> None:
    take(ledger, 3_000_000_000, "qwen")
    device.used[1] = 5_000_000_000
    with pytest.raises(MemoryShortError) as caught:
        take(ledger, 4_000_000_000, "big")
    error = caught.value
    assert [h.name for h in error.holders] == ["foreign (pid 1)", "qwen"]
    assert "big needs 4.0 GB" in error.message
    assert "server qwen 3.0 GB" in error.message
    assert "llmops model stop qwen" in error.hint
    assert ledger.leases()[0].name == "qwen"
    assert len(ledger.leases()) == 1


def test_the_lease_of_a_dead_process_is_given_back(ledger: MemoryLedger, tmp_path: Path) -> None:
    lease = take(ledger, 9_000_000_000)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lease.lock,))
    process = identify(child.pid)
    assert process is not None
    assert ledger.hand_over(lease, process).process == process
    assert ledger.leases()[0].process == process
    assert ledger.available("gpu0") == 1_000_000_000
    child.kill()
    child.wait()
    wait_for(lambda: ledger.available("gpu0") == 10_000_000_000)
    assert ledger.leases() == []
    # To look takes nothing away, and the next who takes memory does.
    left = set((tmp_path / "user" / "leases").glob("lease_*"))
    assert {path.stem for path in left} == {lease.id}
    ledger.give_back(take(ledger, 1))
    assert list((tmp_path / "user" / "leases").glob("lease_*")) == []


def test_the_lease_of_a_process_that_cannot_be_seen_is_not_given_back(
    ledger: MemoryLedger, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, process = take(ledger, 9_000_000_000), me()
    device.used[os.getpid()] = 8_000_000_000
    monkeypatch.setattr("llmops_tui.jobs.process.start_time", lambda _pid: None)
    assert [held.id for held in ledger.leases()] == [lease.id]
    # What it uses by now is not known there: all that it was promised counts.
    assert ledger.available("gpu0") == 0
    with pytest.raises(MemoryShortError):
        take(ledger, 1, process=process)


def test_two_that_ask_at_once_are_not_both_given_the_last_of_it(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from llmops_tui.jobs.leases import MemoryLedger, MemoryShortError\n"
        "from llmops_tui.jobs.process import identify\n"
        "from llmops_tui.hardware.memory import DeviceMemory\n"
        "ledger = MemoryLedger(Path(sys.argv[1]), lambda d: DeviceMemory(d, 10, 10))\n"
        "try:\n"
        "    ledger.take({'gpu0': 6}, name='x', kind='job', workspace='w', process=identify(os.getpid()))\n"
        "    print('taken', flush=True)\n"
        "except MemoryShortError:\n"
        "    print('short', flush=True)\n"
        "input()\n"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "u" / "l")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    told = [c.stdout.readline().strip() for c in children if c.stdout is not None]
    for child in children:
        child.kill()
        child.communicate()
    assert sorted(told) == ["short", "short", "short", "taken"]


LOADED: list[dict[str, Any]] = [
    {"context": 2048, "parallel": 2},
    {"context": 1500, "parallel": 3, "precision": "exact"},
    {"context": 2048, "parallel": 1, "cache_type_k": "q8_0", "cache_type_v": "q4_0", "micro_batch": 256},
    {"context": 2048, "parallel": 2, "swa_full": True},
]


def allocated(path: Path, loaded: list[dict[str, Any]]) -> list[dict[str, float]]:
    """What llama.cpp says in its log that it allocates with each of some settings, in a process of its own, in bytes."""
    code = (
        "import json, sys\n"
        "from llmops_tui.inference.engine.native import NativeModel\n"
        "from llmops_tui.inference.engine.parameters import EngineOptions\n"
        "for given in json.loads(sys.argv[2]):\n"
        "    NativeModel(EngineOptions(sys.argv[1], threads=1, **given))\n"
        "    print('-- loaded', file=sys.stderr, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(path), json.dumps(loaded)]
    logs = subprocess.run(command, capture_output=True, text=True, check=True).stderr.split("-- loaded\n")

    def told(log: str, word: str) -> float:
        lines = [x for x in log.splitlines() if word in x and "MiB" in x]
        return sum(float(line.rpartition("=")[2].split()[0]) for line in lines) * 2**20

    words = {"weights": "model buffer size", "kv": "KV buffer size", "compute": "compute buffer size"}
    return [{name: told(log, word) for name, word in words.items()} for log in logs[: len(loaded)]]


@pytest.mark.parametrize("family", representatives(["sample", *FAMILIES], 0, 1, 3))
def test_the_estimate_is_what_llama_cpp_allocates(tmp_path: Path, family: str) -> None:
    path = MODEL if family == "sample" else write_tiny(tmp_path / "m.gguf", family)
    loaded = LOADED
    if family in {"cohere2", "olmo2", "gemma4"}:
        # Their heads are 16 wide, which no block fills.
        loaded = [s | ({"cache_type_k": "bf16", "cache_type_v": "f32"} if "cache_type_k" in s else {}) for s in LOADED]
    for settings, real in zip(loaded, allocated(path, loaded), strict=True):
        found = estimate(read_header(path), EngineSettings(**settings))
        assert found.weights == pytest.approx(real["weights"], rel=0.02)
        assert found.kv_cache == pytest.approx(real["kv"], rel=0.02), settings
        # Of a tiny model a step's buffer is small beside what is constant.
        assert found.compute == pytest.approx(real["compute"], rel=0.3), settings


def test_gemma_3_270m_needs_a_fifth_with_its_windows() -> None:
    header = read_header(MODEL)
    facts = {
        "block_count": 18,
        "embedding_length": 640,
        "attention.head_count": 4,
        "attention.head_count_kv": 1,
        "attention.key_length": 256,
        "attention.value_length": 256,
        "attention.sliding_window": 512,
        "context_length": 32_768,
    }
    metadata = {"general.architecture": "gemma3"} | {f"gemma3.{key}": value for key, value in facts.items()}
    gemma = replace(header, metadata=metadata)
    settings = EngineSettings(context=32_768, parallel=1)
    assert estimate(gemma, settings).kv_cache == 111 * 2**20
    assert estimate(gemma, replace(settings, swa_full=True)).kv_cache == 576 * 2**20


def test_layers_are_chosen_to_fit_and_what_fits_is_advised() -> None:
    header, settings = read_header(MODEL), EngineSettings(context=1024, parallel=4)
    whole = estimate(header, settings, (6,))
    assert whole.gpu_layers == whole.layers + 1 == 6
    assert choose_layers(header, settings, [whole.gpu]).gpu_layers == 6
    fewer = choose_layers(header, settings, [whole.gpu - 1])
    assert 0 < fewer.gpu_layers < 6
    assert fewer.gpu <= whole.gpu - 1
    assert choose_layers(header, settings, [0]).gpu_layers == 0
    exact = replace(settings, precision="exact")
    assert estimate(header, exact).kv_cache == 2 * estimate(header, settings).kv_cache
    free = estimate(header, EngineSettings(context=512, parallel=1)).host
    assert largest_that_fits(header, settings, free, gpu=False) == (512, 1)
    assert largest_that_fits(header, settings, 1000, gpu=False) is None


def test_this_machine_has_memory() -> None:
    assert devices()[-1] == HOST
    memory = measure(HOST)
    assert 0 < memory.free <= memory.total
    assert memory.by_process[os.getpid()] > 1_000_000


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[int]]:
    """A machine whose host memory is what the test says, in bytes."""
    size = [10**12]

    def ledger() -> MemoryLedger:
        return MemoryLedger(tmp_path / "u" / "leases", lambda d: DeviceMemory(d, size[0], size[0]), lambda pid: {pid})

    monkeypatch.setattr(memory_reservation, "ledger", ledger)
    monkeypatch.setattr("llmops_tui.inference.supervisor.ledger", ledger)
    monkeypatch.setattr(memory_reservation, "usable_gpus", list)
    return size


def test_a_model_that_does_not_fit_is_not_started_and_a_freed_one_is_seen_to_be_free(
    sample: Workspace, small_machine: list[int]
) -> None:
    registry, supervisor = ModelRegistry(Catalog(sample)), ServerSupervisor(sample)
    first, second = registry.get("support-base"), registry.get("support-base-q4")
    needed = estimate(read_header(first.path), EngineSettings(context=512, parallel=1)).host
    small_machine[0] = int(needed * 1.5)
    options = LoadOptions(threads=1, context=512, parallel=1)
    handle = supervisor.ensure(first, options)
    assert [x.name for x in memory_reservation.ledger().leases()] == ["support-base"]
    assert memory_reservation.ledger().leases()[0].process == handle.process
    with pytest.raises(MemoryShortError, match="server support-base") as caught:
        supervisor.ensure(second, options)
    assert "llmops model stop support-base" in caught.value.hint
    assert supervisor.find(second.name) is None
    supervisor.stop(first.name)
    assert memory_reservation.ledger().leases() == []
    assert supervisor.ensure(second, options).process.alive()


@pytest.mark.slow
def test_waiting_for_memory_ends_when_it_is_freed(sample: Workspace, small_machine: list[int]) -> None:
    import threading

    registry, supervisor = ModelRegistry(Catalog(sample)), ServerSupervisor(sample)
    first, second = registry.get("support-base"), registry.get("support-base-q4")
    small_machine[0] = int(estimate(read_header(first.path), EngineSettings(context=512, parallel=1)).host * 1.5)
    options = LoadOptions(threads=1, context=512, parallel=1, wait=True)
    supervisor.ensure(first, options)
    asked = threading.Event()
    thread = threading.Thread(target=lambda: supervisor.ensure(second, options, waiting=lambda _s: asked.set()))
    thread.start()
    assert asked.wait(120)
    supervisor.stop(first.name)
    thread.join(120)
    wait_for(lambda: supervisor.find(second.name) is not None)
