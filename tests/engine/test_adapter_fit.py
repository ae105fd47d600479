"""An adapter goes beside the models that it fits, and is refused by name beside all others."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.errors import NotFoundError
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.router.names import resolve
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import write_adapter
from tests.engine.test_cli import run
from tests.engine.test_endpoint import client_of


@pytest.fixture
def registry(sample: Workspace, tmp_path: Path) -> ModelRegistry:
    """The sample's models with an adapter that fits them, one that is wider, and one of more layers."""
    found = ModelRegistry(Catalog(sample))
    found.add(write_adapter(tmp_path / "mine.gguf", seed=1), "mine")
    found.add(write_adapter(tmp_path / "wide.gguf", seed=1, width=576), "wide")
    found.add(write_adapter(tmp_path / "deep.gguf", seed=1, layers=30), "deep")
    return found


def test_only_pairs_that_fit_are_offered(registry: ModelRegistry) -> None:
    pairs = {model.name for model in registry.runnable() if model.origin is not None}
    # In whatever quantization the base is.
    assert pairs == {"support-base+mine", "support-base-q4+mine"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("support-base+wide", "blk.0.attn_output.weight is 576 × 576 there, and 256 × 256 here"),
        ("support-base+deep", "made for a model with blk.5.attn_output.weight, which this one does not have"),
        ("support-base-hf+mine", "'support-base-hf' is safetensors"),
    ],
)
def test_another_models_adapter_is_refused_by_name(registry: ModelRegistry, name: str, why: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        registry.get(name)
    assert refused.value.code == "adapter_misfit"
    assert why in refused.value.message
    fits = "It fits support-base, support-base-q4." if name.endswith("mine") else "It fits no model"
    assert fits in refused.value.hint


def test_an_adapter_whose_file_is_gone_is_not_said_to_fit_nothing(registry: ModelRegistry, tmp_path: Path) -> None:
    (tmp_path / "wide.gguf").unlink()
    assert registry.get("support-base+wide").origin is not None
    assert registry.get("wide").trouble == "file missing"


def test_the_one_address_of_all_models_says_why(registry: ModelRegistry) -> None:
    with pytest.raises(NotFoundError, match="576 × 576"):
        resolve("Support-Base:latest+wide", registry.all())


def test_a_server_lists_what_fits_and_loads_nothing_else(registry: ModelRegistry) -> None:
    supervisor = ServerSupervisor(registry.catalog.workspace)
    handle = supervisor.ensure(registry.get("support-base"), LoadOptions(threads=1, context=512))
    with client_of(handle) as client:
        assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["support-base", "support-base+mine"]
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
        for named in ({"model": "support-base+wide"}, {"adapter": "wide"}):
            answer = client.post("/v1/chat/completions", json=body | named)
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "adapter_misfit"
            assert answer.json()["error"]["param"] in named


def test_an_evaluation_is_refused_before_its_first_request(registry: ModelRegistry) -> None:
    refused = run(
        "eval", "run", "triage", "--prompt", "triage", "--model", "support-base+wide",
        workspace=registry.catalog.workspace,
    )  # fmt: skip
    assert refused.returncode == 3
    assert "'wide' does not fit the model 'support-base'" in refused.stderr
