"""A folder with a file for each prompt, such as one that git holds: kept in step with the workspace, both ways.

A file holds the text that one works on: the newest version, unless the file was put back to an older one. What both sides
held when they were last in step is kept in the workspace, so that a change on one side alone is taken over, and a change on
both is a conflict that a person decides. Neither side's text is ever lost: what a file says is a version before the file is
written over, and nothing is deleted on either side.
"""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.answer_settings import kept_settings
from llmops_tui.names import RULE, is_name
from llmops_tui.prompts.file_form import ENDING, MAX_FILE, Content, bad_file, file_text, parse_file
from llmops_tui.prompts.named_variables import refuse_unnamed
from llmops_tui.prompts.partials import has_includes
from llmops_tui.prompts.store import content_hash
from llmops_tui.prompts.template_syntax import refuse_unfinished, unfinished
from llmops_tui.regular_files import open_regular
from llmops_tui.workspace.files import reason, sha256_text, write_atomic
from llmops_tui.workspace.locks import locked

if TYPE_CHECKING:
    from llmops_tui.prompts.store import PromptStore, PromptVersion
    from llmops_tui.workspace.event_log import EventLog

PREFIX = "prompt-folder:"
_MAX_FILES = 10_000
# Not told: there is nothing of it any more.
_FORGOTTEN = "gone on both sides"
# How long one waits for another sync of this workspace.
_LOCK_SECONDS = 30.0
_NOT_TAKEN = "from a file that was written over"

What = Literal["in step", "read", "written", "deleted there", "deleted here", "conflict", "refused"]
Side = Literal["folder", "workspace"]


class ChangeRecord(TypedDict):
    """What happened to one prompt, as ``--json`` has it; ``version`` is the one that the file holds now, where it holds one."""

    prompt: str
    what: What
    version: int | None
    detail: str


@dataclass(frozen=True)
class Change:
    """What happened to one prompt, or would."""

    prompt: str
    what: What
    version: int | None = None
    detail: str = ""

    def as_dict(self) -> ChangeRecord:
        """For JSON."""
        return {"prompt": self.prompt, "what": self.what, "version": self.version, "detail": self.detail}


@dataclass(frozen=True)
class _Step:
    """What both sides held: the version in the file, the hash of its text, and that of the newest one that was known then.

    Numbers begin again where a prompt is deleted and made anew, hashes do not.
    """

    version: int
    content: str
    newest: str


def _bytes_of(path: Path) -> bytes:
    """What a file has, as far as it can be a prompt's."""
    with open_regular(path) as file:
        return file.read(MAX_FILE + 1)


