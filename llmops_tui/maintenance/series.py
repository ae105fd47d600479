"""A series of backups in a folder: retention, incremental backups, and the schedule."""

from __future__ import annotations

import calendar
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.maintenance.archive import Manifest, read_manifest
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.encryption import SHORTEST
from llmops_tui.settings import Settings, load_settings
from llmops_tui.user_files import with_home
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import read_marker

# How many of a series stand on one that needs no other, that one among them.
FULL_EVERY = 10
_STAMP = "%Y%m%d-%H%M%S"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Made:
    """A backup that was made in a folder, and the earlier ones that were taken away for it."""

    path: Path
    manifest: Manifest
    removed: list[Path]


def generations(workspace: Workspace, folder: Path) -> list[Path]:
    """The backups of this workspace in a folder by their names, newest first."""
    form = re.compile(re.escape(_stem(workspace)) + r"-(\d{8}-\d{6})\.tar(\.enc)?")
    found = (path for path in folder.iterdir() if form.fullmatch(path.name) and _moment(path) is not None)
    return sorted(found, key=lambda p: p.name, reverse=True)


def made_at(path: Path) -> float:
    """When a backup of a series was made, by its name, in seconds since 1970."""
    moment = _moment(path)
    assert moment is not None
    return moment


def _moment(path: Path) -> float | None:
    """The moment that a name says; none where its digits are no date, so that it is no backup of ours."""
    stamp = re.search(r"-(\d{8}-\d{6})\.tar", path.name)
    try:
        return float(calendar.timegm(time.strptime(stamp.group(1), _STAMP))) if stamp is not None else None
    except ValueError:
        return None


def series_of_settings(workspace: Workspace) -> list[tuple[Path, list[Path], str]]:
    """The series that the settings describe: its folder, its backups, why they cannot be looked at; where one is set."""
    settings, _ = load_settings()
    if not settings.backup_folder:
        return []
    folder = with_home(settings.backup_folder)
    try:
        return [(folder, generations(workspace, folder), "")]
    except OSError as error:
        return [(folder, [], str(error.strerror))]


def backup_into(
    workspace: Workspace,
    folder: Path,
    *,
    keep: int = 0,
    incremental: bool = False,
    full_every: int = FULL_EVERY,
    models: bool = True,
    passphrase: str = "",
    progress: Progress | None = None,
) -> Made:
    """Make one more backup in a folder; then of the earlier ones the newest ``keep`` stay, and what they need. 0 keeps all.

    An ``incremental`` one takes over what an earlier one has, but each ``full_every``-th needs no other (0: none does), so that
    a byte that rots does not spoil all that come after it. Where there is no space for such a one, it is incremental, too.

    Raises:
        InputRefusedError, LlmopsError: as :func:`~llmops_tui.maintenance.backup.backup`; the earlier ones are as they were.
    """
    folder = with_home(folder).resolve()
    if not folder.is_dir():
        raise InputRefusedError("no_such_folder", f"{folder} is not a folder", "Create it, or give another folder.")
    end = ".tar.enc" if passphrase else ".tar"
    before = generations(workspace, folder)
    # In UTC: an hour that comes twice in a year must not come before itself.
    target = folder / f"{_stem(workspace)}-{time.strftime(_STAMP, time.gmtime())}{end}"
    if target.exists():
        raise InputRefusedError(
            "backup_exists", f"{target} already exists: a backup was made in the same second", "Try again."
        )
    base: tuple[Path, Manifest] | None = None
    notes: list[str] = []
    if incremental:
        base, notes = _base(before, end, passphrase)
    full = base is not None and 0 < full_every <= base[1].increments + 1
    try:
        earlier = base[0] if base is not None and not full else None
        manifest = backup(workspace, target, models=models, passphrase=passphrase, earlier=earlier, progress=progress)
    except LlmopsError as error:
        if base is None or not full or error.code != "disk_full":
            raise
        notes.append("there is no space for a full backup; each run tries again until there is")
        manifest = backup(workspace, target, models=models, passphrase=passphrase, earlier=base[0], progress=progress)
    removed: list[Path] = []
    if keep:
        try:
            removed = _thin(workspace, folder, target, keep, passphrase)
        except (InputRefusedError, OSError) as error:
            # The backup is made; what may be needed by one that cannot be read is not taken away.
            notes.append(f"no earlier backup was deleted: {error}")
    return Made(target, replace(manifest, notes=[*manifest.notes, *notes]), removed)


