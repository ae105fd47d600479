"""Restore: a backup unpacked next to the workspace, verified, and swapped in with one rename."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.archive import Manifest, members, read_manifest
from llmops_tui.maintenance.backup import exclusive_maintenance
from llmops_tui.maintenance.erasure_ledger import FILE as LEDGER
from llmops_tui.maintenance.erasure_ledger import Ledger, ledger_folder
from llmops_tui.maintenance.forgetting.erase import carry_on, carry_out_ledger
from llmops_tui.maintenance.records import OutsideModel, RestoreRecord
from llmops_tui.workspace.audit import RESTORED, audit
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import make_private_folder, sha256_text, sync_folder
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.notices import write_notice

_AT_FDCWD = -100
_EXCHANGE = 2
"""The kind of the entry of the audit."""
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Preview:
    """What a restore would do: which files it brings, replaces and takes away, and which models it cannot bring."""

    manifest: Manifest
    target: Path
    fresh: list[str]
    replaced: list[str]
    gone: list[str]
    missing_models: list[OutsideModel]

    def as_dict(self) -> RestoreRecord:
        """For JSON."""
        return {
            "made_at": self.manifest.made_at,
            "version": self.manifest.version,
            "from": self.manifest.workspace,
            "to": str(self.target),
            "files": len(self.manifest.files),
            "size_bytes": self.manifest.size,
            "new": len(self.fresh),
            "replaced": len(self.replaced),
            "taken_away": self.gone,
            "missing_models": self.missing_models,
            "left_out": self.manifest.left_out,
        }


def preview(path: Path, workspace: Workspace, passphrase: str = "") -> Preview:
    """What restoring a backup into a workspace would do; changes nothing."""
    from llmops_tui.workspace.checksum_scope import checksummed_files

    manifest = read_manifest(path, passphrase)
    there = set(checksummed_files(workspace.root)) if workspace.root.is_dir() else set()
    return Preview(
        manifest,
        workspace.root,
        fresh=sorted(manifest.files.keys() - there),
        replaced=sorted(manifest.files.keys() & there),
        gone=sorted(name for name in there - manifest.files.keys()),
        missing_models=[model for model in manifest.outside if not Path(model["path"]).exists()],
    )


def restore(path: Path, workspace: Workspace, progress: Progress | None = None, passphrase: str = "") -> Path | None:
    """Put a backup in the place of a workspace; returns where the old one is kept, or none where there was none.

    Until the last step the workspace is as it was; the last step is one exchange of two folders' names.

    Raises:
        InputRefusedError: ``backup_damaged``, ``not_a_backup``, or ``workspace_in_use``.
        LlmopsError: ``disk_full``.
    """
    tell = progress or (lambda _share, _what: None)
    manifest = read_manifest(path, passphrase)
    root = workspace.root
    root.parent.mkdir(parents=True, exist_ok=True)
    existed = root.is_dir() and any(root.iterdir())
    make_private_folder(root)
    if existed:
        refuse_if_used(workspace)
    with exclusive_maintenance(workspace):
        _clear_leftovers(root)
        folder = root.with_name(f"{root.name}.restoring-{os.getpid()}")
        try:
            unpack(path, manifest, folder, tell, passphrase, restored=True)
            # Nothing of ours runs in it now; a program that begins to is told so by the missing lock.
            old = _exchange(folder, root)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise LlmopsError(
                    "disk_full",
                    f"no space left in the parent folder of {root}",
                    "Free some space; nothing was changed.",
                ) from error
            raise LlmopsError("restore_failed", f"{root}: {error}", "Nothing was changed.") from error
        finally:
            if folder.exists() and (folder / ".unpacking").exists():
                shutil.rmtree(folder, ignore_errors=True)
    tell(1.0, "done")
    if not existed:
        shutil.rmtree(old, ignore_errors=True)
        return None
    return _kept(old, root)


def unpack(
    path: Path,
    manifest: Manifest,
    folder: Path,
    tell: Progress = lambda _share, _what: None,
    passphrase: str = "",
    *,
    all_forgotten: bool = False,
    restored: bool = False,
) -> None:
    """Unpack a backup into a new folder, compared with its manifest, and forget there whom the ledger of erasures has.

    What is to be ``restored`` is an entry of its audit: an older state goes on from there. Who cannot be
    forgotten is told by a notice in the workspace; with ``all_forgotten`` it is refused.
    """
    folder.mkdir(mode=0o700)
    (folder / ".unpacking").touch()
    done = 0
    for name, _target, digest in members(path, manifest, folder, passphrase=passphrase):
        if digest != manifest.files[name][0]:
            raise InputRefusedError("backup_damaged", f"{path}: {name} is damaged", "Use another backup.")
        done += manifest.files[name][1]
        tell(0.95 * done / (manifest.size or 1), name)
    fresh = make_workspace(Workspace(folder), own=False)
    _forget_again(fresh, tell, all_forgotten=all_forgotten)
    if restored:
        _note_restored(fresh, manifest)
    # What is found beside the files is of the workspace that the backup was made of.
    (folder / "seals.json").unlink(missing_ok=True)
    record_checksums(fresh, again=True, large=True)
    (folder / ".unpacking").unlink()
    for each in (folder, folder.parent):
        sync_folder(each)


def _note_restored(fresh: Workspace, manifest: Manifest) -> None:
    """Add to the audit that a backup took the place of what was: by the hash of what it holds, and when it was made."""
    held = sha256_text("\n".join(f"{name} {digest}" for name, (digest, _) in sorted(manifest.files.items())))
    event_log = EventLog(fresh)
    try:
        audit(event_log, RESTORED, held, made_at=manifest.made_at, entries=(manifest.audit or {"seq": 0})["seq"])
    except (LlmopsError, sqlite3.Error) as error:
        # As it was when the backup was made: what else there is, is restored all the same.
        write_notice(
            fresh, f"The event log of this backup takes no entry of the audit, which does not have the restore: {error}"
        )
    finally:
        event_log.close()


def _forget_again(fresh: Workspace, tell: Progress, *, all_forgotten: bool) -> None:
    """Erase whom the ledger has from what was unpacked, before anybody can see it; who cannot be is refused, or told."""
    if not (fresh.root / LEDGER).exists() and not any(ledger_folder().glob("*.json")):
        return
    # Whose workspace it is stands in its catalog alone.
    Catalog(fresh).read(lambda _db: None)
    ledger = Ledger(fresh)
    if not ledger.all():
        return
    try:
        carry_on(fresh, ledger, leave_sealed=True)
        carry_out_ledger(fresh, ledger, lambda _share, what: tell(0.95, what))
    except InputRefusedError as error:
        if all_forgotten:
            raise
        write_notice(
            fresh,
            f"This backup may hold persons who were forgotten: {error.told} llmops privacy again forgets them.",
        )
    finally:
        EventLog(fresh).close()


def refuse_if_used(workspace: Workspace) -> None:
    """Refuse to replace a workspace that something works in.

    Raises:
        InputRefusedError: ``workspace_in_use``; the message says by what.
    """
    users = [f"the server of {handle.model}" for handle in ServerSupervisor(workspace).running()]
    event_log = EventLog(workspace)
    try:
        users += [f"the job {job.title}" for job in JobStore(event_log).all(100_000) if not job.state.final]
    except (LlmopsError, sqlite3.Error):
        # An event log that cannot be read is what a restore may be there to fix.
        users += []
    finally:
        event_log.close()
    with locked(workspace.root / "recorder.lock") as free:
        users += [] if free else ["an open app or monitor"]
    if users:
        raise InputRefusedError(
            "workspace_in_use", f"{workspace.root} is in use by {', '.join(users[:3])}", "Close them, and try again."
        )


def _exchange(fresh: Path, root: Path) -> Path:
    """Swap two folders' names in one step; returns where the old one is now."""
    library = ctypes.CDLL(None, use_errno=True)
    swap = getattr(library, "renameat2", None)
    if swap is not None:
        names = (os.fsencode(fresh), os.fsencode(root))
        if swap(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
            sync_folder(root.parent)
            return fresh
        number = ctypes.get_errno()
        if number not in {errno.EINVAL, errno.ENOSYS}:
            raise OSError(number, os.strerror(number), str(root))
    # This file system cannot exchange: for a moment there is no workspace, and the old one lies beside.
    aside = root.with_name(f"{root.name}.before-restore-{os.getpid()}")
    root.rename(aside)
    fresh.rename(root)
    sync_folder(root.parent)
    return aside


def _clear_leftovers(root: Path) -> None:
    """Take away what restores that were killed left beside the workspace; one that was exchanged is the old workspace."""
    for path in root.parent.glob(f"{root.name}.restoring-*"):
        if path.is_symlink():
            continue
        if (path / ".unpacking").exists():
            shutil.rmtree(path, ignore_errors=True)
        elif Workspace(path).catalog.exists():
            _kept(path, root)


def _kept(old: Path, root: Path) -> Path:
    """Give the workspace that was there before the name under which it is kept, which no other has yet."""
    stem = f"{root.name}.before-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(1))
    kept = next(path for name in names if not os.path.lexists(path := root.with_name(name)))
    old.rename(kept)
    sync_folder(root.parent)
    return kept
