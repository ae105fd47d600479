"""Training runs that learned from content that names a person, the models that came of them, and what can be done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.maintenance.erasure_records import RemedyRecord, TrainedRecord
from llmops_tui.training.history import read_history
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    import duckdb

_DEEPEST = 50


def trained_on(workspace: Workspace, rows: Mapping[str, tuple[int, int]]) -> list[TrainedRecord]:
    """The runs whose data were of some content, by its hash or tombstone: how many rows name the person, and of how many.

    Models are followed through merging, conversion and quantization. What cannot be told of a model: how much of the rows
    it can still say. Only one that never saw them surely says nothing of them.
    """
    store = RunStore(workspace)
    recipes = {name for name, *_ in store.recipes()}
    found: list[TrainedRecord] = []
    for run in store.all():
        touched = {digest for _, digest in (*run.data, *run.measured) if digest in rows}
        if touched:
            named = sum(rows[digest][0] for digest in touched)
            share = 1 - named / max(1, sum(rows[digest][1] for digest in touched))
            found.append(
                {
                    "run": run.name,
                    "data": [ref for ref, digest in (*run.data, *run.measured) if digest in rows],
                    "rows": named,
                    "base": run.recipe.base,
                    "models": _models_of(store, run),
                    "finished": run.result is not None,
                    "remedies": _remedies(run, share, run.recipe.name in recipes),
                }
            )
    return found


def _models_of(store: RunStore, run: Run) -> list[str]:
    """The registered models that a run made, and those made of them."""
    result = run.result or {}
    begin = {str(digest) for key in ("sha256", "weights_sha256") if (digest := result.get(key))}
    named = {str(result["model"])} if result.get("model") else set()

    def work(db: duckdb.DuckDBPyConnection) -> set[str]:
        known = {str(d): str(n) for n, d in db.execute("SELECT name, sha256 FROM models WHERE sha256 <> ''").fetchall()}
        own = {digest for digest, name in known.items() if name in named}
        return {known[digest] for digest in _descendants(db, begin | own) if digest in known}

    return sorted(named | store.catalog.read(work))


def _descendants(db: duckdb.DuckDBPyConnection, begin: Collection[str]) -> set[str]:
    seen, front = set(begin), set(begin)
    for _ in range(_DEEPEST):
        rows = db.execute(
            "SELECT DISTINCT output FROM lineage WHERE list_contains(?::VARCHAR[], input) AND kind <> 'evaluation'",
            [sorted(front)],
        ).fetchall()
        front = {str(row[0]) for row in rows} - seen
        seen |= front
        if not front:
            break
    return seen


def _remedies(run: Run, share: float, has_recipe: bool) -> list[RemedyRecord]:
    """What can be done, the exact way first, with its cost by what the run itself took."""
    times = list(read_history(run.folder).series.get("seconds", {}).values())
    spent = sum(times)
    seconds = spent * share if times else None
    basis = (
        f"this run took {spent:,.0f} s for {counted(len(times), 'step')}, of which {share:.1%} of the rows are left"
        if times
        else "no step of this run was measured; llmops train plan estimates it"
    )
    again = (
        f"llmops train start {run.recipe.name}"
        if has_recipe
        else f"llmops train start RECIPE, as run {run.name} has it"
    )
    return [
        {
            "what": "train again from the base, without the rows: the data keep their names, and have other content then",
            "command": again,
            "exact": True,
            "seconds": seconds,
            "basis": basis,
        },
        {
            "what": "remove the run and its models, and use another",
            "command": f"llmops train remove {run.name}",
            "exact": True,
            "seconds": 0.0,
            "basis": "nothing is computed",
        },
    ]
