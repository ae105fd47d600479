"""Another name of a model, and a second name for its file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_tui.chains.definition import ChainRefusedError
from llmops_tui.chains.store import ChainStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.model_graded import AskingMetric
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.guardrails.store import GuardStore
from llmops_tui.inference.stages import StageStore
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.archiving import Archivable, Archive, forget_archived
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.model_removal import busy_with, plan_removal, prompts_with
from llmops_tui.maintenance.renaming import Renaming, rename_in_records
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.monitoring.judge_table import JudgeTable
from llmops_tui.retrieval.records import IndexRecord
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    import duckdb

# So many of a kind are named.
_NAMED = 3


def plan_model_renaming(workspace: Workspace, name: str, new_name: str) -> Renaming:
    """What names a model now, and who is at work with it; changes nothing.

    Raises:
        NotFoundError: there is none of that name.
        InputRefusedError: ``bad_name``, ``name_taken``; ``two_models``: it is one with an adapter beside it.
    """
    model = plan_removal(workspace, name).model
    ModelRegistry(Catalog(workspace)).check_free(new_name)
    return Renaming(Archivable.MODEL, name, new_name, tuple(_named_by(workspace, name)), busy_with(workspace, model))


def rename_model(workspace: Workspace, name: str, new_name: str, *, force: bool = False) -> Renaming:
    """Give a model another name: its file, aliases, requests, chats and boards go with it.

    Raises:
        NotFoundError: there is none of that name.
        InputRefusedError: ``bad_name``, ``name_taken``; ``in_the_way``: it is loaded, or a job is at work with it;
            ``record_used``: runs, recipes, suites, chains, indexes, keys, stages or guards name it as it is called now, and
            no ``force``.
    """
    workspace.refuse_if_read_only()
    # Nobody starts a job from here on: what is seen now stays so.
    with exclusive_maintenance(workspace), JobStore(EventLog(workspace)).door():
        planned = plan_model_renaming(workspace, name, new_name)
        if planned.in_the_way:
            raise InputRefusedError(
                "in_the_way", f"{name} was not renamed: {'; '.join(planned.in_the_way)}", "End that first."
            )
        if planned.uses and not force:
            raise InputRefusedError(
                "record_used",
                f"{name} was not renamed: {'; '.join(planned.uses)}, which would not find it any more",
                f"llmops model copy {name} {new_name} gives its file a second name. To rename it anyway: --force",
            )
        catalog, event_log = Catalog(workspace), EventLog(workspace)
        try:
            ingest(catalog, event_log)  # what it was asked under the old name goes with it
            with event_log.transaction() as connection:
                rename_in_records(connection, Archivable.MODEL, name, new_name)
                catalog.write(lambda catalog_connection: _rename(catalog_connection, name, new_name))
            Archive(event_log).rename(Archivable.MODEL, name, new_name)
        finally:
            event_log.close()
    return replace(planned, done=True)


def copy_model(workspace: Workspace, name: str, new_name: str) -> str:
    """Register a model's file under a second name, too; it takes no more room. The new name.

    Raises:
        NotFoundError: there is none of that name.
        InputRefusedError: ``bad_name``, ``name_taken``; ``two_models``: it is one with an adapter beside it.
    """
    workspace.refuse_if_read_only()
    registry = ModelRegistry(Catalog(workspace))
    model = plan_removal(workspace, name).model
    registry.check_free(new_name)
    return registry.copy(model, new_name, time.time()).name


def remove_copy(workspace: Workspace, name: str) -> None:
    """Take a second name away again; the file stays with the first.

    Raises:
        NotFoundError: there is none of that name.
        InputRefusedError: ``record_used``: something names it, or no other model has its file; ``in_the_way``: somebody is at
            work with it.
    """
    with exclusive_maintenance(workspace), JobStore(EventLog(workspace)).door():
        registry = ModelRegistry(Catalog(workspace))
        model = registry.get(name)
        alone = all(other.sha256 != model.sha256 for other in registry.all() if other.name != name)
        _forget(workspace, model, "no other model has its file by now" if alone else "")


def unregister(workspace: Workspace, name: str, keep: Callable[[Model], None]) -> None:
    """Forget a model that was just registered; ``keep`` is given it before. Its file stays where it lies.

    Raises:
        NotFoundError: there is none of that name.
        InputRefusedError: ``record_used``: something names it, or was done with it; ``in_the_way``: somebody is at work with
            it.
    """
    workspace.refuse_if_read_only()
    with exclusive_maintenance(workspace), JobStore(EventLog(workspace)).door():
        planned = plan_removal(workspace, name)
        _forget(workspace, planned.model, *planned.uses, keep=keep)


def _forget(
    workspace: Workspace, model: Model, *others: str, keep: Callable[[Model], None] = lambda _model: None
) -> None:
    """Forget a model that nobody is at work with and nothing names; what else stands against it is said in ``others``."""
    if busy := busy_with(workspace, model):
        raise InputRefusedError("in_the_way", f"{model.name} is in use: {'; '.join(busy)}", "End that first.")
    if uses := [*_named_by(workspace, model.name), *filter(None, others)]:
        raise InputRefusedError("record_used", "; ".join(uses), "llmops model remove shows what would go.")
    keep(model)
    ModelRegistry(Catalog(workspace)).remove(model.name)
    forget_archived(workspace, Archivable.MODEL, model.name)


def _rename(connection: duckdb.DuckDBPyConnection, name: str, new_name: str) -> None:
    connection.execute("UPDATE models SET name = ? WHERE name = ?", [new_name, name])
    for table in ("model_aliases", "requests"):
        rows = connection.execute(
            f"SELECT DISTINCT model FROM {table} WHERE list_contains(string_split(model, '+'), ?)", [name]
        ).fetchall()
        for (said,) in rows:
            changed = "+".join(new_name if part == name else part for part in str(said).split("+"))
            connection.execute(f"UPDATE {table} SET model = ? WHERE model = ?", [changed, said])


def _named_by(workspace: Workspace, name: str) -> Iterator[str]:
    """What says the model's name and is not changed with it, in words: what has a hash, and what others hold to."""
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    suites, runs = EvaluationStore(workspace), RunStore(workspace)
    recipes = {recipe.name: recipe for _, _, recipe, _, _ in reversed(runs.recipes())}
    newest = {version.suite.name: version.suite for version in reversed(suites.suites())}
    judged = [
        suite.name
        for suite in newest.values()
        if any(name in metric.model.split("+") for metric in suite.all_metrics() if isinstance(metric, AskingMetric))
    ]
    keys = [key for key in KeyStore(event_log).all() if key.revoked_at is None]
    found = {
        "evaluation": [run.name for run in suites.all() if name in run.asked.model.split("+")],
        "training recipe": [recipe.name for recipe in recipes.values() if recipe.base == name],
        # The run that made an adapter finds it by its own name.
        "training run": [run.name for run in runs.all() if name in {run.recipe.base, run.name}],
        "suite": judged,
        "chain": list(_chains_with(ChainStore(catalog), name)),
        "index": [one.ref for one in IndexStore(catalog).all() if name in _models_of(one.record)],
        "key": [key.name for key in keys if name in {*(key.scope.models or ()), *(key.scope.adapters or ())}],
        "prompt": prompts_with(catalog, name),
        "judge of answers in use": [
            judge for judge, one in JudgeTable(event_log).read().found.items() if one.model == name
        ],
        "stage": [stage.ref for stage in StageStore(event_log).all() if name in stage.model.split("+")],
        "guards": [one.version.ref for one in GuardStore(event_log).in_force() if name in one.model.split("+")],
    }
    event_log.close()
    for kind, names in found.items():
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            yield f"{kind} {', '.join(names[:_NAMED])}{more} {'name' if len(names) > 1 else 'names'} it"


def _models_of(record: IndexRecord) -> set[str]:
    """What embeds an index, what reranks it and what wrote its contexts: all are looked for by their names."""
    used = (record["embedder"], record.get("reranker"), record.get("context"))
    return {one["model"] for one in used if one is not None}


def _chains_with(store: ChainStore, name: str) -> Iterator[str]:
    for one in store.summaries():
        version = store.get(f"{one['chain']}@{one['latest']}")
        # What a newer version of this program wrote does not run here, whatever its models are called.
        with suppress(ChainRefusedError):
            chain = version.chain
            asked = (chain.model, *(getattr(step.fields, "model", "") for step in chain.body.walk()))
            if any(name in said.split("+") for said in asked):
                yield version.ref