class PromptFolder:
    """The files of a folder, and what they and the workspace's prompts held when they were last in step.

    Raises:
        InputRefusedError: ``folder_not_found``.
    """

    def __init__(self, folder: Path, store: PromptStore, event_log: EventLog) -> None:
        self.folder = folder.resolve()
        if not self.folder.is_dir():
            raise InputRefusedError("folder_not_found", f"there is no folder {folder}", "Make it, or name another.")
        self._store, self._event_log = store, event_log
        self._key = PREFIX + sha256_text(str(self.folder))
        self._steps: dict[str, _Step] = {}
        self._paths: dict[str, Path] = {}

    def stamp(self) -> tuple[object, ...]:
        """Something that changes with the files or the workspace; it opens none of them, so it may be asked often.

        A file that another one was put in the place of changes it, whatever times and sizes both have.
        """
        files = sorted(
            (path.name, facts.st_ino, facts.st_ctime_ns, facts.st_mtime_ns, facts.st_size)
            for path, facts in self._files()
        )
        return (*files, *self._store.stamp())

    def sync(self, *, take: Side | None = None, only: Collection[str] = (), dry_run: bool = False) -> list[Change]:
        """Bring both sides in step; what happened, by prompt, those that were in step included.

        Args:
            take: the side whose text counts where both changed, or where one side deleted what the other has.
            only: the prompts that are looked at; all by default.
            dry_run: say what would happen, and change nothing.

        Raises:
            InputRefusedError: ``too_many_files``. NotFoundError: one of ``only`` is on neither side.
            LlmopsError: the folder or the workspace cannot be written; what was done so far is noted. ``sync_busy``: another
                sync of this workspace does not come to its end.
        """
        workspace = self._event_log.workspace
        if dry_run:
            return self._synced(take, only, dry_run=True)
        workspace.refuse_if_read_only()
        with locked(workspace.root / "prompt-sync.lock", _LOCK_SECONDS) as alone:
            if not alone:
                raise LlmopsError(
                    "sync_busy", "another process syncs prompts of this workspace", "Try again when it has ended."
                )
            return self._synced(take, only, dry_run=False)

    def _synced(self, take: Side | None, only: Collection[str], *, dry_run: bool) -> list[Change]:
        # Another process may have brought this folder in step since the last time.
        kept = self._event_log.load_draft(self._key) or {}
        self._steps = {}
        for name, step in dict(kept.get("prompts") or {}).items():
            # What cannot be read was never in step: then both sides are compared.
            with contextlib.suppress(TypeError):
                self._steps[name] = _Step(**step)
        there, refused = self._read()
        here = {summary.name for summary in self._store.summaries()}
        # A workspace that somebody else made may have any name, and a name is a path here.
        refused += [
            Change(name, "refused", None, f"its name cannot be that of a file: {RULE}")
            for name in here
            if not is_name(name)
        ]
        names = sorted({*there, *here, *self._steps} - {change.prompt for change in refused})
        # What a file includes may be in another one that is new, too.
        names.sort(key=lambda name: name in there and has_includes(*there[name][:2]))
        if unknown := set(only) - {*names, *(change.prompt for change in refused)}:
            raise NotFoundError("prompt", min(unknown), f"Neither {self.folder} nor the workspace has it.")
        changes = [change for change in refused if not only or change.prompt in only]
        try:
            changes += [
                self._one_or_refused(name, there.get(name), name in here, take, dry_run=dry_run)
                for name in names
                if not only or name in only
            ]
        finally:
            if not dry_run:
                steps = {name: asdict(step) for name, step in self._steps.items()}
                self._event_log.save_draft(self._key, {"folder": str(self.folder), "prompts": steps})
        return sorted((change for change in changes if change.detail != _FORGOTTEN), key=lambda one: one.prompt)

    # ── one prompt ──

    def _one_or_refused(
        self, name: str, file: Content | None, known: bool, take: Side | None, *, dry_run: bool
    ) -> Change:
        try:
            return self._one(name, file, known, take, dry_run=dry_run)
        except InputRefusedError as error:
            if error.code not in {"bad_partial", "template_failed"}:
                raise
            return Change(name, "refused", None, f"{name}{ENDING}: {error.message}")

    def _one(self, name: str, file: Content | None, known: bool, take: Side | None, *, dry_run: bool) -> Change:
        versions = self._store.versions(name) if known else []
        step = self._steps.get(name)
        if file is None and not versions:
            if not dry_run:
                self._steps.pop(name, None)
            return Change(name, "in step", detail=_FORGOTTEN)
        if file is None:
            return self._without_file(name, versions, step, take, dry_run=dry_run)
        if not versions:
            return self._without_prompt(name, file, step, take, dry_run=dry_run)
        return self._both(name, file, versions, step, take, dry_run=dry_run)

    def _both(
        self,
        name: str,
        file: Content,
        versions: Sequence[PromptVersion],
        step: _Step | None,
        take: Side | None,
        *,
        dry_run: bool,
    ) -> Change:
        latest, content = versions[0], content_hash(*file)
        if content == latest.sha256:
            return self._noted(name, "in step", latest, latest, dry_run=dry_run)
        changed_there = step is None or content != step.content
        changed_here = step is None or latest.sha256 != step.newest
        if not changed_there and not changed_here and step is not None:
            return Change(name, "in step", step.version)
        if changed_there and changed_here and take is None:
            detail = f"the file and @{latest.number} differ, and both are new since they were last in step"
            return Change(name, "conflict", step.version if step else None, detail)
        if changed_there and (take == "folder" or not changed_here):
            return self._taken(name, file, versions, step, dry_run=dry_run)
        newest = latest
        if changed_there and not dry_run:
            # The file's text becomes a version before it is written over.
            kept, new = self._kept(name, file, versions, step, _NOT_TAKEN)
            newest = kept if new else latest
        return self._put(name, latest, newest, file, dry_run=dry_run)

    def _without_file(
        self, name: str, versions: Sequence[PromptVersion], step: _Step | None, take: Side | None, *, dry_run: bool
    ) -> Change:
        latest = versions[0]
        if step is None or take == "workspace":
            return self._put(name, latest, latest, None, dry_run=dry_run)
        detail = "its file was deleted; --take workspace writes it again, llmops prompt remove deletes the prompt"
        return Change(name, "deleted there", None, detail)

    def _without_prompt(
        self, name: str, file: Content, step: _Step | None, take: Side | None, *, dry_run: bool
    ) -> Change:
        if step is None or take == "folder":
            return self._taken(name, file, (), None, dry_run=dry_run)
        return Change(
            name, "deleted here", None, "it was deleted here; delete its file, or --take folder brings it back"
        )

    def _taken(
        self,
        name: str,
        file: Content,
        versions: Sequence[PromptVersion],
        step: _Step | None,
        *,
        dry_run: bool,
    ) -> Change:
        if dry_run:
            if content_hash(*file) not in {version.sha256 for version in versions}:
                refuse_unfinished(name, unfinished(*file[:2]))
            return Change(name, "read")
        version, new = self._kept(name, file, versions, step, f"from {name}{ENDING}")
        newest = versions[0] if versions and not new else version
        if (version.system, version.template) != file[:2]:
            # What the file includes is put in: it is written back, or it would be another text than its version for good.
            put = self._put(name, version, newest, file, dry_run=False)
            return replace(put, what="read", detail="with its partials put in") if put.what == "written" else put
        return self._noted(name, "read", version, newest, "" if new else "a version that was there already")

    def _kept(
        self, name: str, file: Content, versions: Sequence[PromptVersion], step: _Step | None, note: str
    ) -> tuple[PromptVersion, bool]:
        """The version that has a file's text, and whether it is new; one that was there gets no note of where it came from."""
        content = content_hash(*file)
        for version in versions:
            if version.sha256 == content:
                return version, False
        # Of a prompt that was deleted and made anew, no version is what the file was edited from.
        known = step is not None and any(
            version.number == step.version and version.sha256 == step.content for version in versions
        )
        parent = step.version if step is not None and known else None
        settings = kept_settings(file[2], f"{name}{ENDING}") if file[2] else None
        return self._store.save(
            name,
            template=file[1],
            system=file[0],
            note=note,
            parent=parent,
            settings=settings,
            as_it_is=note == _NOT_TAKEN,
        )

    def _put(
        self, name: str, version: PromptVersion, newest: PromptVersion, before: Content | None, *, dry_run: bool
    ) -> Change:
        """Write a version over what was read of its file, and over nothing else."""
        if dry_run:
            return Change(name, "written", version.number)
        path = self._paths.get(name, self.folder / f"{name}{ENDING}")
        try:
            now = parse_file(_bytes_of(path)) if path.exists() or path.is_symlink() else None
        except (OSError, InputRefusedError):
            now = ("", "", "")
        if now != before:
            return Change(name, "conflict", None, "its file changed while it was looked at; sync again")
        try:
            write_atomic(path, file_text(version.system, version.template, version.settings_text), mode=0o644)
        except OSError as error:
            raise LlmopsError(
                "folder_unwritable", f"{path} cannot be written: {reason(error)}", "What was done so far is noted."
            ) from error
        return self._noted(name, "written", version, newest)

    def _noted(
        self,
        name: str,
        what: What,
        version: PromptVersion,
        newest: PromptVersion,
        detail: str = "",
        *,
        dry_run: bool = False,
    ) -> Change:
        """Note what both sides hold; ``newest`` is what was read, since somebody may have saved another meanwhile."""
        if not dry_run:
            self._steps[name] = _Step(version.number, version.sha256, newest.sha256)
        return Change(name, what, version.number, detail)

    # ── files ──

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        try:
            entries = list(os.scandir(self.folder))
        except OSError as error:
            raise LlmopsError(
                "folder_unreadable", f"{self.folder} cannot be read: {reason(error)}", "Nothing was changed."
            ) from error
        for entry in entries:
            if entry.name.endswith(ENDING) and not entry.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
        if len(found) > _MAX_FILES:
            raise InputRefusedError(
                "too_many_files", f"{self.folder} has more than {_MAX_FILES:,} prompts", "Choose a smaller folder."
            )
        return found

    def _read(self) -> tuple[dict[str, Content], list[Change]]:
        """The texts of the files by prompt, and the files that say none."""
        found: dict[str, Content] = {}
        refused: dict[str, Change] = {}
        self._paths = {}
        for path in sorted(path for path, _ in self._files()):
            # Some file systems take names apart.
            name = unicodedata.normalize("NFC", path.name.removesuffix(ENDING))
            try:
                if path.is_symlink():
                    raise bad_file("it is a link, which would be replaced and not followed")
                if not is_name(name):
                    raise bad_file(f"{name!r} is not a valid prompt name: {RULE}")
                if name in found:
                    raise bad_file("another file has this name in another form of Unicode")
                system, template, settings = found[name] = parse_file(_bytes_of(path))
                refuse_unnamed(name, system, template, json.loads(settings) if settings else {})
                self._paths[name] = path
            except FileNotFoundError:
                # It went since the folder was listed.
                continue
            except (OSError, LlmopsError) as error:
                found.pop(name, None)
                why = error.message if isinstance(error, LlmopsError) else reason(error)
                refused[name] = Change(name, "refused", None, f"{path.name}: {why}")
        return {name: texts for name, texts in found.items() if name not in refused}, list(refused.values())
