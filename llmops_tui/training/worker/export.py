"""The export job: merge, convert and quantize an adapter; register and verify each result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmops_tui.datasets.tokens import ModelText
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.gguf import read_header
from llmops_tui.models.quantize import TYPES, run_quantizer
from llmops_tui.models.registry import Model, with_adapter
from llmops_tui.models.safetensors import read_folder
from llmops_tui.training.bases import tokenized_by
from llmops_tui.training.example import Example
from llmops_tui.training.examples import some_held_out
from llmops_tui.training.export.adapter import read_adapter, read_changes
from llmops_tui.training.export.conversion import convert
from llmops_tui.training.export.merge import merge_gguf, merge_safetensors
from llmops_tui.training.export.proof import LOSSLESS, QUANTIZED, Case, Served, Step, ask_gguf, compare
from llmops_tui.training.export.proof_store import keep_proof
from llmops_tui.training.export.serving_model import serving_model
from llmops_tui.training.export.validation import check_export
from llmops_tui.training.families import Family
from llmops_tui.training.parity import compare_with_serving, some_rows
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.records import Converted, ExportResult
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.training.worker.carried import carried_by
from llmops_tui.training.worker.whole import whole_folder
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.lineage import record_edges

_CASES = 20


def export(
    context: JobContext,
    run_name: str,
    *,
    merge: bool = True,
    quantize: str | None = None,
    safetensors: str | None = None,
    serving: str = "",
) -> ExportResult:
    """Make what was asked for of a run's adapter, and prove each step."""
    store = RunStore(context.workspace)
    run = check_export(store, run_name, quantize)
    maker = _Maker(context, store, run)
    result: ExportResult = {"run": run_name, "models": []}
    if safetensors is not None:
        maker.folder(Path(safetensors))
        result["safetensors"] = safetensors
    steps: list[tuple[str, Model, Model | None, Any]] = []
    base: Model | None = None
    if not run.recipe.ends_whole:
        base = store.registry.get(serving) if serving else maker.serving()
        with suppress(NotFoundError):
            adapter = store.registry.get(run.name)
            steps.append((f"{base.name} + adapter", base, adapter, QUANTIZED if _lossy(base) else LOSSLESS))
    elif serving:
        raise InputRefusedError(
            "whole_model", f"run {run.name} ended as a model of its own, which serves without another"
        )
    if merge or quantize is not None:
        whole = maker.merged(base)
        steps.append((whole.name, whole, None, LOSSLESS))
        result["models"].append(whole.name)
        if quantize is not None and quantize != "F16":
            small = maker.quantized(whole, quantize)
            steps.append((small.name, small, None, LOSSLESS if quantize == "F32" else QUANTIZED))
            result["models"].append(small.name)
    result["proof"] = [step.as_dict() for step in prove(context, store, run, steps)]
    for _, model, _, _ in steps:
        keep_proof(store.catalog, model.sha256, result["proof"])
    return result


def convert_model(context: JobContext, name: str, target: str) -> Converted:
    """The job that writes a registered model folder as GGUF and registers that."""
    store = RunStore(context.workspace)
    model = store.registry.get(name)
    if model.kind != "safetensors":
        raise InputRefusedError("not_convertible", f"{name!r} is not a safetensors folder")
    made = _register(context, store, target, lambda path, told: convert(model.path, path, target, told))
    _edges(store, made, "convert", "F16", [model.sha256])
    return {"model": made.name, "path": str(made.path), "sha256": made.sha256}


def _lossy(model: Model) -> bool:
    return model.quantization not in {"F32", "F16", "BF16"}


