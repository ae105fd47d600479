"""The bill of materials of a model: what it says is in the workspace, and it is CycloneDX as CycloneDX checks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.maintenance.model_bom import _address, _of_model
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges
from tests.commands import Llmops


def test_it_says_what_a_model_was_made_from_and_what_was_measured(sample: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(sample)
    catalog = Catalog(sample)
    registry = ModelRegistry(catalog)
    made = llmops.run("model", "bom", "support-base-q4")
    main = made["metadata"]["component"]
    model, base = registry.get("support-base-q4"), registry.get("support-base")
    assert main["hashes"] == [{"alg": "SHA-256", "content": model.sha256}]
    assert main["modelCard"]["modelParameters"]["architectureFamily"] == model.header["architecture"]
    (rows,) = catalog.read(lambda db: db.execute("SELECT sha256 FROM dataset_versions LIMIT 1").fetchall())
    catalog.write(lambda db: record_edges(db, output=base.sha256, kind="train", recipe="r", inputs=[rows[0]]))
    catalog.write(lambda db: record_edges(db, output=model.sha256, kind="quantize", recipe="r", inputs=[base.sha256]))
    path = tmp_path / "bom.json"
    written = llmops.run("model", "bom", "support-base-q4", "--to", str(path))["components"]
    whole = json.loads(path.read_text())
    parts = {part["hashes"][0]["content"]: part for part in whole["components"] if part.get("hashes")}
    assert written == len(whole["components"]) >= 2
    assert (parts[base.sha256]["name"], parts[base.sha256]["type"]) == ("support-base", "machine-learning-model")
    assert parts[rows[0]]["type"] == "data"
    depends = {one["ref"]: one["dependsOn"] for one in whole["dependencies"]}
    below, learned = parts[base.sha256]["bom-ref"], parts[rows[0]]["bom-ref"]
    assert below in depends[whole["metadata"]["component"]["bom-ref"]]
    assert learned in depends[below]
    assert {"ref": learned} in whole["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"]
    known = {one["bom-ref"] for one in (*whole["components"], whole["metadata"]["component"])}
    assert set(depends) <= known
    assert {ref for found in depends.values() for ref in found} <= known
    gone = "ab" * 32
    catalog.write(lambda db: record_edges(db, output=base.sha256, kind="convert", recipe="r", inputs=[gone]))
    (lost,) = [
        part
        for part in llmops.run("model", "bom", "support-base-q4")["components"]
        if part["bom-ref"] == f"model:{gone[:12]}"
    ]
    assert (lost["type"], lost["hashes"][0]["content"]) == ("machine-learning-model", gone)
    llmops.run("model", "bom", "support-base-q4", "--to", str(path), code=3)
    llmops.run("model", "bom", "none", code=3)


@pytest.mark.slow
def test_it_is_cyclonedx(sample: Workspace) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    llmops = Llmops(sample)
    for name in ("support-base", "support-base-q4"):
        text = json.dumps(llmops.run("model", "bom", name))
        assert validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text) is None


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("hf:owner/model", "https://huggingface.co/owner/model"),
        ("package All_MiniLM-model 0.1.2", "pkg:pypi/all-minilm-model@0.1.2"),
        ("https://example.org/a b.gguf?x=1#y", "https://example.org/a%20b.gguf?x=1#y"),
        ("/home/ann/my model.gguf", "file:///home/ann/my%20model.gguf"),
        ("somewhere else", ""),
    ],
)
def test_where_a_model_came_from_is_an_address(place: str, address: str) -> None:
    assert _address(place) == address


@pytest.mark.parametrize(
    ("facts", "task", "told"),
    [
        ({"architecture": "llama"}, "text-generation", "string"),
        ({"architecture": "bert"}, "feature-extraction", "vector"),
    ],
)
def test_a_model_does_what_it_was_made_for(facts: dict[str, str], task: str, told: str) -> None:
    header: Any = {"source": "package all-minilm 1", **facts}
    model = Model("m", "gguf", Path("/m.gguf"), "0" * 64, 1, header, 0.0, 1795831795.6)
    made = _of_model(model, "m")
    parameters = made["modelCard"]["modelParameters"]
    assert (parameters["task"], parameters["outputs"]) == (task, [{"format": told}])
    assert {"name": "llmops:verified_at", "value": "2026-11-28T02:09:55Z"} in made["properties"]
    assert made["externalReferences"] == [{"type": "distribution", "url": "pkg:pypi/all-minilm@1"}]