def _base(before: list[Path], end: str, passphrase: str) -> tuple[tuple[Path, Manifest] | None, list[str]]:
    """The newest earlier backup that can be read, with its manifest, and what is to be told of those that cannot."""
    notes: list[str] = []
    for path in before:
        if path.name.endswith(end):
            try:
                return (path, read_manifest(path, passphrase)), notes
            except InputRefusedError as error:
                notes.append(f"{error}; it is not used")
    return None, notes


def _thin(workspace: Workspace, folder: Path, made: Path, keep: int, passphrase: str) -> list[Path]:
    """Take away what is older than the newest ones, where it is surely of this workspace and none that stays needs it.

    Raises:
        InputRefusedError: one that stays cannot be read, so nobody knows what it needs.
    """
    earlier = [path for path in generations(workspace, folder) if path != made]
    staying = [made, *earlier[: keep - 1]]
    needed = {name for path in staying for name in read_manifest(path, passphrase).elsewhere.values()}
    removed = []
    for path in earlier[keep - 1 :]:
        # What cannot be read may be all that is left of something.
        with contextlib.suppress(InputRefusedError, OSError):
            if path.name not in needed and not path.is_symlink() and _is_of(workspace, path, passphrase):
                path.unlink()
                removed.append(path)
    return removed


def _is_of(workspace: Workspace, path: Path, passphrase: str) -> bool:
    return read_manifest(path, passphrase).id == read_marker(workspace).id


def is_due(workspace: Workspace, settings: Settings, now: float) -> bool:
    """Whether the settings ask for a backup now: none was made for so many hours.

    Raises:
        InputRefusedError: ``no_such_folder``: the folder that is set is not there, such as a disk that is not mounted.
    """
    if not settings.backup_folder:
        return False
    folder = with_home(settings.backup_folder)
    if not folder.is_dir():
        raise InputRefusedError(
            "no_such_folder",
            f"no backup can be made: {folder} is not a folder",
            "Mount or create it, or change the setting backup_folder.",
        )
    ages = [now - path.stat().st_mtime for path in generations(workspace, folder)]
    # One of a clock that was ahead says nothing of now.
    return not any(0 <= age < settings.backup_hours * 3600 for age in ages)


def backup_as_set(workspace: Workspace, progress: Progress | None = None) -> Made:
    """Make the backup that the settings describe, as they are now.

    Raises:
        InputRefusedError: ``settings_unclear``: what they say of backups cannot be read, so that one might go where, or as,
            nobody wants it; or as :func:`backup_into` and :func:`read_passphrase`.
    """
    settings, problems = load_settings()
    unclear = [problem for problem in problems if "backup" in problem]
    if unclear or not settings.backup_folder:
        why = "; ".join(unclear or problems) or "backup_folder is not set"
        raise InputRefusedError("settings_unclear", f"no backup is made: settings: {why}", "Fix the settings.")
    file = settings.backup_passphrase_file
    return backup_into(
        workspace,
        Path(settings.backup_folder),
        keep=settings.backup_keep,
        incremental=True,
        full_every=settings.backup_full_every,
        passphrase=read_passphrase(with_home(file)) if file else "",
        progress=progress,
    )


def read_passphrase(path: Path) -> str:
    """The first line of a file that only its owner can read.

    Raises:
        InputRefusedError: ``passphrase_unreadable``, ``passphrase_open`` or ``passphrase_short``.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError(
            "passphrase_unreadable", f"cannot read {path}: {error}", "Give another file."
        ) from error
    if mode & 0o077:
        raise InputRefusedError("passphrase_open", f"other users can read {path}", f"chmod 600 {path}")
    if not lines or len(lines[0]) < SHORTEST:
        raise InputRefusedError(
            "passphrase_short", f"the passphrase in {path} has less than {SHORTEST} characters", "Use a few words."
        )
    return lines[0]


def _stem(workspace: Workspace) -> str:
    name = _UNFIT.sub("-", workspace.name).strip("-.") or "workspace"
    return f"{name}-{read_marker(workspace).id.rpartition('_')[2][:8]}"
