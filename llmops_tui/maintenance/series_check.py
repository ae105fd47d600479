"""Verification of a series of backups: which are intact, which is the first damaged one, and which need it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.maintenance.archive import members, read_manifest
from llmops_tui.maintenance.records import LookedRecord

_NAME = re.compile(r".+-\d{8}-\d{6}\.tar(\.enc)?")
_NAMED = 3


@dataclass(frozen=True)
class BackupState:
    """One backup as it was read: how many files it stands for, and what is wrong with them; nothing where it is whole."""

    path: Path
    files: int
    trouble: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether all of it can be restored."""
        return not self.trouble

    def as_dict(self) -> LookedRecord:
        """For JSON."""
        return {"file": str(self.path), "files": self.files, "whole": self.whole, "trouble": list(self.trouble)}


def verify_series(
    folder: Path, passphrase: str = "", progress: Callable[[float], None] | None = None
) -> list[BackupState]:
    """Read every byte of the backups in a folder, whichever workspace they are of, and hold it against their manifests.

    The oldest first. One that needs what an earlier one does not have whole any more is not whole either.

    Raises:
        InputRefusedError: ``no_backups``: there are none; ``passphrase_needed``.
    """
    paths = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.is_dir() else []
    if not paths:
        raise InputRefusedError(
            "no_backups", f"there is no series of backups in {folder}", "Give the folder of the backups."
        )
    # The hashes of what each has itself, as far as it could be read.
    read: dict[str, dict[str, str]] = {}
    found = []
    for number, path in enumerate(paths):
        found.append(_inspect(path, passphrase, read))
        if progress is not None:
            progress((number + 1) / len(paths))
    return found


def _inspect(path: Path, passphrase: str, read: dict[str, dict[str, str]]) -> BackupState:
    own = read.setdefault(path.name, {})
    try:
        manifest = read_manifest(path, passphrase)
    except InputRefusedError as error:
        if error.code == "passphrase_needed":
            raise
        return BackupState(path, 0, (error.message,))
    trouble = []
    try:
        for name, _, digest in members(path, manifest, passphrase=passphrase, own=True):
            own[name] = digest
    except (InputRefusedError, OSError) as error:
        trouble.append(str(error))
    damaged = [name for name, digest in own.items() if digest != manifest.files[name][0]]
    trouble += _shortly(damaged, "is damaged")
    for place in sorted(set(manifest.elsewhere.values())):
        needed = [name for name, where in manifest.elsewhere.items() if where == place and name in manifest.files]
        there = read.get(place)
        if there is None:
            trouble.append(f"it requires {place}, which is missing")
            continue
        bad = [name for name in needed if there.get(name) != manifest.files[name][0]]
        trouble += _shortly(bad, f"of {place}, which it requires, is incomplete")
    return BackupState(path, len(manifest.files), tuple(trouble))


def _shortly(names: list[str], what: str) -> list[str]:
    more = [f"and {counted(len(names) - _NAMED, 'more file')}"] if len(names) > _NAMED else []
    return [f"{name} {what}" for name in sorted(names)[:_NAMED]] + more
