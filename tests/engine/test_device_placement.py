"""Where a model goes on machines with one GPU, several, none, or parts of some; the cards are fakes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.hardware import cuda_devices as cuda
from llmops_tui.hardware import memory
from llmops_tui.inference.device_placement import Plan, make_plan
from llmops_tui.inference.options import LoadOptions
from llmops_tui.jobs.leases import MemoryShortError
from llmops_tui.jobs.process import identify
from llmops_tui.models.engine_settings import EngineSettings
from llmops_tui.models.gguf import read_header
from llmops_tui.models.gguf_header import GgufHeader
from llmops_tui.models.memory import estimate
from tests.engine.cards import Card, Cards
from tests.engine.engines import MODEL
from tests.engine.tiny_models import write_tiny

GB = 1_000_000_000


@pytest.fixture
def big() -> GgufHeader:
    """A model of 31 layers and 20 GB, as its header tells it."""
    header = read_header(MODEL)
    name = header.architecture
    metadata = header.metadata | {f"{name}.block_count": 31}
    layers = {n: int(0.6 * GB) for n in range(31)}
    return replace(
        header,
        metadata=metadata,
        layer_bytes=layers,
        own_output_bytes=GB,
        has_output=True,
        embedding_bytes=GB,
        tensor_bytes=sum(layers.values()) + 2 * GB,
    )


def plan(header: GgufHeader, cards: Cards, **given: Any) -> Plan:
    options = LoadOptions(**({"context": 1024} | given))
    return make_plan(header, options, cards.devices(), lambda device: cards.measure(device).free)


def names(devices: list[cuda.CudaDevice]) -> list[str]:
    return [device.name for device in devices]


def test_a_model_that_fits_goes_on_one_gpu_the_one_with_most_room(big: GgufHeader) -> None:
    cards = Cards(3)
    cards.cards[0].used, cards.cards[2].used = 3 * GB, 2 * GB
    found = plan(big, cards)
    assert found.device == "gpu1"
    assert found.environment == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-1aaa-bbbb"}
    options = found.options
    assert (options.gpu_layers, options.split_mode, options.main_gpu, options.tensor_split) == (32, "none", 0, ())
    assert plan(big, cards, main_gpu=2).environment["CUDA_VISIBLE_DEVICES"] == "GPU-2aaa-bbbb"


def test_a_model_too_large_for_one_is_split_as_llama_cpp_will_split_it(big: GgufHeader) -> None:
    cards = Cards(3, total=12 * GB)
    cards.cards[1].used = 5 * GB
    found = plan(big, cards)
    assert found.device == "gpu0 + gpu1 + gpu2"
    shares = found.options.tensor_split
    assert (found.options.split_mode, sum(shares), found.options.gpu_layers) == ("layer", 32, 32)
    assert shares[1] < shares[0]
    # llama.cpp's own rule, in its 32-bit numbers: layer n of 32 goes where n/32 falls among the sums of the shares.
    import numpy as np

    ends = np.cumsum(np.array(shares, np.float32)) / np.float32(sum(shares))
    placed = [int(np.searchsorted(ends, np.float32(n) / np.float32(32), side="right")) for n in range(32)]
    assert [placed.count(gpu) for gpu in range(3)] == list(found.needed.on)
    for gpu, size in zip(found.gpus, found.needed.gpus, strict=True):
        assert size <= cards.measure(gpu.name).free
    assert sum(found.needed.gpus) > 20 * GB


def test_what_fits_nowhere_whole_is_in_part_on_the_host_whose_share_is_leased_too(
    big: GgufHeader, tmp_path: Path
) -> None:
    cards = Cards(1, total=12 * GB)
    found = plan(big, cards)
    assert 0 < found.options.gpu_layers < 32
    assert found.sizes["gpu0"] <= 12 * GB
    assert found.sizes[memory.HOST] > (31 - found.options.gpu_layers) * 0.6 * GB
    me = identify(os.getpid())
    assert me is not None
    ledger = cards.ledger(tmp_path)
    lease = ledger.take(found.sizes, name="big", kind="server", workspace="w", process=me)
    assert ledger.available("gpu0") == 12 * GB - found.sizes["gpu0"]
    assert ledger.available(memory.HOST) == 64 * GB - found.sizes[memory.HOST]
    ledger.give_back(lease)
    # All of it or nothing: where one device is short, no other is taken.
    with pytest.raises(MemoryShortError, match="gpu0"):
        ledger.take({memory.HOST: GB, "gpu0": 13 * GB}, name="big", kind="server", workspace="w", process=me)
    assert ledger.available(memory.HOST) == 64 * GB


def test_layers_and_shares_that_were_asked_for_are_kept(big: GgufHeader) -> None:
    cards = Cards(2)
    found = plan(big, cards, split_mode="layer", tensor_split=(3.0, 1.0))
    assert found.needed.on == (24, 8)
    assert plan(big, cards, split_mode="layer", gpu_layers=10).needed.on == (5, 5)
    rows = plan(big, cards, split_mode="row", tensor_split=(1.0, 1.0), main_gpu=1)
    assert rows.environment["CUDA_VISIBLE_DEVICES"] == "GPU-1aaa-bbbb,GPU-0aaa-bbbb"
    assert rows.needed.gpus[0] > rows.needed.gpus[1]
    only = plan(big, cards, tensor_split=(0.0, 1.0))
    assert (only.device, only.options.gpu_layers) == ("gpu1", 32)
    assert plan(big, cards, gpu_layers=7).needed.on == (7,)


@pytest.mark.parametrize("mode", ["layer", "row", "none", "auto"])
def test_layers_asked_for_stay_asked_for_where_every_gpu_is_full(big: GgufHeader, mode: str) -> None:
    cards = Cards(2)
    for card in cards.cards:
        card.used = card.total
    found = plan(big, cards, split_mode=mode, gpu_layers=4)
    # What holds the memory is named when it is to be taken; nothing moves to the host unsaid.
    assert found.options.gpu_layers == 4
    assert all(found.sizes[device] > 0 for device in found.sizes)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"main_gpu": 5}, "gpu0, gpu1"),
        ({"tensor_split": (1.0,)}, "2 GPUs"),
        ({"tensor_split": (1.0, 1.0, 1.0)}, "2 GPUs"),
    ],
)
def test_gpus_that_are_not_there_are_refused_by_name(big: GgufHeader, given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputRefusedError, match=told):
        plan(big, Cards(2), **given)


def test_without_a_gpu_the_host_has_it_and_what_was_asked_is_told(big: GgufHeader) -> None:
    found = plan(big, Cards(0), gpu_layers=20, main_gpu=1)
    assert found.device == memory.HOST
    assert found.options.gpu_layers == 0
    assert "gpu_layers, main_gpu" in found.notes[0]
    assert plan(big, Cards(0)).notes == ()
    # With no layer on a GPU none is seen: llama.cpp would use one for long prompts otherwise.
    off = plan(big, Cards(2), gpu_layers=0)
    assert (off.environment["CUDA_VISIBLE_DEVICES"], off.options.split_mode, off.options.main_gpu) == ("", "none", -1)
    assert off.notes == ()
    (told,) = plan(big, Cards(2), gpu_layers=0, main_gpu=1).notes
    assert told.startswith("main_gpu: gpu_layers is 0")


def test_experts_that_are_not_there_or_not_on_a_gpu_are_told_to_stay(big: GgufHeader, tmp_path: Path) -> None:
    mixture = read_header(write_tiny(tmp_path / "moe.gguf", "qwen3moe"))
    for cards in (Cards(0), Cards(1)):
        (told,) = plan(big, cards, cpu_moe=3).notes
        assert told.startswith("cpu_moe: this model is not a mixture of experts")
        assert plan(mixture, cards, cpu_moe=0, context=64).notes == ()
    (told,) = plan(mixture, Cards(0), cpu_moe=3, context=64).notes
    assert told.startswith("cpu_moe: this machine has no GPU")
    (told,) = plan(mixture, Cards(1), cpu_moe=3, gpu_layers=0, context=64).notes
    assert told.startswith("cpu_moe: gpu_layers is 0")
    assert plan(mixture, Cards(1), cpu_moe=3, context=64).notes == ()


def test_the_parts_of_an_estimate_are_all_of_it(big: GgufHeader) -> None:
    for cards, given in (
        (Cards(0), {}),
        (Cards(1), {}),
        (Cards(2), {}),
        (Cards(2), {"gpu_layers": 5}),
        (Cards(1), {"gpu_layers": 0}),
        (Cards(2), {"split_mode": "row"}),
    ):
        needed = plan(big, cards, **given).needed
        assert sum(needed.parts().values()) == needed.total == needed.gpu + needed.host
        assert min(needed.parts().values()) >= 0
        assert ("GPU runtime and copies" in needed.parts()) == bool(needed.gpus)


def test_experts_on_the_host_make_room_on_the_gpu(tmp_path: Path) -> None:
    header = read_header(write_tiny(tmp_path / "moe.gguf", "qwen3moe"))
    whole, moved = estimate(header, EngineSettings(), (7,)), estimate(header, EngineSettings(cpu_moe=4), (7,))
    experts = sum(header.expert_bytes[n] for n in range(4))
    assert experts > 0
    assert (whole.gpu - moved.gpu, moved.host - whole.host) == (experts, experts)
    assert estimate(header, EngineSettings(cpu_moe=99), (7,)).gpu == whole.gpu - sum(header.expert_bytes.values())


def test_a_gpu_that_does_not_answer_hides_no_other() -> None:
    cards = Cards(3)
    cards.cards[1].lost = True
    assert names(cards.devices()) == ["gpu0", "gpu2"]
    assert [d.uuid for d in cards.devices()] == ["GPU-0aaa-bbbb", "GPU-2aaa-bbbb"]


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("1", ["gpu1"]),
        ("2,0", ["gpu2", "gpu0"]),
        ("GPU-1aaa", ["gpu1"]),
        ("0,9,1", ["gpu0"]),
        ("", []),
        ("-1", []),
        ("0,0", []),
        ("GPU", []),
        ("MIG-31cc", ["gpu3.1"]),
        ("0, MIG-30", ["gpu0", "gpu3.0"]),
    ],
)
def test_what_the_user_lets_be_seen_is_honoured(visible: str, seen: list[str]) -> None:
    cards = Cards(3)
    cards.cards.append(Card(instances=[10 * GB, 20 * GB]))
    cards.environment = {"CUDA_VISIBLE_DEVICES": visible}
    assert names(cards.devices()) == seen


def test_of_instances_a_model_uses_one(big: GgufHeader) -> None:
    cards = Cards(1, instances=[10 * GB, 30 * GB])
    assert names(cards.devices()) == ["gpu0.0", "gpu0.1"]
    found = plan(big, cards)
    assert found.environment["CUDA_VISIBLE_DEVICES"] == "MIG-01cc-dddd"
    with pytest.raises(InputRefusedError, match="only MIG instances"):
        plan(big, cards, split_mode="layer")


def test_the_memory_of_a_gpu_is_that_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = Cards(2)
    cards.cards[1].used = 5 * GB
    monkeypatch.setattr(memory, "open_nvml", lambda: cards)
    monkeypatch.setattr(memory, "cuda_devices", lambda _nvml=None: cards.devices())
    assert memory.devices() == ["gpu0", "gpu1", memory.HOST]
    assert memory.measure("gpu1").free == 19 * GB
    cards.cards[1].lost = True
    assert memory.devices() == ["gpu0", memory.HOST]
    assert (memory.measure("gpu1").total, memory.measure("gpu1").free) == (0, 0)
