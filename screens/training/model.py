"""The view model of the training screen, read in a thread: recipes, runs, runs of other programs, their records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from llmops_tui.training.history import History, HistoryReader

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
    from llmops_tui.training.records import ProofStep
    from llmops_tui.training.runs import Run, RunState, RunStore
    from screens.services import Services


@dataclass(frozen=True)
class KeptRecipe:
    """A recipe version: how to name it, the recipe, and its note."""

    ref: str
    recipe: Recipe
    note: str


@dataclass
class Shown:
    """A run as the screen shows it; one of another program has no state of ours."""

    name: str
    folder: Path
    state: str
    history: History
    own: RunState | None = None
    trouble: str = ""


@dataclass
class TrainingModel:
    """All that was read at last."""

    runs: list[Shown] = field(default_factory=list)
    recipes: list[KeptRecipe] = field(default_factory=list)
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    proofs: dict[str, list[ProofStep]] = field(default_factory=dict)
    sweeps: dict[str, dict[str, Any]] = field(default_factory=dict)
    readers: dict[str, HistoryReader] = field(default_factory=dict)
    # What the catalog says, and the stamp it had then; the records of other programs' runs with the stamps of their files.
    catalog: tuple[object, list[Run]] | None = None
    foreign: dict[Path, tuple[object, History]] = field(default_factory=dict)

    def fingerprint(self) -> tuple[object, ...]:
        """What the lists are drawn from."""
        runs = tuple((s.name, s.state, s.history.step, s.history.total) for s in self.runs)
        return runs, tuple(recipe.ref for recipe in self.recipes)


def read_all(services: Services, before: TrainingModel) -> TrainingModel:
    """Read everything again; records go on from where they were read to."""
    from llmops_tui.training.foreign_runs import watched
    from llmops_tui.workspace.trust import require_trust

    store = services.training
    model = TrainingModel(plans=before.plans, proofs=before.proofs, readers=before.readers)
    jobs = store.jobs.all()
    for job in reversed(jobs):
        if job.kind == "sweep" and job.result:
            model.sweeps[job.spec["arguments"]["recipe"]["name"]] = job.result
    stamp = store.catalog.stamp()
    if before.catalog is not None and before.catalog[0] == stamp:
        model.catalog, model.recipes = before.catalog, before.recipes
    else:
        # The stamp is older than what is read, so that a change meanwhile is seen the next time.
        model.catalog, model.recipes = (stamp, store.all()), _newest_recipes(store)
    for state in store.states(model.catalog[1], jobs):
        reader = model.readers.setdefault(str(state.run.folder), HistoryReader(state.run.folder))
        reader.poll()
        model.runs.append(Shown(state.run.name, state.run.folder, state.state, reader.history, state))
    for folder in watched(services.event_log):
        try:
            require_trust(services.workspace, f"{folder} is outside the workspace")
            history = _foreign(folder, model, before)
            model.runs.append(Shown(folder.name, folder, history.ended or "elsewhere", history))
        except (LlmopsError, OSError) as error:
            model.runs.append(Shown(folder.name, folder, "unreadable", History(), trouble=str(error)))
    return model


def _newest_recipes(store: RunStore) -> list[KeptRecipe]:
    newest: dict[str, KeptRecipe] = {}
    for name, number, recipe, note, _ in store.recipes():
        newest.setdefault(name, KeptRecipe(f"{name}@{number}", recipe, note))
    return list(newest.values())


def _foreign(folder: Path, model: TrainingModel, before: TrainingModel) -> History:
    """The record of another program's run; read again only where its files have changed."""
    from llmops_tui.training.foreign_runs import read_foreign, stamp

    found = stamp(folder)
    known = before.foreign.get(folder)
    model.foreign[folder] = known if known is not None and known[0] == found else (found, read_foreign(folder))
    return model.foreign[folder][1]
