"""Kernels besides torch's own: refused where they are not, and what is computed stays the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llmops_tui.training.history import read_history
from llmops_tui.training.recipe import check
from tests.later import Later
from tests.training.models import make_model
from tests.training.test_limits import examples, run, small

torch = Later("torch")
kernels = Later("llmops_tui.training.worker.kernels")


def test_what_computes_the_same_is_in_no_hash_where_it_is_as_ever() -> None:
    recipe = check({"name": "r", "base": "b", "data": ["d"]})
    assert not {"kernels", "compile"} & set(recipe.body)
    other = recipe.model_copy(update={"kernels": "liger", "compile": True})
    assert (other.body["kernels"], other.body["compile"]) == ("liger", True)
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


@pytest.mark.parametrize(("gpu", "needed"), [(False, "g++"), (True, "gcc")])
def test_compiling_without_a_compiler_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, needed: str
) -> None:
    recipe = small(compile=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(shutil, "which", lambda name: name if name == needed else None)
    assert kernels.kernel_findings(recipe, "llama") == []
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    (found,) = kernels.kernel_findings(recipe, "llama")
    assert (found.level, found.code) == ("error", "no_compiler")
    assert "gcc" in found.hint


@pytest.mark.slow
def test_compiled_layers_learn_what_others_learn(tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base")
    losses = []
    for name in ("plain", "compiled"):
        run(small(compile=name == "compiled", gradient_checkpointing=True), base, tmp_path / name, examples())
        losses.append([loss for _, loss in sorted(read_history(tmp_path / name).series["loss"].items())])
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
