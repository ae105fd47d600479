"""Backups: one tar file with a consistent copy of a workspace in use, verified before it counts."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from llmops_tui import __version__
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance import check_catalog
from llmops_tui.maintenance.archive import LEFT_OUT, MANIFEST, Manifest, read_manifest, verify
from llmops_tui.maintenance.check_files import against_checksums
from llmops_tui.maintenance.encryption import EncryptedWriter, is_encrypted
from llmops_tui.maintenance.findings import Report
from llmops_tui.maintenance.records import OutsideModel
from llmops_tui.maintenance.staging import clear_leftovers, made_beside
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.regular_files import kind_of_place
from llmops_tui.user_files import with_home
from llmops_tui.workspace.audit import AnchorRecord, anchor
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksum_scope import checksummed_files, links_in
from llmops_tui.workspace.checksums import maintenance_lock
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_file, sync_folder
from llmops_tui.workspace.known_folders import may_write_in
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.marker import existing, read_marker
from llmops_tui.workspace.migrations import LATEST
from llmops_tui.workspace.sqlite_files import copy_to_memory, open_sqlite

_DATABASES = ("journal.db", "history.db")
_BOOK = "workspace.duckdb"
_CHUNK = 1 << 20
_WAIT_SECONDS = 10.0
Progress = Callable[[float, str], None]


def backup(
    workspace: Workspace,
    target: Path,
    *,
    models: bool = True,
    damaged: bool = False,
    passphrase: str = "",
    earlier: Path | None = None,
    as_of: Manifest | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write a backup, read it back, and put it in place of an older one; until then the older one stays.

    With a ``passphrase`` it is encrypted. What an ``earlier`` backup of the same folder has is not copied again. ``as_of`` is
    the manifest of the one that it replaces where the workspace was unpacked from that: the moment, the place and the models
    that lay outside are those.

    The event log is copied before the catalog: what is ingested in between is in both, and the catalog knows how far it went.
    Files are compared with their checksums first, so that no damaged copy replaces a good one; with ``damaged`` it is made all
    the same, but not in the place of another.

    Raises:
        InputRefusedError: ``workspace_damaged``: a file is not as it was checksummed; the message names it.
        LlmopsError: ``disk_full``, or ``backup_failed``: what was read back is not what was written.
    """
    tell = progress or (lambda _share, _what: None)
    existing(workspace)
    target = with_home(target).resolve()
    if workspace.place_of(target) is not None:
        raise InputRefusedError(
            "backup_inside", f"{target} is inside the workspace", "Give a file outside the workspace."
        )
    if not target.parent.is_dir():
        raise InputRefusedError(
            "no_such_folder", f"{target.parent} is not a folder", "Create it, or give another folder."
        )
    if damaged and target.exists():
        raise InputRefusedError(
            "backup_exists", f"{target} may be a better backup", "Give a new file for a damaged workspace."
        )
    if target.is_dir():
        raise InputRefusedError("backup_is_folder", f"{target} is a folder", "Give a file in it.")
    with exclusive_maintenance(workspace):
        clear_leftovers(target)
        notes: list[str] = []
        if not damaged:
            notes = _refuse_damage(workspace, lambda share: tell(0.2 * share, "comparing files with their checksums"))
        try:
            with made_beside(target) as folder:
                temporary = folder / "backup.tar"
                known = _known(earlier, target, passphrase)
                manifest = _write(workspace, temporary, folder, tell, known, passphrase, as_of, models=models)
                tell(0.75, "reading it back")
                verify(temporary, lambda share: tell(0.75 + 0.25 * share, "reading it back"), passphrase, own=True)
                temporary.replace(target)
                sync_folder(target.parent)
        except OSError as error:
            raise _explain(target, error) from error
        except sqlite3.Error as error:
            raise LlmopsError(
                "backup_failed",
                f"a database of {workspace.root} cannot be copied: {error}",
                "llmops check reports the cause.",
            ) from error
    tell(1.0, "done")
    return replace(manifest, notes=notes)


