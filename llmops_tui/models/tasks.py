"""Work on model files that runs as a job."""

from __future__ import annotations

from pathlib import Path

from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.records import AddedRecord, Verified
from llmops_tui.models.registration import add_file
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog

VERIFY: JobEntry[Verified] = JobEntry("llmops_tui.models.tasks:verify")
ADD: JobEntry[AddedRecord] = JobEntry("llmops_tui.models.tasks:add")


def verify(context: JobContext, name: str) -> Verified:
    """Hash a model's file again and compare."""
    registry = ModelRegistry(Catalog(context.workspace))
    model = registry.verify(name, lambda share: context.report(share, f"hashing {name}"))
    return {"model": model.name, "sha256": model.sha256, "intact": True}


def add(context: JobContext, path: str, name: str) -> AddedRecord:
    """Check, hash and register a model file."""
    registry = ModelRegistry(Catalog(context.workspace))
    return add_file(registry, Path(path), name, lambda share: context.report(share, f"hashing {path}")).as_dict()
