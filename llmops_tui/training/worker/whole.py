"""The end of a run whose result is a model of its own: all weights trained, new tokens, or modules that were trained whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.gguf import read_header
from llmops_tui.models.safetensors import read_folder
from llmops_tui.training.export.adapter import describe, parents, read_changes
from llmops_tui.training.export.conversion import convert
from llmops_tui.training.export.merge import Carried, carry, merge_gguf, merge_safetensors
from llmops_tui.training.export.serving_model import serving_model
from llmops_tui.training.families import Family
from llmops_tui.training.recipe_parts import WEIGHTS_OF
from llmops_tui.training.records import RunResult
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.training.worker.carried import carried_by
from llmops_tui.workspace.files import sha256_file
from llmops_tui.workspace.lineage import record_edges

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model

_Progress = Callable[[float, str], None]


def finish_whole(context: JobContext, store: RunStore, run: Run, trained: Path, weights: Path) -> RunResult:
    """Write recipe and card beside what was learned, the model as GGUF in 16 bits, and register that with its lineage.

    ``trained`` is the folder of the adapter or of all weights, ``weights`` the one that was trained on.
    """
    base = store.checked(run, data=False)
    describe(trained, run, base)
    result: RunResult = {
        "adapter": str(trained),
        "whole": True,
        "weights_sha256": sha256_file(trained / WEIGHTS_OF[run.recipe.tuning]),
    }
    final = store.workspace.models / f"{run.name}.gguf"
    scratch = final.with_name(f".{final.name}.part")
    try:
        _write(store, run, base, (trained, weights), scratch, context.report)
        read_header(scratch)
        scratch.chmod(0o600)
        scratch.rename(final)
    except InputRefusedError as error:
        # What was learned is good; only this form of it cannot be made.
        return result | {"model": None, "without_gguf": error.told}
    finally:
        scratch.unlink(missing_ok=True)
    model = store.registry.add(final, run.name)
    # Read before the catalog is written: whoever reads it while it writes waits for itself.
    inputs = parents(store, run, base)
    store.catalog.write(
        lambda connection: record_edges(
            connection, output=model.sha256, kind="train", recipe=run.recipe.sha256, inputs=inputs
        )
    )
    return result | {"model": model.name, "sha256": model.sha256, "serving": model.name}


def whole_folder(run: Run, weights: Path) -> Path | None:
    """The folder in which a run has all weights; none of an adapter."""
    found = run.folder / "model"
    if run.recipe.tuning != "full":
        return None
    # What decides what text becomes is the base's, as the template that was trained with is the run's.
    for file in read_folder(weights).files:
        if file.suffix != ".safetensors" and not (found / file.name).is_file():
            shutil.copyfile(file, found / file.name)
    return found


def _write(store: RunStore, run: Run, base: Model, folders: tuple[Path, Path], target: Path, told: _Progress) -> None:
    trained, weights = folders
    chat = carried_by(base, run, weights)
    family = read_folder(weights)
    here = Family(family.family, family.config)
    full = whole_folder(run, weights)
    changes = [] if full is not None else read_changes(trained)
    serving = None if run.recipe.tokens else serving_model(store, run.recipe.serving, base)
    if serving is not None:
        # All but the tensors is the served file's own.
        whole = full or (None if base.kind == "gguf" else weights)
        merge_gguf(here, changes, serving.path, target, run.name, told, whole, chat)
        return
    if full is not None:
        if chat is not None:
            carry(full, chat)
        convert(full, target, run.name, told)
        return
    with tempfile.TemporaryDirectory(prefix=".merged-", dir=run.folder) as scratch:
        merged = Path(scratch) / "model"
        merge_safetensors(
            changes, weights, merged, told, Carried(chat.template, chat.end) if chat else None, kind="F32"
        )
        convert(merged, target, run.name, told)
