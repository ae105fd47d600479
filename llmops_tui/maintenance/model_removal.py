"""Removal of a model: blockers, dependents, what is deleted, and the removal itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.experiments.records import Arm
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.archiving import Archivable, forget_archived
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.deletion import renamed_away
from llmops_tui.maintenance.in_use import Thing, users_of
from llmops_tui.maintenance.records import ModelRemovalRecord
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.models.staged_download import OWN_FILES
from llmops_tui.monitoring.judge_table import JudgeTable
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksum_scope import NOTE
from llmops_tui.workspace.checksums import forget as forget_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import bytes_in
from llmops_tui.workspace.layout import Workspace

_ARMS: tuple[Arm, Arm] = ("a", "b")


@dataclass(frozen=True)
class ModelRemoval:
    """What removing a model means.

    Attributes:
        model: the one that goes; the catalog forgets it.
        paths: what of the workspace's ``models`` goes with it; nothing where its file lies elsewhere or another needs it.
        size: their bytes.
        uses: what was done with it, in words; all of that stays, and can no longer be gone on with.
        in_the_way: what uses it now, in words.
        done: whether it was removed.
    """

    model: Model
    paths: tuple[Path, ...]
    size: int
    uses: tuple[str, ...]
    in_the_way: tuple[str, ...]
    done: bool = False

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def needs_force(self) -> bool:
        """Whether somebody has to agree to more than the thing itself."""
        return bool(self.uses)

    @property
    def stays(self) -> Path | None:
        """The model's file, where it is not the workspace's and stays; none where it goes, or where there is none."""
        return None if self.model.kind == "remote" or self.paths else self.model.path

    def as_dict(self) -> ModelRemovalRecord:
        """For JSON."""
        return {
            "model": self.model.name,
            "path": str(self.model.path),
            "removed_paths": [str(path) for path in self.paths],
            "size_bytes": self.size,
            "uses": list(self.uses),
            "busy": list(self.in_the_way),
            "done": self.done,
        }


def plan_removal(workspace: Workspace, name: str) -> ModelRemoval:
    """What would go, and what stands in the way; changes nothing.

    Raises:
        NotFoundError: no model has this name.
    """
    registry = ModelRegistry(Catalog(workspace))
    model = registry.get(name)
    if model.origin is not None:
        raise InputRefusedError(
            "two_models", f"{name!r} is two models", f"Choose one: {model.base.name} or {model.header['adapter']}"
        )
    others = [other for other in registry.all() if other.name != name and other.kind != "remote"]
    paths = _paths(workspace, model, others)
    size = bytes_in(*paths)
    return ModelRemoval(model, paths, size, _uses(registry.catalog, model), busy_with(workspace, model))


def remove_model(workspace: Workspace, name: str, *, force: bool = False) -> ModelRemoval:
    """Do it, thought through anew; ``force`` also where something was done with the model.

    Raises:
        InputRefusedError: ``model_busy``: something uses it now; ``model_used``: something did, and no ``force``.
        LlmopsError: ``not_taken_away``: a file cannot be removed; the model is registered as before.
    """
    # Nobody starts a job from here on: what is seen now stays so.
    with exclusive_maintenance(workspace), JobStore(EventLog(workspace)).door():
        planned = plan_removal(workspace, name)
        if planned.in_the_way:
            raise InputRefusedError(
                "model_busy", f"{name!r} is in use: {'; '.join(planned.in_the_way)}", "End that first."
            )
        if planned.uses and not force:
            raise InputRefusedError(
                "model_used", f"{name!r} was used: {'; '.join(planned.uses)}", "To remove it anyway: --force"
            )
        # A file that cannot be taken away, and a catalog that cannot be told, leave both as they were.
        forget_checksums(workspace, [*planned.paths, *(file for file in planned.model.files if not file.exists())])
        with renamed_away(planned.paths):
            ModelRegistry(Catalog(workspace)).remove(name)
        forget_archived(workspace, Archivable.MODEL, planned.name)
    return replace(planned, done=True)


def _paths(workspace: Workspace, model: Model, others: list[Model]) -> tuple[Path, ...]:
    """What goes of the workspace's models: the model's own files that no other needs, and the folder that only they are in.

    What else lies beside them was never registered as this model, and stays.
    """
    place = workspace.place_of(model.path) if model.kind != "remote" else None
    if place is None or not (workspace.root / place).is_relative_to(workspace.models):
        return ()
    needed = {other for each in others for other in each.places}
    here = workspace.root / place
    whole = model.kind == "safetensors"
    files = [here / f.relative_to(model.path) if whole else here.with_name(f.name) for f in model.files]
    alone = [f for f in files if os.path.lexists(f) and f not in needed and f.resolve() not in needed]
    if whole and here.is_dir():
        # A folder of safetensors is the model: what is beside the weights belongs to them.
        held = any(each.is_relative_to(folder) for each in needed for folder in (here, here.resolve()))
        return tuple(alone) if held or here == workspace.models else _with_folders(workspace, [here])
    return _with_folders(workspace, alone)


def _with_folders(workspace: Workspace, paths: list[Path]) -> tuple[Path, ...]:
    """The paths, or in their place the outermost folder among the models that holds nothing else but what is ours."""
    going = set(paths)
    while paths and (folder := paths[0].parent) != workspace.models:
        if any(
            each not in going and each.name not in OWN_FILES and not each.name.startswith(NOTE)
            for each in folder.iterdir()
        ):
            break
        paths, going = [folder], {folder}
    return tuple(paths)


def _uses(catalog: Catalog, model: Model) -> tuple[str, ...]:
    """Training runs from it, evaluations of it, models made of it that are registered, indexes that it embedded or reranks."""
    asked = (
        ("training run", "SELECT name FROM training_runs WHERE base_sha256 = ? ORDER BY name", model.sha256),
        (
            "evaluation",
            "SELECT name FROM evaluation_runs WHERE asked->>'model' = ? OR starts_with(asked->>'model', ? || '+') ORDER BY name",
            model.name,
        ),
        (
            "model made of it",
            "SELECT DISTINCT m.name FROM lineage l JOIN models m ON m.sha256 = l.output WHERE l.input = ? ORDER BY 1",
            model.sha256,
        ),
    )

    def work(connection: Any) -> list[tuple[str, list[str]]]:
        return [
            (kind, [str(row[0]) for row in connection.execute(sql, [value] * sql.count("?")).fetchall()])
            for kind, sql, value in asked
        ]

    indexes = list(IndexStore(catalog).readable())
    embedded = [
        index.ref
        for index in indexes
        if (embedder := index.record["embedder"]) is not None and embedder["sha256"] == model.sha256
    ]
    reranked = [
        index.ref
        for index in indexes
        if (reranker := index.record.get("reranker")) is not None and reranker["sha256"] == model.sha256
    ]
    written = [
        index.ref
        for index in indexes
        if (context := index.record.get("context")) is not None and context["sha256"] == model.sha256
    ]
    judges = JudgeTable(EventLog(catalog.workspace)).read().found
    judging = [name for name, one in judges.items() if one.model == model.name]
    found = []
    own = [
        ("index embedded by it:", embedded),
        ("index reranked by it:", reranked),
        ("index with its contexts:", written),
        ("prompt that holds it:", prompts_with(catalog, model.name)),
        ("judge of answers in use:", judging),
    ]
    for kind, names in [*catalog.read(work), *own]:
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            found.append(f"{kind} {', '.join(names[:3])}{more}")
    return tuple(found)


def prompts_with(catalog: Catalog, name: str) -> list[str]:
    """The prompts whose newest version, or a labelled one, holds a model."""

    def work(connection: Any) -> list[str]:
        rows = connection.execute(
            "SELECT DISTINCT v.prompt FROM prompt_versions v WHERE v.settings IS NOT NULL "
            "AND json_extract_string(v.settings, '$.model') = ? "
            "AND (v.number = (SELECT max(w.number) FROM prompt_versions w WHERE w.prompt = v.prompt) OR EXISTS "
            "(FROM prompt_labels l WHERE l.prompt = v.prompt AND l.number = v.number)) ORDER BY 1",
            [name],
        ).fetchall()
        return [str(prompt) for (prompt,) in rows]

    return catalog.read(work)


def busy_with(workspace: Workspace, model: Model) -> tuple[str, ...]:
    """Servers of it, of another with it beside or guessing for it, experiments, and jobs and runs at work with it."""
    name, found = model.name, []
    for handle in ServerSupervisor(workspace).running():
        if name in handle.model.split("+"):
            found.append(f"it is loaded (llmops model stop {handle.model})")
        elif name in str(handle.asked.get("draft") or "").split("+"):
            found.append(f"it is the draft model of {handle.model} (llmops model stop {handle.model})")
    found += [
        f"it is {arm.upper()} of an experiment on {one.name} (llmops experiment stop {one.id})"
        for one in ExperimentStore(EventLog(workspace)).in_force()
        for arm in _ARMS
        if name in one.model_of(arm).split("+")
    ]
    return (*found, *users_of(workspace, Thing.MODEL, {name, str(model.path), *AliasBook(Catalog(workspace)).of(name)}))
