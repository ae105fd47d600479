"""Removal of prompts and datasets; their dependents are reported first."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.datasets.held import alone_with
from llmops_tui.datasets.meaning.index import vectors_folder
from llmops_tui.datasets.search import SearchIndex
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.run import SuiteVersion
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite
from llmops_tui.inference.stages import forget_prompt as forget_stages
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.archiving import Archivable, Kept, forget_archived
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.deletion import renamed_away
from llmops_tui.maintenance.in_use import Thing, means, users_of
from llmops_tui.maintenance.named_in import chains_with_dataset, chains_with_prompt, served_prompts
from llmops_tui.maintenance.records import RecordRemovalRecord
from llmops_tui.prompts.partial_versions import users
from llmops_tui.prompts.store import PromptStore
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import forget as forget_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import bytes_in
from llmops_tui.workspace.json_columns import kept
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    import duckdb

# How often a plan is made anew where something was made meanwhile.
_TRIES = 3
_MADE_OF = {
    "run": "run", "evaluation": "evaluation", "train": "trained model", "training": "training run",
    "prompt_version": "version of another prompt", "dataset_version": "dataset version",
}  # fmt: skip


@dataclass(frozen=True)
class RecordRemoval:
    """What removing something of the catalog means.

    Attributes:
        versions: the versions that go.
        paths: the folders and files that go with them.
        size: their bytes.
        goes: what else goes with it, in words: labels with the version that they point at, and labels of rows.
        uses: what was made of it, in words; all of that stays, without what it came from.
        in_the_way: why it cannot be removed now, in words.
        ids: the ids of the versions of a dataset, by which a job may name them too.
        done: whether it was removed.
    """

    kind: Kept
    name: str
    versions: tuple[str, ...]
    paths: tuple[Path, ...] = ()
    size: int = 0
    goes: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    in_the_way: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    done: bool = False

    @property
    def needs_force(self) -> bool:
        """Whether somebody has to agree to more than the thing itself."""
        return bool(self.uses or self.goes)

    def as_dict(self) -> RecordRemovalRecord:
        """For JSON."""
        return {
            "kind": self.kind.value,
            "name": self.name,
            "versions": list(self.versions),
            "removed_paths": [str(path) for path in self.paths],
            "size_bytes": self.size,
            "goes": list(self.goes),
            "uses": list(self.uses),
            "in_the_way": list(self.in_the_way),
            "done": self.done,
        }


def plan_record_removal(workspace: Workspace, kind: Kept, name: str) -> RecordRemoval:
    """What would go, what was made of it, and what stands in the way; changes nothing.

    A dataset is named whole, or one of its versions as ``name@number``; a prompt whole.

    Raises:
        NotFoundError: there is none of that name.
    """
    planned = _plan(workspace, kind, name)
    with alone_with(planned.paths) as readers:
        return _with_users(workspace, planned, readers)


def _with_users(workspace: Workspace, planned: RecordRemoval, readers: tuple[str, ...]) -> RecordRemoval:
    """The plan with all that stands in its way: jobs and runs by name, and processes that read its rows."""
    names = {planned.name, *planned.versions, *planned.ids}
    return replace(planned, in_the_way=(*users_of(workspace, Thing(planned.kind.value), names), *readers))


class _OvertakenError(InputRefusedError):
    """Something was made meanwhile that the plan does not know; another plan will."""


def remove_record(workspace: Workspace, kind: Kept, name: str, *, force: bool = False) -> RecordRemoval:
    """Do it, thought through anew; ``force`` also where something was made of it.

    Raises:
        InputRefusedError: ``in_the_way``: a job is at work with it; ``record_used``: something was made of it, and no ``force``.
        LlmopsError: ``not_taken_away``: a file cannot be removed; all is as before.
    """
    workspace.refuse_if_read_only()
    for _ in range(_TRIES - 1):
        with contextlib.suppress(_OvertakenError):
            return _remove(workspace, kind, name, force=force)
    return _remove(workspace, kind, name, force=force)


def _remove(workspace: Workspace, kind: Kept, name: str, *, force: bool) -> RecordRemoval:
    # Nobody starts a job from here on, and nobody takes the rows: what is seen now stays so.
    with exclusive_maintenance(workspace), JobStore(EventLog(workspace)).door():
        planned = _plan(workspace, kind, name)
        with alone_with(planned.paths) as readers:
            planned = _with_users(workspace, planned, readers)
            if planned.in_the_way:
                raise InputRefusedError(
                    "in_the_way", f"{name} was not removed: {'; '.join(planned.in_the_way)}", "End that first."
                )
            if planned.needs_force and not force:
                told = "; ".join([*(f"{one} would go with it" for one in planned.goes), *planned.uses])
                raise InputRefusedError("record_used", f"{name} was used: {told}", "To remove it anyway: --force")
            forget = _forget_dataset if kind is Kept.DATASET else _forget_prompt
            forget_checksums(workspace, planned.paths)
            with renamed_away(planned.paths):
                Catalog(workspace).write(lambda connection: forget(connection, planned))
            if kind is Kept.PROMPT:
                forget_stages(EventLog(workspace), planned.name)
            forget_archived(workspace, Archivable(kind.value), planned.name)
    return replace(planned, done=True)


def _plan(workspace: Workspace, kind: Kept, name: str) -> RecordRemoval:
    return _dataset(workspace, name) if kind is Kept.DATASET else _prompt(workspace, name)


def _dataset(workspace: Workspace, name: str) -> RecordRemoval:
    store = DatasetStore(Catalog(workspace))
    logs = store.logs()
    going = list(logs[name]) if name in logs else [store.get(name)]
    everything = [version for log in logs.values() for version in log]
    staying = [version for version in everything if version.ref not in {one.ref for one in going}]
    shared = {version.sha256 for version in staying}
    freed = {version.sha256: version for version in going if version.sha256 not in shared}
    paths = [
        path for v in freed.values() for path in (v.folder, SearchIndex(v).path, vectors_folder(v)) if path.exists()
    ]
    size = bytes_in(*paths)
    hashes = {version.sha256 for version in going}
    uses = [f"{v.ref} was made of it" for v in staying if hashes & {digest for _, digest in v.recipe.inputs}]
    uses += _made_of(workspace, freed)
    uses += [f"{told} was built from it" for told in _indexes_of(workspace, {v.dataset for v in going}, hashes)]
    uses += _waiting_for(workspace, going)
    return RecordRemoval(
        Kept.DATASET,
        name if name in logs else going[0].ref,
        tuple(v.ref for v in going),
        tuple(paths),
        size,
        tuple(_labels_on(workspace, freed)),
        tuple(uses),
        ids=tuple(v.id for v in going),
    )


def _prompt(workspace: Workspace, name: str) -> RecordRemoval:
    store = PromptStore(Catalog(workspace))
    versions = store.versions(name, candidates=True)
    # What was made of the same text is made of another prompt, too, where that has it, such as that which was copied.
    rows = Catalog(workspace).read(
        lambda connection: connection.execute(
            "SELECT DISTINCT sha256 FROM prompt_versions WHERE prompt <> ?", [name]
        ).fetchall()
    )
    staying = {str(row[0]) for row in rows}
    return RecordRemoval(
        Kept.PROMPT,
        name,
        tuple(f"{name}@{v.number}" for v in versions),
        goes=tuple(f"the label {label}, which points at {name}@{v.number}" for v in versions for label in v.labels),
        uses=(
            *_made_of(workspace, [version.sha256 for version in versions if version.sha256 not in staying]),
            *(f"{user.ref} holds its text as a partial, and keeps it" for user, _ in users(store, name)),
            *named_by(workspace, Kept.PROMPT, {name, *(f"{name}@{v.number}" for v in versions)}),
        ),
    )


def _made_of(workspace: Workspace, hashes: Iterable[str]) -> list[str]:
    """What lineage knows to have been made of something and is still there, by kind."""
    going = list(hashes)
    rows = Catalog(workspace).read(
        lambda connection: connection.execute(
            "SELECT kind, count(DISTINCT output) FROM lineage WHERE list_contains(?::VARCHAR[], input) AND output IN ("
            "SELECT sha256 FROM dataset_versions UNION ALL SELECT sha256 FROM models "
            "UNION ALL SELECT sha256 FROM prompt_versions UNION ALL SELECT id FROM requests "
            "UNION ALL SELECT results_sha256 FROM evaluation_runs WHERE results_sha256 IS NOT NULL) "
            # What goes with it is not what is left without it.
            "AND NOT list_contains(?::VARCHAR[], output) GROUP BY 1 ORDER BY 1",
            [going, going],
        ).fetchall()
    )
    return [
        f"{counted(count, _MADE_OF.get(kind, kind.replace('_', ' ') + ' result'))} derived from it"
        for kind, count in rows
    ]


def named_by(workspace: Workspace, kind: Kept, names: Collection[str]) -> list[str]:
    """What names a prompt or a dataset, in words: suites, chains, served names, and of a dataset recipes, indexes and runs."""
    if kind is Kept.PROMPT:
        chains = chains_with_prompt(workspace, names)
        return [*_suites_of(workspace, kind, *names), *chains, *served_prompts(workspace, names)]
    newest: dict[str, tuple[int, Recipe]] = {}
    for name, number, recipe, _, _ in RunStore(workspace).recipes():
        newest.setdefault(name, (number, recipe))
    told = [
        f"training recipe {name}@{number} learns from it"
        for name, (number, recipe) in newest.items()
        if any(means(said, names) for said in (recipe.evaluation.dataset, *(one.dataset for one in recipe.data)))
    ]
    told += [f"{one} is built from it" for one in _indexes_of(workspace, names)]
    told += chains_with_dataset(workspace, names)
    return [*_suites_of(workspace, kind, *names), *told, *_unfinished(workspace, names)]


def _indexes_of(workspace: Workspace, datasets: Collection[str], hashes: Collection[str] = ()) -> list[str]:
    """The versions of indexes that were built from datasets; with ``hashes`` only from this content."""
    return [
        f"index {index.ref}"
        for index in IndexStore(Catalog(workspace)).readable()
        if (source := index.record["source"])["kind"] == "dataset"
        and source["place"] in datasets
        and (not hashes or source["sha256"] in hashes)
    ]


def _waiting_for(workspace: Workspace, going: list[DatasetVersion]) -> list[str]:
    """The training runs that have not ended well, which cannot be gone on with without their rows, suites, and chains."""
    refs = {version.ref for version in going}
    names = (*refs, *(version.dataset for version in going))
    return [
        *_unfinished(workspace, refs),
        *_suites_of(workspace, Kept.DATASET, *names),
        *chains_with_dataset(workspace, names),
    ]


def _unfinished(workspace: Workspace, refs: Collection[str]) -> list[str]:
    rows = Catalog(workspace).read(
        lambda connection: connection.execute(
            "SELECT name, data, options FROM training_runs WHERE result IS NULL ORDER BY created_at"
        ).fetchall()
    )
    found = []
    for name, data, options in rows:
        measured = (kept("training_runs", "options", name, options) or {}).get("measured", [])
        if set(refs) & {str(ref) for ref, _ in [*kept("training_runs", "data", name, data), *measured]}:
            found.append(f"training run {name} is not finished and learns from it")
    return found


def _suites_of(workspace: Workspace, kind: Kept, *names: str) -> list[str]:
    """The suites whose newest version names one of these datasets, or prompts: both may be called the same."""
    newest: dict[str, SuiteVersion] = {}
    for version in EvaluationStore(workspace).suites():
        newest.setdefault(version.suite.name, version)
    return [
        f"suite {version.ref} asks it"
        for version in newest.values()
        if any(means(said, names) for said in _asked(version.suite, kind))
    ]


def _asked(suite: Suite, kind: Kept) -> Iterator[str]:
    """The dataset, or the prompts, that a suite names, those of judges too; its name and other words are none of them."""
    if kind is Kept.DATASET:
        yield from [suite.cases] if isinstance(suite.cases, str) else []
        return
    written = [] if isinstance(suite.cases, str) else suite.cases
    yield from [suite.prompt] if isinstance(suite.prompt, str) else suite.prompt
    yield from (step.prompt for step in suite.chain)
    own = [metric for case in written if isinstance(case.get("metrics"), list) for metric in case["metrics"]]
    yield from (str(metric.get("prompt", "")) for metric in [*suite.metrics, *own] if isinstance(metric, dict))


def _labels_on(workspace: Workspace, hashes: Iterable[str]) -> list[str]:
    """The labels that go with a dataset."""
    labels = Catalog(workspace).read(
        lambda connection: connection.execute(
            "SELECT count(*) FROM annotations WHERE list_contains(?::VARCHAR[], sha256)", [list(hashes)]
        ).fetchall()
    )[0][0]
    return [f"{counted(labels, 'label')} of its rows"] if labels else []


def _forget_dataset(connection: duckdb.DuckDBPyConnection, removal: RecordRemoval) -> None:
    for ref in removal.versions:
        name, _, number = ref.rpartition("@")
        values = [name, int(number)]
        connection.execute("DELETE FROM dataset_versions WHERE dataset = ? AND number = ?", values)
        connection.execute("DELETE FROM dataset_tags WHERE dataset = ? AND number = ?", values)
        connection.execute("UPDATE dataset_versions SET parent = NULL WHERE dataset = ? AND parent = ?", values)
    _refuse_if_needed(connection, removal)
    connection.execute("DELETE FROM datasets WHERE name NOT IN (SELECT dataset FROM dataset_versions)")
    connection.execute("DELETE FROM dataset_views WHERE dataset NOT IN (SELECT name FROM datasets)")
    for table in ("dataset_reports", "annotations"):
        connection.execute(f"DELETE FROM {table} WHERE sha256 NOT IN (SELECT sha256 FROM dataset_versions)")


def _refuse_if_needed(connection: duckdb.DuckDBPyConnection, removal: RecordRemoval) -> None:
    """Refuse where a version with the same rows was made since, and found the folder there that is away now.

    Raises:
        InputRefusedError: ``in_the_way``.
    """
    for path in removal.paths:
        made = connection.execute(
            "SELECT dataset, number FROM dataset_versions WHERE sha256 = ?", [path.name]
        ).fetchone()
        if made is not None and not path.exists():
            raise _OvertakenError(
                "in_the_way", f"{removal.name} stays: {made[0]}@{made[1]} was just made of the same rows", "Try again."
            )


def _forget_prompt(connection: duckdb.DuckDBPyConnection, removal: RecordRemoval) -> None:
    for table in ("prompt_versions", "prompt_labels", "prompt_label_moves", "prompt_candidates", "improvements"):
        connection.execute(f"DELETE FROM {table} WHERE prompt = ?", [removal.name])
    connection.execute("DELETE FROM prompts WHERE name = ?", [removal.name])