def _refuse_damage(workspace: Workspace, tell: Callable[[float], None]) -> list[str]:
    """Refuse where a file is damaged; returns what is worth telling otherwise."""
    report = Report()
    against_checksums(workspace, report, lambda share, _what: tell(2 * share))
    # What was written since its checksum has none to be compared with: its own checksums are.
    for inspect in (check_catalog.event_log, check_catalog.catalog):
        try:
            inspect(workspace, report)
        except LlmopsError as error:
            report.error("", error.message)
    # People write it themselves, so that a change of it is none of the disk's.
    own = workspace.alert_rules.name
    errors = [error for error in report.errors if error.place != own]
    if errors:
        first = errors[0]
        more = f" and {counted(len(errors) - 1, 'more file')}" if len(errors) > 1 else ""
        raise InputRefusedError(
            "workspace_damaged",
            f"{first.place} {first.text}{more}; no backup was made".strip(),
            "llmops check reports all problems; older backups are unchanged. If you changed the file: llmops check --accept. "
            "llmops backup --damaged NEW-FILE copies the workspace as it is.",
        )
    return [f"{error.place} {error.text}, and is in the backup as it is" for error in report.errors]


@dataclass(frozen=True)
class _Known:
    """What an earlier backup has: where the bytes of each file lie, by its name, hash and size."""

    files: dict[str, tuple[str, int]]
    places: dict[str, str]
    increments: int = 0

    def place_of(self, name: str, path: Path) -> tuple[str, tuple[str, int]] | None:
        """The backup that has a file as it is now, and its hash and size; none where it is to be copied."""
        digest, size = self.files.get(name, ("", -1))
        if path.stat().st_size != size or sha256_file(path) != digest:
            return None
        return self.places[name], (digest, size)


def _known(earlier: Path | None, target: Path, passphrase: str) -> _Known:
    if earlier is None:
        return _Known({}, {})
    if earlier.parent != target.parent or earlier == target:
        raise InputRefusedError(
            "earlier_elsewhere",
            f"{earlier} is not in the folder of {target}",
            "Keep both in one folder: one requires the other.",
        )
    if is_encrypted(earlier) != bool(passphrase):
        raise InputRefusedError(
            "earlier_differs", f"{earlier} is {'' if passphrase else 'not '}to be read in the clear"
        )
    manifest = read_manifest(earlier, passphrase)
    places = {name: manifest.elsewhere.get(name, earlier.name) for name in manifest.files}
    there = {place for place in set(places.values()) if earlier.with_name(place).exists()}
    return _Known({n: f for n, f in manifest.files.items() if places[n] in there}, places, manifest.increments + 1)


def _write(
    workspace: Workspace,
    temporary: Path,
    folder: Path,
    tell: Progress,
    known: _Known,
    passphrase: str,
    as_of: Manifest | None,
    *,
    models: bool,
) -> Manifest:
    left_out = [name.rstrip("/") for name in LEFT_OUT]
    files: dict[str, tuple[str, int]] = {}
    elsewhere: dict[str, str] = {}
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
        plain = EncryptedWriter(raw, passphrase) if passphrase else raw
        with tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for name in _DATABASES:
                if kind := kind_of_place((workspace.root / name).resolve()):
                    left_out.append(f"{name} (it is {kind}, not a file)")
                elif (workspace.root / name).exists():
                    _copy_sqlite(workspace.root / name, folder / name)
                    files[name] = _add(archive, folder / name, name)
            Catalog(workspace).snapshot(folder / _BOOK)
            files[_BOOK] = _add(archive, folder / _BOOK, _BOOK)
            running = _folders_in_use(workspace)
            left_out += [f"runs/{name} (its job runs)" for name in sorted(running)]
            names = [name for name in checksummed_files(workspace.root) if _taken(name, running, models=models)]
            left_out += [] if models else ["models"]
            left_out += [f"{name} (a link)" for name in links_in(workspace.root)]
            total = sum(_size(workspace.root / name) for name in names) or 1
            done = 0
            for name in names:
                tell(0.2 + 0.55 * done / total, name)
                # A file of a job that ended may be cleared away meanwhile; what the catalog refers to is not.
                with contextlib.suppress(FileNotFoundError):
                    there = known.place_of(name, workspace.root / name)
                    if there is not None:
                        elsewhere[name], files[name] = there
                    else:
                        files[name] = _add(archive, workspace.root / name, name)
                    done += files[name][1]
            own_id = read_marker(workspace).id
            manifest = Manifest(
                time.time(),
                __version__,
                LATEST,
                str(workspace.root),
                files,
                _outside(workspace),
                left_out,
                own_id,
                elsewhere,
                known.increments if elsewhere else 0,
                audit=_anchor_in(folder / workspace.event_log.name),
            )
            if as_of is not None:
                manifest = replace(
                    manifest,
                    made_at=as_of.made_at,
                    workspace=as_of.workspace,
                    outside=as_of.outside,
                    left_out=as_of.left_out,
                )
            body = json.dumps(manifest.as_dict(), indent=1).encode()
            info = tarfile.TarInfo(MANIFEST)
            info.size, info.mode, info.mtime = len(body), 0o600, int(manifest.made_at)
            archive.addfile(info, io.BytesIO(body))
        if plain is not raw:
            plain.close()
        raw.flush()
        os.fsync(raw.fileno())
    return manifest


