"""Which files of a workspace have checksums, of what kind they are, and which are links."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from llmops_tui.workspace.layout import MARKER

CHECKSUMS_FILE = "seals.json"
# How the names of notes begin of what was written and is not checksummed yet (:mod:`.written`).
NOTE = ".wrote-"
# Live state, locks and what a process is just making; and what is beside a database while it is open.
_PASSING = ("workspace.lock", "recorder.lock", "keeping.lock", CHECKSUMS_FILE, MARKER)
_PASSING_FOLDERS = ("runs/servers",)
_PASSING_ENDS = (".lock", "-wal", "-shm", ".wal", ".tmp", ".part", ".sock")


def kind_of(name: str) -> str:
    """What kind of file a name says: ``sqlite``, ``duckdb``, ``log`` (only grows), or ``file``."""
    if name.endswith(".db"):
        return "sqlite"
    if name.endswith(".duckdb"):
        return "duckdb"
    return "log" if name.endswith((".log", ".log.1", ".log.head", ".jsonl")) or name.startswith("logs/") else "file"


def checksummed_files(root: Path) -> Iterator[str]:
    """The paths below a workspace that are checksummed: everything but what is live or on its way."""
    for folder, prefix, names in _folders(root):
        for name in names:
            passing = name in _PASSING or name.startswith(".") or name.endswith(_PASSING_ENDS)
            if not passing and _is_regular(folder / name):
                yield prefix + name


def notes_in(root: Path) -> list[Path]:
    """The notes beside files that are checksummed, or in their folders."""
    return [
        folder / name
        for folder, _prefix, names in _folders(root)
        for name in names
        if name.startswith(NOTE) and _is_regular(folder / name)
    ]


def _folders(root: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Each folder that has checksummed files, how their paths begin, and the names of what is in it but folders."""
    for folder, folders, names in os.walk(root, followlinks=True):
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else below + "/"
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith(".")
            and prefix + f not in _PASSING_FOLDERS
            # A folder of the workspace may be on another disk; what is linked inside of it is not the workspace's.
            and (not prefix or not (Path(folder) / f).is_symlink())
        )
        yield Path(folder), prefix, sorted(names)


def _is_regular(path: Path) -> bool:
    """Whether it is a file, and no link, pipe or device."""
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def links_in(root: Path) -> list[str]:
    """The paths below a workspace that are links, and so no files of its own: other programs' files, or broken ones."""
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else below + "/"
        linked = [n for n in (*folders, *names) if (Path(folder) / n).is_symlink()]
        found += [prefix + n for n in linked if prefix or not (Path(folder) / n).is_dir()]
        folders[:] = [f for f in folders if not prefix or f not in linked]
    return sorted(found)
