"""What is put away: it stays where it is, whole and usable by its name, and lists leave it out unless they are asked for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from enum import StrEnum
from typing import TypedDict

from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

# Its record, beside what the app remembers.
KEY = "archived"


class Archivable(StrEnum):
    """What can be put away, as lists and commands call it."""

    PROMPT = "prompt"
    DATASET = "dataset"
    MODEL = "model"
    RECIPE = "recipe"
    TRAINING = "training"
    SUITE = "suite"
    EVALUATION = "evaluation"
    CHAIN = "chain"


class Kept(StrEnum):
    """What is removed with all that was made of it, by the name that the user knows it by."""

    DATASET = "dataset"
    PROMPT = "prompt"


# Where the versions are of what is a definition alone.
DEFINITION_TABLES = {Archivable.SUITE: "evaluation_suites", Archivable.RECIPE: "training_recipes"}


class ArchivedRecord(TypedDict):
    """Something that is put away, for JSON."""

    kind: str
    name: str
    at: float


class Archive:
    """The names of what is put away in a workspace, by kind."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def names(self, kind: Archivable) -> frozenset[str]:
        """The names of one kind."""
        return frozenset(_read(self._event_log.load_draft(KEY)).get(kind.value, ()))

    def by_kind(self) -> dict[str, frozenset[str]]:
        """The names of all kinds, by what each kind is called."""
        return {kind: frozenset(names) for kind, names in _read(self._event_log.load_draft(KEY)).items()}

    def all(self) -> list[ArchivedRecord]:
        """All that is put away, the newest first."""
        found = _read(self._event_log.load_draft(KEY))
        listed: list[ArchivedRecord] = [
            {"kind": kind, "name": name, "at": at} for kind, names in found.items() for name, at in names.items()
        ]
        return sorted(listed, key=lambda one: one["at"], reverse=True)

    def add(self, kind: Archivable, names: Collection[str]) -> None:
        """Put away; what is already stays so."""
        now = time.time()
        self._change(
            lambda held: held.setdefault(kind.value, {}).update({n: now for n in names if n not in held[kind.value]})
        )

    def remove(self, kind: Archivable, names: Collection[str]) -> None:
        """Have lists show these again."""
        self._change(lambda held: [held.get(kind.value, {}).pop(name, None) for name in names])

    def rename(self, kind: Archivable, name: str, new_name: str) -> None:
        """What is put away stays so under another name."""
        if name in self.names(kind):
            self.remove(kind, [name])
            self.add(kind, [new_name])

    def _change(self, work: Callable[[dict[str, dict[str, float]]], object]) -> None:
        with self._event_log.transaction() as connection:
            row = connection.execute("SELECT body FROM drafts WHERE key = ?", (KEY,)).fetchone()
            held: dict[str, dict[str, float]] = {}
            with suppress(ValueError):
                held = _read(json.loads(row[0]) if row is not None else None)
            work(held)
            connection.execute(
                "INSERT OR REPLACE INTO drafts (key, body, at) VALUES (?, ?, ?)",
                (KEY, json.dumps(held, ensure_ascii=True), time.time()),
            )


def find(workspace: Workspace, kind: Archivable, name: str) -> None:
    """Find something by the name under which lists show it.

    Raises:
        NotFoundError: there is none.
    """
    # Lists ask what is put away as soon as the app is open, and need none of these for that.
    from llmops_tui.chains.store import ChainStore
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.prompts.store import PromptStore
    from llmops_tui.training.runs import RunStore
    from llmops_tui.workspace.catalog import Catalog

    catalog = Catalog(workspace)
    finders: dict[Archivable, Callable[[str], object]] = {
        Archivable.PROMPT: PromptStore(catalog).versions,
        Archivable.DATASET: DatasetStore(catalog).log,
        Archivable.MODEL: ModelRegistry(catalog).get,
        Archivable.RECIPE: RunStore(workspace).recipe,
        Archivable.TRAINING: RunStore(workspace).get,
        Archivable.SUITE: EvaluationStore(workspace).suite,
        Archivable.EVALUATION: EvaluationStore(workspace).get,
        Archivable.CHAIN: ChainStore(catalog).versions,
    }
    finders[kind](name)


def forget_archived(workspace: Workspace, kind: Archivable, name: str) -> None:
    """What is deleted is not put away any more: another one may get its name."""
    event_log = EventLog(workspace)
    try:
        archive = Archive(event_log)
        if name in archive.names(kind):
            archive.remove(kind, [name])
    finally:
        event_log.close()


def _read(body: object) -> dict[str, dict[str, float]]:
    """The record; what cannot be read of it is left out: a workspace may come from elsewhere."""
    kinds = {kind.value for kind in Archivable}
    if not isinstance(body, dict):
        return {}
    return {
        kind: {name: float(at) for name, at in names.items() if isinstance(name, str) and isinstance(at, int | float)}
        for kind, names in body.items()
        if kind in kinds and isinstance(names, dict)
    }
