"""Validation of an export before its job starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.models.quantize import TYPES
from llmops_tui.training.recipe_parts import FOLDERS, WEIGHTS_OF
from llmops_tui.training.records import Converted, ExportResult
from llmops_tui.workspace.files import sha256_file

if TYPE_CHECKING:
    from llmops_tui.training.runs import Run, RunStore

ENTRY: JobEntry[ExportResult] = JobEntry("llmops_tui.training.worker.export:export")
CONVERT_ENTRY: JobEntry[Converted] = JobEntry("llmops_tui.training.worker.export:convert_model")


def check_export(store: RunStore, name: str, quantize: str | None) -> Run:
    """Refuse what cannot be exported.

    Raises:
        InputRefusedError: the run is not done, its adapter or its base has changed since, or the type is unknown.
    """
    run = store.get(name)
    if run.result is None:
        raise InputRefusedError("not_done", f"run {name} has no adapter yet", "llmops train watch shows its progress.")
    if quantize is not None and quantize not in TYPES:
        raise InputRefusedError(
            "unknown_type", f"{quantize!r} is not a quantization type", f"One of: {', '.join(TYPES)}."
        )
    store.checked(run)
    weights = run.folder / FOLDERS[run.recipe.tuning] / WEIGHTS_OF[run.recipe.tuning]
    known = run.result.get("weights_sha256")
    if known and weights.is_file() and (found := sha256_file(weights)) != known:
        raise InputRefusedError(
            "adapter_changed",
            f"{weights} is not what run {name} wrote: SHA-256 {found[:16]}… instead of {known[:16]}…",
            "Restore it from a backup, or train again: llmops train start.",
        )
    return run
