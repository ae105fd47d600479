"""The bill of materials of a model, as CycloneDX 1.6: its file's hash, what it was made from, and what was measured of it.

All of it is read from the workspace: the file's header, the lineage, training runs and evaluations. What is not known is
left out, and nothing is claimed that nobody measured. https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NotRequired, TypedDict
from urllib.parse import quote

from llmops_tui import __version__
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.embeddings.embedder import made_to_embed
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.maintenance.lineage import Node, trace_lineage
from llmops_tui.models.ranking import is_ranker
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.moments import iso_moment
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog

_SPEC = "1.6"
# What of the lineage is a material, by kind; requests and evaluations are made of a model, and none of it.
_MATERIALS = {"dataset", "model", "file", "prompt"}
# Work whose one input is a model.
_OF_MODELS = {"quantize", "convert"}
_PREFIX = "llmops:"
# How the source of a model that travels in a package is kept.
_PACKAGE = re.compile(r"package (\S+) (\S+)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_OF_ADDRESSES = "%/:?#[]@!$&'()*+,;=~"


class Hash(TypedDict):
    """A digest by its algorithm."""

    alg: str
    content: str


class Property(TypedDict):
    """A fact that CycloneDX has no field for."""

    name: str
    value: str


class Reference(TypedDict):
    """Where something is, outside of this list."""

    type: str
    url: str


class Interval(TypedDict):
    """The interval of a figure, as texts."""

    lowerBound: str
    upperBound: str


class Metric(TypedDict):
    """A figure that was measured: its metric, its value, and the suite it is of."""

    type: str
    value: str
    slice: str
    confidenceInterval: NotRequired[Interval]


class Ref(TypedDict):
    """A component of this list."""

    ref: str


class Parameters(TypedDict, total=False):
    """What a model is."""

    task: str
    architectureFamily: str
    modelArchitecture: str
    datasets: list[Ref]
    inputs: list[dict[str, str]]
    outputs: list[dict[str, str]]


class ModelCard(TypedDict, total=False):
    """What is known of a model."""

    modelParameters: Parameters
    quantitativeAnalysis: dict[str, list[Metric]]


Component = TypedDict(
    "Component",
    {
        "type": str,
        "bom-ref": str,
        "name": str,
        "version": NotRequired[str],
        "hashes": NotRequired[list[Hash]],
        "licenses": NotRequired[list[dict[str, dict[str, str]]]],
        "externalReferences": NotRequired[list[Reference]],
        "modelCard": NotRequired[ModelCard],
        "data": NotRequired[list[dict[str, str]]],
        "properties": NotRequired[list[Property]],
    },
)
"""A part: a model, a dataset, or a file."""


class Dependency(TypedDict):
    """What a component was made from."""

    ref: str
    dependsOn: list[str]


class Metadata(TypedDict):
    """When and by what the list was made, and of what it is."""

    timestamp: str
    tools: dict[str, list[dict[str, str]]]
    component: Component


class Bom(TypedDict):
    """A CycloneDX document."""

    bomFormat: str
    specVersion: str
    serialNumber: str
    version: int
    metadata: Metadata
    components: list[Component]
    dependencies: list[Dependency]


def bill_of_materials(catalog: Catalog, event_log: EventLog, evaluations: EvaluationStore, name: str) -> Bom:
    """The bill of materials of a registered model.

    Raises:
        NotFoundError: there is no such model.
    """
    registry = ModelRegistry(catalog)
    model = registry.get(name)
    nodes: dict[str, Node] = {}
    edges: dict[str, list[str]] = {}
    if model.sha256:
        _gather(trace_lineage(catalog, event_log, f"model:{model.sha256}").sources, nodes, edges)
    refs = {digest: _ref(node) for digest, node in nodes.items()} | {model.sha256: _ref_of(model)}
    by_hash = {one.sha256: one for one in registry.all() if one.sha256}
    results = {*nodes, model.sha256}
    runs = [run for run in RunStore(catalog.workspace).all() if (run.result or {}).get("sha256") in results]
    main = _of_model(model, _ref_of(model))
    datasets: list[Ref] = [{"ref": refs[digest]} for digest, node in nodes.items() if node.kind == "dataset"]
    card = main.setdefault("modelCard", {})
    card.setdefault("modelParameters", {})["datasets"] = datasets
    if metrics := list(_metrics(evaluations, model)):
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    main["properties"] = [*main.get("properties", []), *_of_runs(runs)]
    store = DatasetStore(catalog)
    parts = [_component(store, by_hash, node, refs[digest]) for digest, node in nodes.items() if digest != model.sha256]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": _SPEC,
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": iso_moment(time.time()),
            "tools": {"components": [{"type": "application", "name": "llmops-tui", "version": __version__}]},
            "component": main,
        },
        "components": parts,
        "dependencies": [
            {"ref": refs[digest], "dependsOn": sorted({refs[one] for one in edges.get(digest, ()) if one in refs})}
            for digest in refs
            if digest in nodes or digest == model.sha256
        ],
    }


def _gather(node: Node, nodes: dict[str, Node], edges: dict[str, list[str]]) -> None:
    """The materials of a tree of sources, each once, and what each was made from."""
    if node.kind not in _MATERIALS:
        return
    nodes.setdefault(node.id, node)
    for child in node.children:
        if child.kind in _MATERIALS:
            edges.setdefault(node.id, []).append(child.id)
            _gather(child, nodes, edges)


def _component(store: DatasetStore, by_hash: dict[str, Model], node: Node, ref: str) -> Component:
    if node.kind == "model" and node.id in by_hash:
        return _of_model(by_hash[node.id], ref)
    if _is_gone_model(node):
        gone: Component = {
            "type": "machine-learning-model", "bom-ref": ref, "name": "a model that is registered no more",
            "version": node.id[:12], "hashes": _hashes(node.id), "properties": _properties(kind="model"),
        }  # fmt: skip
        return gone
    name, _, number = node.name.rpartition("@")
    made: Component = {"type": "data" if node.kind == "dataset" else "file", "bom-ref": ref, "name": name or node.name}
    if number and name:
        made["version"] = number
    made["hashes"] = _hashes(node.id)
    if node.kind == "dataset":
        made["data"] = [{"type": "dataset", "name": node.name}]
        version = store.get(node.name)
        made["properties"] = _properties(rows=version.rows, kind=version.kind, hash_scheme=version.scheme)
    else:
        made["properties"] = _properties(kind=node.kind)
    return {name: value for name, value in made.items() if value != []}  # type: ignore[return-value]


def _of_model(model: Model, ref: str) -> Component:
    header = model.header
    made: Component = {"type": "machine-learning-model", "bom-ref": ref, "name": model.name}
    if model.sha256:
        made["version"] = model.sha256[:12]
        made["hashes"] = _hashes(model.sha256)
    if license_ := header.get("license"):
        # As the file says it, which need not be a name of SPDX's list.
        made["licenses"] = [{"license": {"name": str(license_)}}]
    places = [("distribution", header.get("source")), ("website", header.get("url"))]
    references: list[Reference] = [
        {"type": kind, "url": address} for kind, place in places if place and (address := _address(str(place)))
    ]
    if references:
        made["externalReferences"] = references
    text, vector = [{"format": "string"}], [{"format": "vector"}]
    # What ranks tells a score, what embeds a vector; the rest writes.
    task, told = ("text-generation", text)
    if is_ranker(model):
        task, told = "text-ranking", [{"format": "number"}]
    elif made_to_embed(model):
        task, told = "feature-extraction", vector
    parameters: Parameters = {"task": task, "inputs": text, "outputs": told}
    if architecture := header.get("architecture"):
        parameters["architectureFamily"] = str(architecture)
        parameters["modelArchitecture"] = str(header.get("name") or architecture)
    made["modelCard"] = {"modelParameters": parameters}
    made["properties"] = _properties(
        kind=model.kind,
        quantization=header.get("quantization"),
        parameters=header.get("parameters"),
        context_length=header.get("context_length"),
        size_bytes=model.size_bytes or None,
        revision=header.get("revision"),
        verified_at=None if model.verified_at is None else iso_moment(model.verified_at),
    )
    return made


def _of_runs(runs: list[Run]) -> list[Property]:
    found: list[Property] = []
    for run in runs:
        recipe = run.recipe
        found += _properties(
            **{f"training_run:{run.name}:method": recipe.method, f"training_run:{run.name}:base": recipe.base}
        )
    return found


def _metrics(evaluations: EvaluationStore, model: Model) -> Iterator[Metric]:
    """The newest figures of each version of a suite that counts, with their intervals."""
    seen: set[str] = set()
    for run in evaluations.all():
        if run.summary is None or not _is_of(run, model) or run.suite_ref in seen:
            continue
        seen.add(run.suite_ref)
        for name, figure in run.summary.get("metrics", {}).items():
            if figure["mean"] is None:
                continue
            told: Metric = {"type": name, "value": f"{figure['mean']:.6g}", "slice": run.suite_ref}
            if figure["low"] is not None and figure["high"] is not None:
                bounds: Interval = {"lowerBound": f"{figure['low']:.6g}", "upperBound": f"{figure['high']:.6g}"}
                told["confidenceInterval"] = bounds
            yield told


def _is_of(run: EvalRun, model: Model) -> bool:
    """Whether a run asked this model's file, and no adapter beside it; behind an address, that name."""
    manifest = run.manifest
    if model.sha256:
        return manifest.get("model_sha256") == model.sha256 and not manifest.get("adapter_sha256")
    return run.asked.model == model.name


