"""Work on model files that runs as a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.adding import add_file
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalogue import Catalogue


def verify(context: JobContext, name: str) -> dict[str, Any]:
    """Hash a model's file again and compare."""
    registry = ModelRegistry(Catalogue(context.workspace))
    model = registry.verify(name, lambda share: context.report(share, f"hashing {name}"))
    return {"model": model.name, "sha256": model.sha256, "intact": True}


def add(context: JobContext, path: str, name: str) -> dict[str, Any]:
    """Check, hash and register a model file."""
    registry = ModelRegistry(Catalogue(context.workspace))
    return add_file(registry, Path(path), name, lambda share: context.report(share, f"hashing {path}")).as_dict()
