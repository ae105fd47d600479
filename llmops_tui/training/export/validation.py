"""Validation of an export before its job starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.models.quantize import TYPES
from llmops_tui.training.records import Converted, ExportResult

if TYPE_CHECKING:
    from llmops_tui.training.runs import Run, RunStore

ENTRY: JobEntry[ExportResult] = JobEntry("llmops_tui.training.worker.export:export")
CONVERT_ENTRY: JobEntry[Converted] = JobEntry("llmops_tui.training.worker.export:convert_model")


def check_export(store: RunStore, name: str, quantize: str | None) -> Run:
    """Refuse what cannot be exported.

    Raises:
        InputRefusedError: the run is not done, or the type is unknown.
    """
    run = store.get(name)
    if run.result is None:
        raise InputRefusedError("not_done", f"run {name} has no adapter yet", "llmops train watch shows its progress.")
    if quantize is not None and quantize not in TYPES:
        raise InputRefusedError(
            "unknown_type", f"{quantize!r} is not a quantization type", f"One of: {', '.join(TYPES)}."
        )
    return run
