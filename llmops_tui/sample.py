"""Fills a workspace with the bundled sample data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.chains.store import PREFIX, ChainStore
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite_file import read_suite
from llmops_tui.models.known_models import known_model
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts import prompt_files
from llmops_tui.prompts.drafts import Draft, Drafts, Session
from llmops_tui.prompts.store import PromptStore
from llmops_tui.sample_files import sample_folder
from llmops_tui.training import presets
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import copy_durable, sha256_file
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges
from llmops_tui.workspace.marker import make_workspace

if TYPE_CHECKING:
    import duckdb

# Registered name -> file. The name is what prompts and commands use.
_MODELS = {"support-base": "support-base-Q8_0.gguf", "support-base-q4": "support-base-Q4_K_M.gguf"}
# The same weights as they are trained: the folder that the GGUF files were made of.
_WEIGHTS = ("support-base-hf", "support-base")
_DATASETS = {"triage": "triage-train.jsonl", "triage-test": "triage-test.jsonl"}
# Where the demo opens: on the shop's own model, or, where it is in the cache, on a real instruct model.
_SHOP = Session(prompt="support", model="support-base")
REAL_MODEL = "smollm2-135m"
_REAL = Session(prompt="tips", model=REAL_MODEL)
_RECIPE = {"name": "triage-qlora", "base": "support-base-hf", "data": ["triage"]}


class Filled(TypedDict):
    """What a workspace has after the sample was added to it, by name."""

    workspace: str
    models: list[str]
    datasets: list[str]
    prompts: list[str]
    suites: list[str]
    chains: list[str]


def fill(workspace: Workspace, real: Path | None = None) -> Filled:
    """Add the sample's models, prompts and data files; what already exists stays as it is.

    ``real`` is the file of :data:`REAL_MODEL`, where it is in the cache: it is registered where it lies, since all
    workspaces share it, and the playground opens on a prompt made for it.
    """
    folder = sample_folder()
    catalog, event_log = Catalog(make_workspace(workspace)), EventLog(workspace)
    registry, store, drafts = ModelRegistry(catalog), PromptStore(catalog), Drafts(event_log)
    sums = _checksums(folder / "models" / "SHA256SUMS")
    known_models = {model.name for model in registry.all()}
    for name, file in _MODELS.items():
        if name not in known_models:
            target = workspace.models / file
            copy_durable(folder / "models" / file, target)
            if hashlib.sha256(target.read_bytes()).hexdigest() != sums[file]:
                raise LlmopsError("sample_damaged", f"{target} differs from the sample's checksum", "Check the disk.")
            registry.add(target, name)
    _add_weights(workspace, folder / "models", registry, sums)
    _add_prompts(folder / "prompts", store, drafts)
    datasets = DatasetStore(catalog)
    known_datasets = datasets.logs()
    for name, file in _DATASETS.items():
        if name not in known_datasets:
            import_now(datasets, [folder / "datasets" / file], name, "messages")
    runs = RunStore(workspace)
    if _RECIPE["name"] not in {name for name, *_ in runs.recipes()}:
        runs.save_recipe(presets.apply(check(_RECIPE), "tiny"), "teaches the base to triage")
    evaluations = EvaluationStore(workspace)
    _add_suites(folder / "suites", evaluations)
    chains = ChainStore(catalog)
    _add_chains(folder / "chains", chains)
    if drafts.load_session().prompt is None:
        drafts.save_session(_SHOP)
    if real is not None:
        _add_real(real, registry, store, drafts)
    return {
        "workspace": str(workspace.root),
        "models": [model.name for model in registry.all()],
        "datasets": list(datasets.logs()),
        "prompts": [prompt.name for prompt in store.summaries()],
        "suites": [version.ref for version in evaluations.suites()],
        "chains": chains.served_names(),
    }


def _add_real(path: Path, registry: ModelRegistry, store: PromptStore, drafts: Drafts) -> None:
    model = known_model(REAL_MODEL)
    there = next((m for m in registry.all() if m.name == REAL_MODEL), None)
    if there is not None and there.sha256 != model.file.sha256:
        return  # the name is the user's own
    if there is None or not there.present:
        registry.add(path, REAL_MODEL, origin=model.source)
    if _REAL.prompt in {prompt.name for prompt in store.summaries()}:
        return
    _add_prompts(sample_folder() / "prompts" / REAL_MODEL, store, drafts)
    # Whoever went somewhere else since the demo was made is left there.
    session = drafts.load_session()
    if (session.prompt, session.model) == (_SHOP.prompt, _SHOP.model):
        drafts.save_session(_REAL)


def _add_prompts(folder: Path, store: PromptStore, drafts: Drafts) -> None:
    known = {prompt.name for prompt in store.summaries()}
    # Sorted backwards, so that the list, newest first, reads in alphabetical order.
    for path in sorted(folder.glob("*.yaml"), reverse=True):
        file_ = prompt_files.parse(path.read_text(encoding="utf-8"), path.name)
        if file_.prompt in known:
            continue
        versions = prompt_files.load(store, file_).versions
        last = versions[-1]
        draft = Draft(
            system=last.system,
            template=last.template,
            variables=file_.variables,
            base=last.number,
            settings=last.settings_text,
        )
        drafts.save(file_.prompt, draft)


def _add_suites(folder: Path, store: EvaluationStore) -> None:
    known = {version.suite.name for version in store.suites()}
    for path in sorted(folder.glob("*.yaml")):
        if path.stem not in known:
            store.save_suite(read_suite(path), "from the sample")


def _add_chains(folder: Path, store: ChainStore) -> None:
    known = set(store.served_names())
    for path in sorted(folder.glob("*.yaml")):
        if PREFIX + path.stem not in known:
            store.save(path.stem, path.read_text(encoding="utf-8"), "from the sample")


def _add_weights(workspace: Workspace, models: Path, registry: ModelRegistry, sums: dict[str, str]) -> None:
    name, source = _WEIGHTS
    if name in {model.name for model in registry.all()}:
        return
    target = workspace.models / name
    target.mkdir(exist_ok=True, mode=0o700)
    for file in sorted((models / source).iterdir()):
        copy_durable(file, target / file.name)
        if sha256_file(target / file.name) != sums[f"{source}/{file.name}"]:
            raise LlmopsError(
                "sample_damaged", f"{target / file.name} differs from the sample's checksum", "Check the disk."
            )
    weights = registry.add(target, name)
    made = [registry.get(gguf).sha256 for gguf in _MODELS]

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        for output in made:
            record_edges(connection, output=output, kind="convert", recipe="sample", inputs=[weights.sha256])

    registry.catalog.write(work)


def _checksums(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
