"""Kernels besides torch's own: refused where they are not, and what is computed stays the same."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.training.history import read_history
from llmops_tui.training.recipe import check
from tests.later import Later
from tests.training.models import make_model
from tests.training.test_limits import examples, run, small

torch, transformers = Later("torch"), Later("transformers")
kernels = Later("llmops_tui.training.worker.kernels")
attentions = Later("llmops_tui.training.worker.attention")


def test_what_computes_the_same_is_in_no_hash_where_it_is_as_ever() -> None:
    recipe = check({"name": "r", "base": "b", "data": ["d"]})
    assert "kernels" not in recipe.body
    other = recipe.model_copy(update={"kernels": "liger"})
    assert other.body["kernels"] == "liger"
    assert other.sha256 != recipe.sha256


def test_kernels_that_are_not_here_are_refused_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(kernels="liger")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (found,) = kernels.kernel_findings(recipe, "llama")
    assert (found.level, found.code) == ("error", "no_kernels")
    assert "liger-kernel" in found.message
    assert "torch" in found.hint
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("llmops_tui.training.worker.kernels._liger_families", lambda: frozenset({"llama"}))
    assert kernels.kernel_findings(recipe, "llama") == []
    (found,) = kernels.kernel_findings(recipe, "phi")
    assert "'phi'" in found.message


def test_what_another_machine_has_is_not_looked_up_on_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    there = {"target": "ray:auto", "trackers": []}
    assert kernels.kernel_findings(small(kernels="liger", **there), "llama") == []
    assert attentions.attention_findings(small(attention="flex", **there), "llama") == []
    # What the family has not, no machine has.
    (found,) = attentions.attention_findings(small(attention="sdpa", **there), "gemma2")
    assert found.code == "no_attention"


@pytest.mark.parametrize(("gpu", "needed"), [(False, "g++"), (True, "gcc")])
def test_compiling_without_a_compiler_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, needed: str
) -> None:
    recipe = small(kernels="compiled")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(shutil, "which", lambda name: name if name == needed else None)
    assert kernels.kernel_findings(recipe, "llama") == []
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    (found,) = kernels.kernel_findings(recipe, "llama")
    assert (found.level, found.code) == ("error", "no_kernels")
    assert needed in found.message


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_layer_is_compiled_inside_of_its_recomputation_and_all_layers_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    compiled: list[str] = []

    def stands_for(forward: Any) -> Any:
        compiled.append(forward.__code__.co_name)
        return functools.wraps(forward)(lambda *given, **named: forward(*given, **named))

    monkeypatch.setattr("torch.compile", stands_for)
    model = transformers.AutoModelForCausalLM.from_pretrained(make_model("llama", tmp_path / "base"))
    kernels.put_on(small(kernels="compiled"), model)
    # One class was compiled, without what transformers puts around it.
    assert compiled == ["forward"]
    layers = model.get_decoder().layers
    assert len({type(layer) for layer in layers}) == 1
    assert type(layers[0]).__name__ == "LlamaDecoderLayer"
    recomputed = []
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        for layer in layers:
            usual = layer._gradient_checkpointing_func
            layer._gradient_checkpointing_func = lambda *given, usual=usual: recomputed.append(1) or usual(*given)
    model.train()
    ids = torch.tensor([[5, 6, 7, 8]])
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    assert len(recomputed) == (len(layers) if checkpointing else 0)
    assert layers[0].mlp.up_proj.weight.grad is not None


@pytest.mark.slow
def test_compiled_layers_learn_what_others_learn(tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base")
    losses = []
    for kind in ("torch", "compiled"):
        run(small(kernels=kind, gradient_checkpointing=True), base, tmp_path / kind, examples())
        losses.append([loss for _, loss in sorted(read_history(tmp_path / kind).series["loss"].items())])
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
