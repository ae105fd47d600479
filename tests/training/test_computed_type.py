"""What ``compute: auto`` stands for on this machine's processor is part of a run from its start."""

from __future__ import annotations

import pytest

from llmops_tui.hardware.memory import HOST
from llmops_tui.hardware.processor import features_of
from llmops_tui.training import bases, device_queue
from llmops_tui.training.recipe import check

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
