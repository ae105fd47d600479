"""Other names of prompts and datasets, and copies of them, of suites and recipes under a name of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.store import check_name as check_dataset_name
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.stages import rename_prompt as rename_stages
from llmops_tui.maintenance.archiving import Archivable, Archive, Kept, find
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.in_use import Thing, users_of
from llmops_tui.maintenance.record_removal import named_by
from llmops_tui.prompts.drafts import Drafts
from llmops_tui.prompts.store import PromptStore
from llmops_tui.prompts.store import check_name as check_prompt_name
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    import sqlite3

    import duckdb

# The columns of the catalog that hold the name. What has a hash, such as a suite, keeps the name it was made with.
_COLUMNS = {
    Kept.PROMPT: (
        ("prompts", "name"),
        ("prompt_versions", "prompt"),
        ("prompt_labels", "prompt"),
        ("prompt_label_moves", "prompt"),
        ("prompt_candidates", "prompt"),
        ("improvements", "prompt"),
        ("requests", "prompt"),
    ),
    Kept.DATASET: (
        ("datasets", "name"),
        ("dataset_versions", "dataset"),
        ("dataset_tags", "dataset"),
        ("dataset_views", "dataset"),
    ),
}
_DRAFT = "draft:"
# Records of the app beside the catalog: where the playground is, what is remembered of screens, comparisons.
_RECORDS = ("session", "view", "board:")
# Where a model is named, too.
_ASKED = (*_RECORDS, "chat:", _DRAFT)
_PROMPT, _VERSION, _MODEL, _VARIABLES = "prompt", "version", "model", "variables"


class RenamingRecord(TypedDict):
    """As :class:`Renaming`, for JSON."""

    kind: str
    name: str
    new_name: str
    uses: list[str]
    in_the_way: list[str]
    done: bool


@dataclass(frozen=True)
class Renaming:
    """What another name means.

    Attributes:
        uses: what names it by the name it has now and cannot be changed, in words.
        in_the_way: who is at work with it, in words.
        done: whether it has the name.
    """

    kind: Kept | Archivable
    name: str
    new_name: str
    uses: tuple[str, ...] = ()
    in_the_way: tuple[str, ...] = ()
    done: bool = False

    def as_dict(self) -> RenamingRecord:
        """For JSON."""
        return {
            "kind": self.kind.value,
            "name": self.name,
            "new_name": self.new_name,
            "uses": list(self.uses),
            "in_the_way": list(self.in_the_way),
            "done": self.done,
        }


def plan_renaming(workspace: Workspace, kind: Kept, name: str, new_name: str) -> Renaming:
    """What names it now, and who is at work with it; changes nothing.

    Raises:
        NotFoundError: there is none of that name.
        InputRefusedError: ``bad_name``, ``name_taken``.
    """
    versions = versions_of(workspace, kind, name)
    _check_free(workspace, kind, new_name)
    if kind is Kept.PROMPT:
        _refuse_over_draft(workspace, name, new_name)
    names = {name, *versions}
    return Renaming(
        kind, name, new_name, tuple(named_by(workspace, kind, names)), users_of(workspace, Thing(kind.value), names)
    )


def rename_record(workspace: Workspace, kind: Kept, name: str, new_name: str, *, force: bool = False) -> Renaming:
    """Give a prompt or a dataset another name: its versions, labels, views, runs, drafts and boards go with it.

    Raises:
        NotFoundError: there is none of that name.
        InputRefusedError: ``bad_name``, ``name_taken``; ``in_the_way``: a job is at work with it; ``record_used``: suites,
            recipes or unfinished runs name it as it is called now, and no ``force``.
    """
    workspace.refuse_if_read_only()
    with exclusive_maintenance(workspace):
        planned = plan_renaming(workspace, kind, name, new_name)
        if planned.in_the_way:
            raise InputRefusedError(
                "in_the_way", f"{name} was not renamed: {'; '.join(planned.in_the_way)}", "End that first."
            )
        if planned.uses and not force:
            raise InputRefusedError(
                "record_used",
                f"{name} was not renamed: {'; '.join(planned.uses)}, which would not find it any more",
                "A copy leaves the name to them. To rename it anyway: --force",
            )
        catalog, event_log = Catalog(workspace), EventLog(workspace)
        try:
            ingest(catalog, event_log)  # what was run under the old name goes with it
            # One for both: where the catalog cannot be written, what the app remembers keeps the old name, too.
            with event_log.transaction() as connection:
                rename_in_records(connection, kind, name, new_name)
                catalog.write(lambda catalog_connection: _rename(catalog_connection, kind, name, new_name))
            Archive(event_log).rename(Archivable(kind.value), name, new_name)
        finally:
            event_log.close()
    return replace(planned, done=True)


def copy_record(workspace: Workspace, kind: Kept, ref: str, new_name: str) -> str:
    """Make a version the first of a prompt or dataset of its own; how that version is named.

    Raises:
        NotFoundError: there is no such version.
        InputRefusedError: ``bad_name``, ``name_taken``.
    """
    workspace.refuse_if_read_only()
    catalog = Catalog(workspace)
    if kind is Kept.DATASET:
        DatasetStore(catalog).get(ref)
        _check_free(workspace, kind, new_name)
        return DatasetStore(catalog).copy(ref, new_name).ref
    store = PromptStore(catalog)
    found = store.get(ref)
    _check_free(workspace, kind, new_name)
    made, _ = store.save(
        new_name,
        template=found.template,
        system=found.system,
        note=f"copy of {found.ref}",
        parent=None,
        settings=found.settings,
        as_it_is=True,
    )
    return made.ref


def copy_definition(workspace: Workspace, kind: Archivable, ref: str, new_name: str) -> str:
    """Make a version of a suite or of a recipe the first of one of its own; how that version is named.

    They have no other name than the one they were made with, which is part of their hash: runs name them by it. A copy, and
    the old one archived, is another name. Of a training run the recipe is copied that it was started with.

    Raises:
        NotFoundError: there is no such version.
        InputRefusedError: ``bad_name``, ``name_taken``; ``is_a_run``: it is an evaluation run.
    """
    workspace.refuse_if_read_only()
    check_dataset_name(new_name)
    with suppress(NotFoundError):
        find(workspace, kind, new_name)
        raise InputRefusedError("name_taken", f"there is a {kind.value} {new_name} already", "Choose another name.")
    renamed = {"name": new_name}
    if kind is Archivable.SUITE:
        suites = EvaluationStore(workspace)
        try:
            old = suites.suite(ref)
        except NotFoundError:
            with suppress(NotFoundError):
                suite = suites.get(ref).suite_ref
                raise InputRefusedError(
                    "is_a_run",
                    f"{ref} is a run, and a run is what was measured once: there is no second of it",
                    f"llmops eval run {suite} runs its suite again; llmops eval copy {suite} {new_name} copies that.",
                ) from None
            raise
        return suites.save_suite(old.suite.model_copy(update=renamed), f"copy of {old.ref}").ref
    recipes = RunStore(workspace)
    try:
        recipe = recipes.recipe(ref)
    except NotFoundError as error:
        try:
            recipe = recipes.get(ref).recipe
        except NotFoundError:
            raise error from None
    number = recipes.save_recipe(recipe.model_copy(update=renamed), f"copy of {ref}")
    return f"{new_name}@{number}"


def versions_of(workspace: Workspace, kind: Kept, name: str) -> list[str]:
    """The versions of a prompt or a dataset, the newest first, as they are named.

    Raises:
        NotFoundError: there is none of that name.
    """
    if kind is Kept.PROMPT:
        return [version.ref for version in PromptStore(Catalog(workspace)).versions(name, candidates=True)]
    return [version.ref for version in DatasetStore(Catalog(workspace)).log(name)]


def _check_free(workspace: Workspace, kind: Kept, name: str) -> None:
    (check_prompt_name if kind is Kept.PROMPT else check_dataset_name)(name)
    with suppress(NotFoundError):
        versions_of(workspace, kind, name)
        raise InputRefusedError("name_taken", f"there is a {kind.value} {name} already", "Choose another name.")


def _refuse_over_draft(workspace: Workspace, name: str, new_name: str) -> None:
    """Refuse a name under which somebody writes a prompt that has no version yet: its text is nowhere else."""
    event_log = EventLog(workspace)
    try:
        draft = Drafts(event_log).load(new_name)
    finally:
        event_log.close()
    if draft is None or not (draft.system.strip() or draft.template.strip()):
        return
    versions = PromptStore(Catalog(workspace)).versions(name)
    held = (draft.system, draft.template, draft.settings)
    if all((one.system, one.template, one.settings_text) != held for one in versions):
        raise InputRefusedError(
            "name_taken",
            f"the playground has unsaved text for a prompt {new_name}",
            "Save it there as a version, or choose another name.",
        )


def _rename(connection: duckdb.DuckDBPyConnection, kind: Kept, name: str, new_name: str) -> None:
    for table, column in _COLUMNS[kind]:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", [new_name, name])


def rename_in_records(connection: sqlite3.Connection, kind: Kept | Archivable, name: str, new_name: str) -> None:
    """The draft of a prompt, and what the app remembers of a prompt, a dataset or a model by name."""
    if kind is Kept.PROMPT:
        rename_stages(connection, name, new_name)
        connection.execute("DELETE FROM drafts WHERE key = ?", (_DRAFT + new_name,))
        connection.execute("UPDATE drafts SET key = ? WHERE key = ?", (_DRAFT + new_name, _DRAFT + name))
    for key, text in connection.execute("SELECT key, body FROM drafts").fetchall():
        if not key.startswith(_ASKED if kind is Archivable.MODEL else _RECORDS):
            continue
        with suppress(ValueError):
            body = json.loads(text)
            changed = _renamed(body, _change_of(kind, name, new_name))
            if changed != body:
                connection.execute(
                    "UPDATE drafts SET body = ? WHERE key = ?", (json.dumps(changed, ensure_ascii=True), key)
                )


def _change_of(kind: Kept | Archivable, name: str, new_name: str) -> Callable[[str, object], object]:
    """What a field is afterwards: the prompt or model of a column or place, the version of a dataset that a place shows."""

    def changed(field: str, value: object) -> object:
        if kind is Archivable.MODEL:
            if field != _MODEL or not isinstance(value, str):
                return value
            return "+".join(new_name if part == name else part for part in value.split("+"))
        if kind is Kept.PROMPT:
            return new_name if (field, value) == (_PROMPT, name) else value
        if field == _VERSION and isinstance(value, str) and value.rpartition("@")[0] == name:
            return f"{new_name}@{value.rpartition('@')[2]}"
        return value

    return changed


def _renamed(value: object, change: Callable[[str, object], object]) -> object:
    if isinstance(value, Mapping):
        # What somebody wrote into a variable is text, whatever the variable is called.
        return {
            field: item if field == _VARIABLES else _renamed(change(str(field), item), change)
            for field, item in value.items()
        }
    return [_renamed(item, change) for item in value] if isinstance(value, list) else value
