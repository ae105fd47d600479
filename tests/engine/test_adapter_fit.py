"""An adapter is offered with the models whose shapes it has, and refused with its reason beside the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.models.adapter_fit import misfit
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL, write_adapter


@pytest.mark.parametrize(("layers", "width", "why"), [
    (5, 256, ""), (3, 256, ""),
    (5, 128, "its blk.0.attn_output.weight is 128 × 128, that of the model 256 × 256"),
    (6, 256, "it changes blk.5.attn_output.weight, which the model has not"),
])  # fmt: skip
def test_the_shapes_say_whether_it_fits(tmp_path: Path, layers: int, width: int, why: str) -> None:
    assert misfit([MODEL], write_adapter(tmp_path / "a.gguf", seed=1, layers=layers, width=width)) == why


def test_of_a_damaged_file_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    assert misfit([MODEL], tmp_path / "a.gguf") == misfit([MODEL], tmp_path / "none.gguf") == ""


def test_a_pair_that_cannot_work_is_not_offered_and_its_run_is_refused(sample: Workspace, tmp_path: Path) -> None:
    registry, store = ModelRegistry(Catalog(sample)), EvaluationStore(sample)
    registry.add(write_adapter(tmp_path / "fits.gguf", seed=1), "fits")
    registry.add(write_adapter(tmp_path / "narrow.gguf", seed=1, width=128), "narrow")
    offered = {model.name for model in registry.runnable()}
    assert "support-base+fits" in offered
    assert "support-base+narrow" not in offered
    suite = store.suite("triage").suite
    assert store.columns(suite, ["support-base+fits"])
    with pytest.raises(InputRefusedError, match="the adapter narrow does not fit support-base: its blk") as caught:
        store.columns(suite, ["support-base+narrow"])
    assert caught.value.code == "adapter_misfit"
    with pytest.raises(NotFoundError):
        store.columns(suite, ["support-base+none"])