def _anchor_in(event_log: Path) -> AnchorRecord | None:
    """The newest entry of the audit in the copy of an event log; none where there is none."""
    if not event_log.exists():
        return None
    with contextlib.closing(sqlite3.connect(event_log)) as connection:
        return anchor(connection)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> tuple[str, int]:
    """Add a file as it is now; what is appended meanwhile is left out."""
    with path.open("rb") as file:
        info = archive.gettarinfo(arcname=name, fileobj=file)
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mode = 0o600
        reader = _Hashing(file, info.size)
        archive.addfile(info, reader)
    return reader.digest.hexdigest(), info.size


class _Hashing:
    """A reader that hashes what passes through it, and fills up with zeros what was cut off meanwhile."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file = file
        self._left = size
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        raw = self._file.read(wanted)
        raw += b"\0" * (wanted - len(raw))
        self._left -= len(raw)
        self.digest.update(raw)
        return raw


def _copy_sqlite(source: Path, target: Path) -> None:
    """A consistent copy of a SQLite file that others write."""
    writable = may_write_in(source.parent)
    reading = open_sqlite(source, timeout=15.0) if writable else copy_to_memory(source)
    writing = sqlite3.connect(target)
    try:
        reading.backup(writing)
    finally:
        writing.close()
        reading.close()


def _taken(name: str, running: set[str], *, models: bool) -> bool:
    if name in {*_DATABASES, _BOOK} or name.startswith(LEFT_OUT):
        return False
    if name.startswith("models/") and not models:
        return False
    return not (name.startswith("runs/") and name.split("/")[1] in running)


def _folders_in_use(workspace: Workspace) -> set[str]:
    event_log = EventLog(workspace)
    try:
        return {job.resumes or job.id for job in JobStore(event_log).all(100_000) if not job.state.final}
    finally:
        event_log.close()


def _outside(workspace: Workspace) -> list[OutsideModel]:
    """Models whose files are elsewhere: they are named, not copied."""
    return [
        {"name": m.name, "path": str(m.path), "sha256": m.sha256, "size_bytes": m.size_bytes}
        for m in ModelRegistry(Catalog(workspace)).all()
        if m.kind != "remote" and workspace.place_of(m.path) is None
    ]


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


@contextlib.contextmanager
def exclusive_maintenance(workspace: Workspace) -> Iterator[None]:
    """Backup, restore and clearing away exclude each other.

    Raises:
        LlmopsError: ``keeping_busy``.
    """
    if workspace.read_only:
        # Nobody who may not write can take the lock, nor change what is copied.
        yield
        return
    with locked(maintenance_lock(workspace), _WAIT_SECONDS) as alone:
        if not alone:
            raise LlmopsError(
                "keeping_busy", f"{workspace.root} is being backed up, restored or cleared", "Try again later."
            )
        yield


def _explain(target: Path, error: OSError) -> LlmopsError:
    import errno

    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return LlmopsError("disk_full", f"no space left for {target}", "Free some space; an older backup is unchanged.")
    return LlmopsError("backup_failed", f"{target}: {error}", "Choose another place; an older backup is unchanged.")