def _hashes(digest: str) -> list[Hash]:
    plain = len(digest) == 64 and all(one in "0123456789abcdef" for one in digest)
    return [{"alg": "SHA-256", "content": digest}] if plain else []


def _properties(**given: object) -> list[Property]:
    return [{"name": f"{_PREFIX}{name}", "value": str(value)} for name, value in given.items() if value is not None]


def _address(place: str) -> str:
    """Where a file came from as an IRI, as the standard has it; empty where it is none."""
    if place.startswith("hf:"):
        place = f"https://huggingface.co/{place.removeprefix('hf:')}"
    elif found := _PACKAGE.fullmatch(place):
        # https://github.com/package-url/purl-spec: names of PyPI have no capitals, and - for _.
        return f"pkg:pypi/{quote(found[1].lower().replace('_', '-'))}@{quote(found[2])}"
    elif place.startswith("/"):
        place = Path(place).as_uri()
    return quote(place, safe=_OF_ADDRESSES) if _SCHEME.match(place) else ""


def _is_gone_model(node: Node) -> bool:
    """Whether a thing that nothing here is called by was a model: what is made of it says so."""
    return node.kind == "file" and node.name.endswith("…") and node.how in _OF_MODELS


def _ref(node: Node) -> str:
    if _is_gone_model(node):
        return f"model:{node.id[:12]}"
    return f"{node.kind}:{node.name}@{node.id[:12]}"


def _ref_of(model: Model) -> str:
    return f"model:{model.name}@{model.sha256[:12]}"
