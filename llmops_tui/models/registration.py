"""Registration of a model file, with warnings about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.models.records import AddedRecord
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.models.support import doubts
from llmops_tui.user_files import with_home


@dataclass(frozen=True)
class Added:
    """A registered model, what there is to be told of it, and whether its name was not known before."""

    model: Model
    notes: tuple[str, ...] = ()
    new: bool = True

    def as_dict(self) -> AddedRecord:
        """For JSON."""
        return {**self.model.as_dict(), "notes": list(self.notes), "new": self.new}


def add_file(
    registry: ModelRegistry,
    path: Path,
    name: str,
    progress: Callable[[float], None] | None = None,
    *,
    move: bool = False,
) -> Added:
    """Register a file or a folder, as :meth:`ModelRegistry.add`.

    Where the same bytes are registered under the name already, that place is kept while they are there, unless ``move``.
    """
    before = next((model for model in registry.all() if model.name == name), None)
    model = registry.add(path, name, progress, move=move)
    return Added(model, (*_place(before, model, path), *doubts(model.kind, model.header)), before is None)


def _place(before: Model | None, model: Model, given: Path) -> list[str]:
    if before is None:
        return []
    if before.path.resolve() != model.path.resolve():
        return [f"{model.name} was registered at {before.path}; it is now registered at {model.path}"]
    if model.path.resolve() != with_home(given).resolve():
        told = f"{model.name} is registered already and stays at {model.path}; {given} has the same bytes"
        return [f"{told} (llmops model add --move registers it there)"]
    return []
