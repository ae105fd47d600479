"""What ``auto`` stands for on this machine is part of a run from its start."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.hardware.memory import HOST
from llmops_tui.hardware.processor import features_of
from llmops_tui.training import bases, device_queue
from llmops_tui.training.memory import optimizer_on
from llmops_tui.training.recipe import changed, check

_LISTED = """processor\t: 0
model name\t: Some Processor
flags\t\t: fpu sse2 avx2 avx512f {}
bugs\t\t:

processor\t: 1
flags\t\t: fpu
"""


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16"])
def test_features_are_those_of_the_first_processor(feature: str) -> None:
    assert feature in features_of(_LISTED.format(feature))
    assert feature not in features_of(_LISTED.format("avx512_vnni"))
    assert features_of("processor\t: 0\nFeatures\t: fp asimd bf16\n") == {"fp", "asimd", "bf16"}
    assert features_of("") == set()


@pytest.mark.parametrize(("able", "kind"), [(True, "bfloat16"), (False, "float32")])
def test_a_processor_without_instructions_for_bfloat16_computes_in_32_bits(
    monkeypatch: pytest.MonkeyPatch, able: bool, kind: str
) -> None:
    monkeypatch.setattr(bases, "has_bfloat16", lambda: able)
    monkeypatch.setattr(device_queue, "training_device", lambda: HOST)
    recipe = check({"name": "r", "base": "b", "data": ["d"]})
    assert bases.as_computed(recipe).quantization.compute == kind


def test_what_was_chosen_and_what_other_machines_compute_in_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "has_bfloat16", lambda: False)
    monkeypatch.setattr(device_queue, "training_device", lambda: HOST)
    chosen = check({"name": "r", "base": "b", "data": ["d"], "quantization": {"compute": "bfloat16"}})
    assert bases.as_computed(chosen) == chosen
    elsewhere = check({"name": "r", "base": "b", "data": ["d"], "target": "ray:auto"})
    assert bases.as_computed(elsewhere) == elsewhere
    monkeypatch.setattr(device_queue, "training_device", lambda: "gpu0")
    here = check({"name": "r", "base": "b", "data": ["d"]})
    assert bases.as_computed(here) == here


@pytest.mark.slow
def test_a_run_goes_on_with_the_optimizer_and_the_type_of_its_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    from llmops_tui.training.worker import settled

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    recipe = check({"name": "r", "base": "b", "data": ["d"]})
    begun = settled.settle(recipe, None)
    assert (begun.optimizer.name, begun.quantization.compute) == ("paged_adamw_8bit", "float16")
    settled.keep(begun, tmp_path)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert settled.settle(recipe, tmp_path) == begun
    assert settled.settle(recipe, None).optimizer.name == "adamw_torch"
    (tmp_path / "settled.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputRefusedError, match="which optimizer"):
        settled.settle(recipe, tmp_path)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "paged_adamw_8bit"),
        ({"lora": {"dora": True}, "quantization": {"type": "fp4"}}, "adamw_torch"),
        ({"fsdp": True, "devices": [0, 1], "evaluation": {"samples": 0}}, "adamw_torch"),
        ({"optimizer": {"name": "sgd"}}, "sgd"),
    ],
)
def test_the_optimizer_that_auto_stands_for_is_one_that_a_recipe_may_name(
    fields: dict[str, object], named: str
) -> None:
    recipe = check({"name": "r", "base": "b", "data": ["d"], **fields})
    assert optimizer_on(recipe, gpu=True) == named
    assert changed(recipe, {"optimizer.name": named}).optimizer.name == named
    assert optimizer_on(recipe, gpu=False) == ("sgd" if named == "sgd" else "adamw_torch")
