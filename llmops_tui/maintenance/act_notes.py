"""Notes what was done, so that it can be taken back: by who did it, or from what jobs left that nobody waited for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.maintenance.act_effects import Effects
from llmops_tui.maintenance.act_log import ActLog
from llmops_tui.maintenance.acts import REGISTERED, SUITE, Act, newest
from llmops_tui.maintenance.archiving import Archivable, Archive
from llmops_tui.maintenance.jobs_made import jobs_since, models_of, versions_of_job
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.user_entries import KEYS
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog

if TYPE_CHECKING:
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.evaluation.run import SuiteVersion
    from llmops_tui.models.registry import Model
    from llmops_tui.user_entries import EntryChange

# Seconds: a version that is older was there before whoever tells of it.
_JUST_MADE = 3600.0


class ActNotes:
    """The acts of a workspace, and what adds to them."""

    def __init__(self, catalog: Catalog, event_log: EventLog) -> None:
        self._event_log = event_log
        self._datasets, self._models = DatasetStore(catalog), ModelRegistry(catalog)
        self._archive = Archive(event_log)
        self._log = ActLog(event_log)
        self._effects = Effects(catalog, event_log)

    def acts(self) -> list[Act]:
        """All that are known, the newest first, with what jobs made that nobody waited for; nothing is written."""
        known = self._log.acts()
        for _, made in self._of_jobs():
            known = _with(known, made)
        return known[::-1]

    def note_rows(self, *made: DatasetVersion) -> bool:
        """A version took the place of the newest one; several, such as the parts of a split, are taken back at once.

        What it was made of may be an older one, and is not what undoing brings back: where there was none, the dataset is
        archived then. A version that was there already, since the newest has just these rows, is no act. A dataset that is
        archived and gets a version is in the lists again. Returns whether there is anything to take back.
        """
        noted = self._of_rows(made, time.time(), self._log.acts())
        self._note_made(noted)
        return bool(noted)

    def _of_rows(self, made: Iterable[DatasetVersion], now: float, known: Sequence[Act]) -> list[Act]:
        noted: list[Act] = []
        for one in made:
            older = [other.number for other in self._datasets.log(one.dataset) if other.number < one.number]
            if now - one.created_at > _JUST_MADE:
                continue
            if not any(act.made(one.dataset, one.number, one.created_at) for act in known):
                noted.append(Act(now, "rows", one.dataset, one.note, max(older, default=None), one.number))
        return [replace(act, beside=len(noted) - 1) for act in noted]

    def _note_made(self, acts: Sequence[Act]) -> None:
        if rows := [act.subject for act in acts if act.kind == "rows"]:
            self._archive.remove(Archivable.DATASET, rows)
        if acts:
            self._add(*acts)

    def note_suite(self, version: SuiteVersion) -> bool:
        """A version of a suite was made, such as by one more case; the same again made none, and is no act.

        Returns whether there is anything to take back.
        """
        made = Act(time.time(), SUITE, version.suite.name, version.note, version.number - 1 or None, version.number)
        known = any(
            (act.kind, act.subject, act.after) == (SUITE, made.subject, made.after) and act.at >= version.created_at
            for act in self._log.acts()
        )
        if known or made.at - version.created_at > _JUST_MADE:
            return False
        self._add(made)
        return True

    def note_registered(self, model: Model) -> None:
        """A model was registered that was not; its file stays where it lies when that is taken back."""
        self._note_made(_of_model(model, time.time(), self._log.acts()))

    def note_entries(self, *changes: EntryChange) -> bool:
        """Entries of the user's own files, such as a snippet, were changed; at once, and so they are taken back at once."""
        changed = [one for one in changes if one.before != one.after]
        at, beside = time.time(), len(changed) - 1
        if changed:
            self._effects.note_entries(changed, at)
            self._add(*(_act_on(one, at, beside) for one in changed))
        return bool(changed)

    def _note_jobs(self) -> None:
        for ended, made in self._of_jobs():
            self._note_made(made)
            self._log.note_jobs(ended)

    def _of_jobs(self) -> Iterator[tuple[float, list[Act]]]:
        """What jobs made that nobody waited for, with when each ended: they were detached, or the app was left."""
        until, known = self._log.jobs_until() or time.time() - _JUST_MADE, self._log.acts()
        for job in jobs_since(self._event_log, until):
            ended = job.finished_at or until
            made = self._of_rows(versions_of_job(self._datasets, job), ended, known)
            for model in models_of(self._models, job):
                made += _of_model(model, ended, known)
            known = _with(known, made)
            yield ended, made

    def _add(self, *acts: Act) -> None:
        self._log.change(lambda now: _with(now, acts))


def _with(now: list[Act], made: Sequence[Act]) -> list[Act]:
    """The history after something else was done: what was taken back before is not done again."""
    if not made:
        return now
    # A job that nobody waited for ended before what is noted already.
    return newest(sorted([*(other for other in now if not other.undone), *made], key=lambda act: act.at))


def _of_model(model: Model, at: float, known: Sequence[Act]) -> list[Act]:
    """That a model was registered; none where it is known."""
    place = str(model.header["url"]) if model.kind == "remote" else str(model.path)
    if any((act.kind, act.subject) == (REGISTERED, model.name) and act.at >= model.added_at for act in known):
        return []
    return [Act(at, REGISTERED, model.name, place, None, 1)]


def _act_on(change: EntryChange, at: float, beside: int) -> Act:
    """A change of an entry as an act; of keys the act says which they are, of all others what is kept of it."""
    told = (str(change.after or "its own") if change.kind == KEYS else change.kind)[:200]
    before, after = (None if value is None else 1 for value in (change.before, change.after))
    return Act(at, change.kind, change.name, told, before, after, beside=beside)
