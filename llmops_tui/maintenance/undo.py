"""One history of what was done in a workspace and can be taken back: by any screen, any command, across restarts.

An act has a name, and what held before and after it. Undoing does not erase: a label or a tag points where it pointed
before, a dataset gets a new version with the rows it had, and one that had none is archived. What others changed meanwhile
is not overwritten.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.prompt_versions import CHAINS
from llmops_tui.inference.stages import StageStore
from llmops_tui.maintenance.act_notes import ActNotes
from llmops_tui.maintenance.acts import (
    CHAT,
    RENAMED,
    STALE,
    VIEW,
    Act,
    called,
    newest,
    same,
    stale,
    version_text,
)
from llmops_tui.maintenance.archiving import Archivable, Kept, find
from llmops_tui.prompts.label_audit import MOVED, RESTORED, audited
from llmops_tui.prompts.store import ANY, Held, PromptStore, PromptVersion
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog

if TYPE_CHECKING:
    from llmops_tui.datasets.reports import ViewRecord
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.maintenance.definition_removal import DefinitionRemoval
    from llmops_tui.maintenance.renaming import Renaming


class UndoHistory(ActNotes):
    """Acts, each with what takes it back. Do what is to be undoable through here."""

    def __init__(self, catalog: Catalog, event_log: EventLog) -> None:
        super().__init__(catalog, event_log)
        self._workspace = catalog.workspace
        self._prompts, self._chains = PromptStore(catalog), PromptStore(catalog, CHAINS)

    # ── what can be taken back ──

    def move_label(
        self,
        ref: str,
        label: str,
        *,
        expected: Held = ANY,
        kind: str = MOVED,
        reason: str = "",
        by_policy: bool = False,
    ) -> PromptVersion:
        """Point a label at a version of a prompt, or of a chain as ``chain/NAME``; as :meth:`PromptStore.move_label`.

        What kind of move it is, the audit keeps.

        Raises:
            InputRefusedError: ``stage_policy``: the label is a stage with a policy, and nobody asked that (``by_policy``).
        """
        texts = self._labelled(ref)
        prompt = texts.get(ref).prompt
        if not by_policy:
            self._refuse_past_policy(prompt, label, f"llmops stage promote {ref} {label}")
        before = self._label(prompt, label)
        with audited(texts, self._event_log, kind, reason):
            version = texts.move_label(ref, label, expected)
        self._note("label", prompt, label, before, version.number)
        return version

    def _refuse_past_policy(self, prompt: str, label: str, instead: str) -> None:
        stage = StageStore(self._event_log).get(prompt, label)
        if stage is not None and stage.suites:
            raise InputRefusedError(
                "stage_policy",
                f"{stage.ref} is a stage, which moves by its policy: {', '.join(stage.suites)}",
                instead,
            )

    def remove_label(
        self,
        prompt: str,
        label: str,
        *,
        expected: Held = ANY,
        kind: str = MOVED,
        reason: str = "",
        by_policy: bool = False,
    ) -> None:
        """Take a label away from the version that has it, which is the ``expected`` one where that is given.

        Raises:
            InputRefusedError: ``no_label``: no version has it; ``label_moved``; ``stage_policy``, as for :meth:`move_label`.
        """
        before = self._label(prompt, label)
        if before is None:
            raise InputRefusedError("no_label", f"no version of {prompt} has the label {label}", "Nothing was changed.")
        if not by_policy:
            self._refuse_past_policy(prompt, label, f"llmops stage withdraw {prompt}@{label} --reason TEXT")
        texts = self._labelled(prompt)
        with audited(texts, self._event_log, kind, reason):
            texts.remove_label(prompt, label, before if expected is ANY else expected)
        self._note("label", prompt, label, before, None)

    def move_tag(self, ref: str, tag: str) -> DatasetVersion:
        """Point a tag at a version of a dataset; as :meth:`DatasetStore.tag`."""
        dataset = self._datasets.get(ref).dataset
        before = self._tag(dataset, tag)
        version = self._datasets.tag(ref, tag)
        self._note("tag", dataset, tag, before, version.number)
        return version

    def remove_tag(self, dataset: str, tag: str) -> None:
        """Take a tag away."""
        before = self._tag(dataset, tag)
        self._datasets.untag(dataset, tag)
        self._note("tag", dataset, tag, before, None)

    def save_view(self, dataset: str, name: str, view: ViewRecord) -> None:
        """Save a view of a dataset, in place of one of that name."""
        at, before = time.time(), 1 if name in self._datasets.views(dataset) else None
        if self._effects.save_view(dataset, name, view, at):
            self._add(Act(at, VIEW, dataset, name, before, 1))

    def rename(self, kind: Kept | Archivable, name: str, new_name: str, *, force: bool = False) -> Renaming:
        """Give a prompt, a dataset or a model another name; as :func:`rename_record` and :func:`rename_model`.

        What was done with it before stays undoable.
        """
        done = self._renamed(kind.value, name, new_name, force=force)
        act = Act(time.time(), kind.value, name, new_name, None, None, forced=force)
        self._log.change(
            lambda now: newest([*(called(other, kind.value, name, new_name) for other in now if not other.undone), act])
        )
        return done

    def rename_chat(self, name: str, new_name: str) -> None:
        """Give a chat another name; as :meth:`Chats.rename`."""
        from llmops_tui.prompts.chats.store import Chats

        chat = Chats(self._event_log).rename(name, new_name)
        self._add(Act(time.time(), CHAT, name, new_name, None, None, id=chat.id))

    def archive(self, kind: Archivable, names: Collection[str], *, away: bool = True) -> None:
        """Put things away, or with ``away`` false have lists show them again; each is an act.

        Raises:
            NotFoundError: there is no such thing; nothing is put away then.
        """
        for name in names if away else ():
            find(self._workspace, kind, name)
        held = self._archive.names(kind)
        changing = [name for name in names if (name in held) is not away]
        (self._archive.add if away else self._archive.remove)(kind, changing)
        if changing:
            now, held_before, held_after = time.time(), None if away else 1, 1 if away else None
            beside = len(changing) - 1
            self._add(
                *(Act(now, "archive", name, kind.value, held_before, held_after, beside=beside) for name in changing)
            )

    def copy(self, kind: Kept | Archivable, ref: str, new_name: str) -> str:
        """Make a version the first of something of its own, or register a model's file under a second name, too.

        As :func:`copy_record`, :func:`copy_definition` and :func:`copy_model`.
        """
        made = self._copied(kind, ref, new_name)
        self._note("copy", new_name, f"{kind.value} {ref}", None, 1)
        return made

    def remove_definition(self, kind: Archivable, name: str) -> DefinitionRemoval:
        """Delete a suite or a recipe; as :func:`remove_definition`. Its versions are kept as long as the act is."""
        from llmops_tui.maintenance.definition_removal import newest_number

        at = time.time()
        act = Act(at, "deleted", name, kind.value, 1, None)
        try:
            removed = self._effects.delete(kind, name, at, lambda: self._add(act))
        except LlmopsError:
            # It was noted before it was done, and that is no act where it is still there.
            if newest_number(self._workspace, kind, name):
                self._log.change(lambda now: [other for other in now if same(other) != same(act)])
            raise
        self._effects.forget_all_but(self._log.acts())
        return removed

    # ── back and forth ──

    def undo(self) -> Act | None:
        """Take back the newest act that is not, with those that were done at once with it; none where there is none.

        Raises:
            LlmopsError: it cannot be taken back, with the reason; out of the history is what never can be any more.
        """
        return self._step(undo=True)

    def redo(self) -> Act | None:
        """Do again what was taken back last; none where nothing was.

        Raises:
            LlmopsError: it cannot be done again, with the reason; as :meth:`undo`.
        """
        return self._step(undo=False)

    def _step(self, *, undo: bool) -> Act | None:
        self._note_jobs()
        acts = self._log.acts()
        places = [place for place, act in enumerate(acts) if act.undone is not undo]
        if not places:
            return None
        first = acts[places[-1] if undo else places[0]]
        at_once = [acts[place] for place in places if acts[place].at == first.at]
        try:
            for act in at_once if len(at_once) > 1 and first.kind == "rows" else ():
                self._refuse_stale(act, *((act.after, act.before) if undo else (act.before, act.after)))
        except LlmopsError:
            # What was done at once is taken back at once or not at all.
            self._log.change(lambda now: [act for act in now if act.at != first.at])
            raise
        for act in at_once[::-1] if undo else at_once:
            self._take(act, undo=undo)
        return replace(first, undone=undo)

    def _take(self, act: Act, *, undo: bool) -> None:
        try:
            self._set(act, undo=undo)
        except LlmopsError as error:
            # A full disk or a busy catalog passes, and the act is wanted then.
            if error.code == STALE or isinstance(error, NotFoundError):
                self._log.change(lambda now: [other for other in now if same(other) != same(act)])
            raise
        done = replace(act, undone=undo)

        def changed(now: list[Act]) -> list[Act]:
            if act.kind in RENAMED:
                old, new = (act.name, act.subject) if undo else (act.subject, act.name)
                now = [called(other, act.kind, old, new) for other in now]
            return [done if same(other) == same(act) else other for other in now]

        self._log.change(changed)

    def _set(self, act: Act, *, undo: bool) -> None:
        if act.kind in RENAMED:
            self._set_name(act, *((act.name, act.subject) if undo else (act.subject, act.name)), undo=undo)
            return
        if self._effects.set(act, undo=undo):
            return
        held, wanted = (act.after, act.before) if undo else (act.before, act.after)
        if act.kind == "rows":
            self._set_rows(act, held, wanted)
            return
        if act.kind == "copy":
            self._set_copy(act, undo=undo)
            return
        if act.kind == "archive":
            (self._archive.add if wanted else self._archive.remove)(Archivable(act.name), [act.subject])
            return
        now = self._label(act.subject, act.name) if act.kind == "label" else self._tag(act.subject, act.name)
        if now != held:
            raise stale(act, f"it is {version_text(now)} now, which somebody else chose")
        ref = f"{act.subject}@{wanted}"
        if act.kind == "label":
            texts = self._labelled(act.subject)
            with audited(texts, self._event_log, RESTORED):
                if wanted is None:
                    texts.remove_label(act.subject, act.name, held)
                else:
                    texts.move_label(ref, act.name, held)
        elif wanted is None:
            self._datasets.untag(act.subject, act.name)
        else:
            self._datasets.tag(ref, act.name)

    def _set_name(self, act: Act, old: str, new: str, *, undo: bool) -> None:
        try:
            if act.kind == CHAT:
                from llmops_tui.prompts.chats.store import Chats

                Chats(self._event_log).rename(old, new, act.id)
            else:
                self._renamed(act.kind, old, new, force=act.forced and not undo)
        except InputRefusedError as error:
            # What names it, or has the name, was made since: that does not pass, and acts before this one wait behind it.
            if error.code not in {"record_used", "name_taken"}:
                raise
            command = "data" if act.kind == Kept.DATASET else act.kind
            hint = f"The next undo takes back the act before it. llmops {command} rename gives it any other name."
            raise stale(act, error.message, hint) from error

    def _renamed(self, kind: str, name: str, new_name: str, *, force: bool) -> Renaming:
        from llmops_tui.maintenance.model_renaming import rename_model
        from llmops_tui.maintenance.renaming import rename_record

        if kind == Archivable.MODEL:
            return rename_model(self._workspace, name, new_name, force=force)
        return rename_record(self._workspace, Kept(kind), name, new_name, force=force)

    def _set_copy(self, act: Act, *, undo: bool) -> None:
        from llmops_tui.maintenance.definition_removal import remove_definition
        from llmops_tui.maintenance.model_renaming import remove_copy
        from llmops_tui.maintenance.record_removal import remove_record
        from llmops_tui.maintenance.renaming import versions_of

        said, _, ref = act.name.partition(" ")
        kind: Kept | Archivable = Kept(said) if said in set(Kept) else Archivable(said)
        try:
            if not undo:
                self._copied(kind, ref, act.subject)
            elif kind is Archivable.MODEL:
                remove_copy(self._workspace, act.subject)
            elif isinstance(kind, Archivable):
                remove_definition(self._workspace, kind, act.subject)
            elif len(versions_of(self._workspace, kind, act.subject)) > 1:
                raise InputRefusedError("record_used", "it has more versions by now", "")
            else:
                remove_record(self._workspace, kind, act.subject)
        except InputRefusedError as error:
            if error.code not in {"record_used", "name_taken"}:
                raise
            raise stale(act, error.message) from error

    def _copied(self, kind: Kept | Archivable, ref: str, new_name: str) -> str:
        from llmops_tui.maintenance.model_renaming import copy_model
        from llmops_tui.maintenance.renaming import copy_definition, copy_record

        if isinstance(kind, Kept):
            return copy_record(self._workspace, kind, ref, new_name)
        if kind is Archivable.MODEL:
            return copy_model(self._workspace, ref, new_name)
        return copy_definition(self._workspace, kind, ref, new_name)

    def _refuse_stale(self, act: Act, held: int | None, wanted: int | None) -> None:
        now = self._datasets.get(act.subject)
        # Where there was nothing, the first rows are still there, archived.
        if now.sha256 != self._datasets.get(f"{act.subject}@{wanted if held is None else held}").sha256:
            hint = "Nothing was changed. llmops data restore makes the rows of any version the newest."
            raise stale(act, f"{now.ref} was made since and has other rows", hint)

    def _set_rows(self, act: Act, held: int | None, wanted: int | None) -> None:
        self._refuse_stale(act, held, wanted)
        if wanted is None:
            self._archive.add(Archivable.DATASET, [act.subject])
        elif held is None:
            self._archive.remove(Archivable.DATASET, [act.subject])
        else:
            self._datasets.restore(f"{act.subject}@{wanted}")

    # ── what holds now, and the record ──

    def _labelled(self, ref: str) -> PromptStore:
        return self._chains if ref.startswith(CHAINS) else self._prompts

    def _label(self, prompt: str, label: str) -> int | None:
        try:
            found = self._labelled(prompt).get(f"{prompt}@{label}")
        except NotFoundError:
            return None
        return found.number if label in found.labels else None

    def _tag(self, dataset: str, tag: str) -> int | None:
        try:
            found = self._datasets.get(f"{dataset}@{tag}")
        except NotFoundError:
            return None
        return found.number if tag in found.tags else None

    def _note(self, kind: str, subject: str, name: str, before: int | None, after: int | None) -> None:
        if before == after:
            return
        self._add(Act(time.time(), kind, subject, name, before, after))