class _Maker:
    """Makes the models of one export; what already exists is used as it is."""

    def __init__(self, context: JobContext, store: RunStore, run: Run) -> None:
        self._context, self._store, self._run = context, store, run
        self._base = store.base_of(run.recipe)
        # Of a GGUF base the folder that was trained on.
        self._weights = _weights(context, store, run)
        folder = read_folder(self._weights)
        self._family = Family(folder.family, folder.config)
        self._adapter = run.folder / "adapter"
        self._full = whole_folder(run, self._weights)
        self._chat = carried_by(self._base, run, self._weights)

    def serving(self) -> Model:
        """The base's GGUF; written where there is none."""
        found = serving_model(self._store, self._run.recipe.serving, self._base)
        if found is not None:
            return found
        name = f"{self._base.name}-F16"
        made = _register(
            self._context, self._store, name, lambda path, told: convert(self._base.path, path, name, told)
        )
        _edges(self._store, made, "convert", "F16", [self._base.sha256])
        return made

    def merged(self, serving: Model | None) -> Model:
        """The base with the adapter in it, in 16 bits; of a run that ended whole the model that it is."""
        if self._run.recipe.ends_whole:
            return self._store.registry.get(self._run.name)
        assert serving is not None
        name = f"{self._run.name}-F16"
        with suppress(NotFoundError):
            return self._store.registry.get(name)
        changes = read_adapter(self._adapter)
        # A GGUF base has no other weights than its own, exact as they are.
        whole = None if self._base.kind == "gguf" else self._base.path
        made = _register(
            self._context,
            self._store,
            name,
            lambda path, told: merge_gguf(self._family, changes, serving.path, path, name, told, whole, self._chat),
        )
        _edges(self._store, made, "merge", "F16", [serving.sha256, *self._adapter_hash()])
        return made

    def _adapter_hash(self) -> list[str]:
        return [str(self._run.result["sha256"])] if self._run.result and self._run.result.get("sha256") else []

    def quantized(self, whole: Model, kind: str) -> Model:
        """The merged model, quantized."""
        name = f"{self._run.name}-{kind}"
        with suppress(NotFoundError):
            return self._store.registry.get(name)
        made = _register(
            self._context,
            self._store,
            name,
            lambda path, _told: run_quantizer(self._context, whole.path, path, TYPES[kind][0]),
        )
        _edges(self._store, made, "quantize", kind, [whole.sha256])
        return made

    def folder(self, target: Path) -> None:
        """The merged model as safetensors."""
        if target.exists():
            raise InputRefusedError("file_exists", f"{target} already exists", "Choose another folder.")
        if not target.parent.is_dir():
            raise InputRefusedError(
                "no_folder", f"there is no folder {target.parent}", "Create it, or choose another folder."
            )
        scratch = target.with_name(f".{target.name}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            if self._full is not None:
                merge_safetensors([], self._full, scratch, self._context.report, self._chat)
            else:
                changes = read_changes(self._adapter)
                merge_safetensors(changes, self._weights, scratch, self._context.report, self._chat)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _weights(context: JobContext, store: RunStore, run: Run) -> Path:
    """The folder of the weights that a run was trained on."""
    from llmops_tui.training.worker.unpack import weights_of

    return weights_of(context.workspace, store.base_of(run.recipe), run.recipe, context.report)


def _register(context: JobContext, store: RunStore, name: str, make: Callable[[Path, Any], None]) -> Model:
    """Write a file under another name, check it, give it its own, and register it."""
    final = store.workspace.models / f"{name}.gguf"
    if final.exists():
        raise InputRefusedError(
            "file_exists", f"{final} already exists, and is not registered as {name!r}", "Move it to another place."
        )
    scratch = final.with_name(f".{final.name}.part")
    try:
        make(scratch, context.report)
        read_header(scratch)
        scratch.chmod(0o600)
        scratch.rename(final)
    except OSError as error:
        raise LlmopsError(
            "write_failed", f"cannot write {final}: {error.strerror or error}", "Check the free space."
        ) from error
    finally:
        scratch.unlink(missing_ok=True)
    return store.registry.add(final, name)


def _edges(store: RunStore, made: Model, kind: str, recipe: str, inputs: list[str]) -> None:
    store.catalog.write(
        lambda connection: record_edges(connection, output=made.sha256, kind=kind, recipe=recipe, inputs=inputs)
    )


def cases_of(store: RunStore, run: Run, text: ModelText) -> tuple[list[Case], frozenset[int]]:
    """Conversations of the run's own data to compare on, held out ones first, and the ids that end an answer."""
    cases = []
    for example in some_held_out(run.recipe, store.datasets, text, _CASES):
        prompt, answer = _prompt_and_answer(example)
        if prompt and answer:
            cases.append(Case(text.tokenizer.text_of(prompt), prompt, answer))
    return cases, text.end_ids


def _prompt_and_answer(example: Example) -> tuple[list[int], list[int]]:
    """The tokens up to the last answer, and those of the answer up to what ends it."""
    if "prompt_ids" in example:
        return example["prompt_ids"], example.get("chosen_ids") or example["completion_ids"]
    labels = example["labels"]
    end = max(i for i, label in enumerate(labels) if label != -100) + 1
    start = end
    while start > 0 and labels[start - 1] != -100:
        start -= 1
    # Of a text that is learned from whole, the first quarter is the prompt.
    start = start or max(1, end // 4)
    return example["input_ids"][:start], example["input_ids"][start:end]


def prove(
    context: JobContext, store: RunStore, run: Run, steps: list[tuple[str, Model, Model | None, Any]]
) -> list[Step]:
    """The table of all steps, compared with transformers."""
    from llmops_tui.training.worker.reference import ask

    base, recipe = store.base_of(run.recipe), run.recipe
    weights = _weights(context, store, run)
    with ModelText(tokenized_by(recipe, base, weights), recipe.template(base.header.get("chat_template"))) as text:
        cases, ends = cases_of(store, run, text)
        if not cases or not steps:
            return []
        rows = some_rows(recipe, store.datasets)[:_CASES]
        served = [
            _served(text, model if adapter is None else with_adapter(model, adapter), recipe, rows)
            for _, model, adapter, _ in steps
        ]
    context.report(0, "evaluating the adapter on its base")
    full = whole_folder(run, weights)
    reference = ask(
        full or weights,
        None if full else run.folder / "adapter",
        cases,
        ends,
        lambda s: context.report(s, "asking transformers"),
    )
    found = []
    for (name, model, adapter, limits), how in zip(steps, served, strict=True):
        answers = ask_gguf(
            model.path,
            adapter.path if adapter is not None else None,
            cases,
            lambda share, name=name: context.report(share, f"evaluating {name}"),  # type: ignore[misc]
            # The server takes the ends of an answer from the template that an adapter carries.
            ends if adapter is not None and adapter.header.get("chat_template") else (),
        )
        found.append(compare(name, reference, answers, cases, ends, limits, how))
    return found


def _served(text: ModelText, model: Model, recipe: Recipe, rows: list[tuple[str, Any]]) -> Served:
    """How a step is served, with its own template, beside what was trained."""
    parity = compare_with_serving(text, model, None, rows)
    template = sha256_text(str(model.header.get("chat_template") or ""))
    return Served(template, recipe.chat_template_kwargs, parity.compared, parity.different)
