"""What a training process tells that it held of a GPU, by a driver and a torch that are made up."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from llmops_tui.hardware import memory
from llmops_tui.training import device_queue
from llmops_tui.training.memory import GPU_OVERHEAD
from llmops_tui.training.worker import surroundings
from tests.later import Later

torch, callbacks = Later("torch"), Later("llmops_tui.training.worker.callbacks")

# As it was on an H200: a QLoRA of 8B, and CUDA with its libraries beside it.
_TENSORS, _HELD = 10_942_939_136, 11_737_759_744


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: _TENSORS)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: _TENSORS)
    monkeypatch.setattr(device_queue, "training_device", lambda: "gpu0")
    callbacks._beside_torch.cache_clear()
    yield
    callbacks._beside_torch.cache_clear()


def held(monkeypatch: pytest.MonkeyPatch, by_process: dict[int, int]) -> None:
    now = memory.DeviceMemory("gpu0", 150_000_000_000, 138_000_000_000, by_process)
    monkeypatch.setattr(memory, "measure", lambda _device: now)


def test_the_peak_has_what_torch_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    held(monkeypatch, {os.getpid(): _HELD, 1: 5_000_000_000})
    assert callbacks.memory_bytes() == _HELD


@pytest.mark.parametrize("told", [{}, {os.getpid(): 0}])
def test_where_the_driver_tells_nothing_of_it_the_estimate_s_figure_is_taken(
    monkeypatch: pytest.MonkeyPatch, told: dict[int, int]
) -> None:
    held(monkeypatch, told)
    assert callbacks.memory_bytes() == _TENSORS + GPU_OVERHEAD


def test_what_the_libraries_read_is_set_and_what_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512"}
    monkeypatch.setattr(os, "environ", given)
    surroundings.prepare()
    assert (given["HF_HUB_OFFLINE"], given["TOKENIZERS_PARALLELISM"]) == ("1", "false")
    assert given["PYTORCH_CUDA_ALLOC_CONF"] == "max_split_size_mb:512"
