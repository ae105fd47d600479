"""What an act on a suite, a recipe, a view, a model or an entry of the user changes when it is taken back, or done again.

What that needs and nobody else has any more is kept as long as the act is: in the workspace, and of the user's own files
beside their settings, so that a workspace from elsewhere brings nothing into them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.maintenance.acts import ENTRIES, REGISTERED, SUITE, VIEW, Act, stale
from llmops_tui.maintenance.archiving import Archivable
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.user_entries import EntryChange, change_at, entry, note_changes, set_entry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog

if TYPE_CHECKING:
    from llmops_tui.datasets.reports import ViewRecord
    from llmops_tui.foreign_text import JsonObject
    from llmops_tui.maintenance.definition_removal import DefinitionRemoval, DefinitionRow

# What acts need, by their times.
_KEPT = "undo:deleted:"
# These do not pass: the act can never be taken back any more.
_FOR_GOOD = frozenset({"record_used", "name_taken"})


class Effects:
    """Takes such acts back, and does them again."""

    def __init__(self, catalog: Catalog, event_log: EventLog) -> None:
        self._workspace = catalog.workspace
        self._event_log = event_log
        self._datasets = DatasetStore(catalog)
        self._models = ModelRegistry(catalog)
        self._ways: dict[str, Callable[[Act, bool], None]] = {
            "deleted": self._set_deleted,
            SUITE: self._set_version,
            VIEW: self._set_view,
            REGISTERED: self._set_registered,
            **dict.fromkeys(ENTRIES, self._set_entry),
        }

    def set(self, act: Act, *, undo: bool) -> bool:
        """Do what the act says, or its contrary; whether it is of a kind that is known here.

        Raises:
            LlmopsError: it cannot be done; ``undo_stale``: never any more.
        """
        if (way := self._ways.get(act.kind)) is None:
            return False
        try:
            way(act, undo)
        except InputRefusedError as error:
            if error.code not in _FOR_GOOD:
                raise
            raise stale(act, error.message) from error
        return True

    # ── doing it the first time ──

    def delete(
        self, kind: Archivable, name: str, at: float, note: Callable[[], None] = lambda: None
    ) -> DefinitionRemoval:
        """Delete a suite or a recipe; its versions are kept for the act of that time, which ``note`` notes, before they go."""
        from llmops_tui.maintenance.definition_removal import remove_definition

        def keep(rows: Sequence[DefinitionRow]) -> None:
            self._keep(at, {"rows": list(rows)})
            note()

        return remove_definition(self._workspace, kind, name, keep)

    def save_view(self, dataset: str, name: str, view: ViewRecord, at: float) -> bool:
        """Save a view, and keep what it was; whether it was something else, or not there."""
        before = self._datasets.views(dataset).get(name)
        self._datasets.save_view(dataset, name, view)
        self._keep(at, {"before": before, "after": view})
        return before != view

    def note_entries(self, changes: Collection[EntryChange], at: float) -> None:
        """Keep what entries of the user's own files were before a change of that time, and are now."""
        note_changes(at, changes)

    def forget_all_but(self, acts: Collection[Act]) -> None:
        """Of acts that are in the history no more nothing is kept."""
        known = {f"{_KEPT}{act.at}" for act in acts}
        for key in self._event_log.draft_keys():
            if key.startswith(_KEPT) and key not in known:
                self._event_log.remove_draft(key)

    # ── back and forth ──

    def _keep(self, at: float, body: Mapping[str, object]) -> None:
        self._event_log.save_draft(f"{_KEPT}{at}", body)

    def _kept(self, act: Act, name: str) -> JsonObject:
        kept = self._event_log.load_draft(f"{_KEPT}{act.at}") or {}
        if not kept.get(name):
            raise stale(act, "what was kept of it is gone")
        return kept

    def _is_taken(self, act: Act, *, there: bool) -> bool:
        """Whether somebody who was killed took it away and could not say so any more: it is kept, and not there."""
        return not there and self._event_log.load_draft(f"{_KEPT}{act.at}") is not None

    def _let_go(self, act: Act) -> None:
        """It is there again: what was kept is no sign any more that it was taken."""
        self._event_log.remove_draft(f"{_KEPT}{act.at}")

    def _set_deleted(self, act: Act, undo: bool) -> None:
        from llmops_tui.maintenance.definition_removal import newest_number, restore_definition

        kind = Archivable(act.name)
        if undo:
            restore_definition(self._workspace, kind, self._kept(act, "rows")["rows"])
        elif not self._is_taken(act, there=newest_number(self._workspace, kind, act.subject) > 0):
            self.delete(kind, act.subject, act.at)

    def _set_version(self, act: Act, undo: bool) -> None:
        from llmops_tui.maintenance.definition_removal import newest_number, remove_newest_version, restore_version

        assert act.after is not None
        if undo:
            newest = newest_number(self._workspace, Archivable.SUITE, act.subject)
            if not self._is_taken(act, there=newest >= act.after):
                remove_newest_version(
                    self._workspace,
                    Archivable.SUITE,
                    act.subject,
                    act.after,
                    lambda row: self._keep(act.at, {"rows": [row]}),
                )
        else:
            restore_version(self._workspace, Archivable.SUITE, self._kept(act, "rows")["rows"][0])
            self._let_go(act)

    def _set_view(self, act: Act, undo: bool) -> None:
        kept = self._kept(act, "after")
        held, wanted = (kept["after"], kept["before"]) if undo else (kept["before"], kept["after"])
        if self._datasets.views(act.subject).get(act.name) != held:
            raise stale(act, "it was saved anew, or removed, since")
        if wanted is None:
            self._datasets.remove_view(act.subject, act.name)
        else:
            self._datasets.save_view(act.subject, act.name, wanted)

    def _set_registered(self, act: Act, undo: bool) -> None:
        from llmops_tui.maintenance.model_renaming import unregister

        if undo:
            there = any(model.name == act.subject for model in self._models.all())
            if not self._is_taken(act, there=there):
                unregister(self._workspace, act.subject, lambda model: self._keep_model(act, model))
            return
        kept = self._kept(act, "model")["model"]
        self._models.check_free(act.subject)
        model = Model(**{**kept, "name": act.subject, "path": Path(kept["path"])})
        self._models.copy(model, act.subject, model.added_at)
        self._let_go(act)

    def _keep_model(self, act: Act, model: Model) -> None:
        path = "" if model.kind == "remote" else str(model.path)
        facts = {"path": path, "kind": model.kind, "sha256": model.sha256, "size_bytes": model.size_bytes}
        times = {"added_at": model.added_at, "verified_at": model.verified_at}
        self._keep(act.at, {"model": {**facts, **times, "header": model.header}})

    def _set_entry(self, act: Act, undo: bool) -> None:
        change = change_at(act.at, act.kind, act.subject)
        if change is None:
            raise stale(act, "what it was before is not known to this user")
        held, wanted = (change.after, change.before) if undo else (change.before, change.after)
        if entry(act.kind, act.subject) != held:
            raise stale(act, "it was changed since")
        set_entry(act.kind, act.subject, wanted)
