"""The staging folder of a backup next to its target, and the leftovers of killed backups."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from llmops_tui.workspace.locks import try_lock

_PREFIX = ".llmops-backup-"
# The name has the process's number from its first moment: there is none in which a folder does not say whose it is.
_NAME = re.compile(re.escape(_PREFIX) + r"(\d+)-[a-z0-9_]{8}")
# Says that what lies in the folder is ours, and is locked as long as its process is at work.
_OURS = "made-by-llmops"
_OLD_SECONDS = 3600.0


@contextlib.contextmanager
def made_beside(target: Path) -> Iterator[Path]:
    """A folder beside a backup's target that goes at the end; others know by its lock that it is in use."""
    folder, descriptor = _make(target.parent)
    try:
        yield folder
    finally:
        _empty(folder)
        # Before the folder goes: some file systems keep the name of an open file.
        if descriptor is not None:
            os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _make(parent: Path) -> tuple[Path, int | None]:
    """A new folder with its mark, and the descriptor that holds the mark's lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
        try:
            descriptor = try_lock(folder / _OURS)
        except FileNotFoundError:
            # Another backup, to which our number says nothing, cleared it away before the mark was in it.
            continue
        except OSError:
            # Some disks of other machines know no locks; what cannot be locked is never cleared away either.
            return folder, None
        # Where such a one looks at this moment whether the mark is free, it clears the folder away.
        if descriptor is not None:
            return folder, descriptor


def clear_leftovers(target: Path) -> None:
    """Take away what backups that were killed left beside the target.

    A process's number says little of one in another container or on another machine, and a lock does not reach everywhere:
    it takes both, no lock, and no such process or an hour without a write. Without a mark only an empty folder goes.
    """
    for path in target.parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.is_symlink() or not (_ended(path) or _age(path) > _OLD_SECONDS):
                continue
            if _is_ours(path) and _is_free(path / _OURS):
                _empty(path)
                shutil.rmtree(path, ignore_errors=True)
            elif _NAME.fullmatch(path.name):
                path.rmdir()


def _empty(folder: Path) -> None:
    """Take away all but the mark: who is killed meanwhile leaves a folder that the next one knows to be ours."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name == _OURS:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    mark = path / _OURS
    return not mark.is_symlink() and mark.is_file()


def _ended(folder: Path) -> bool:
    """Whether the process that made it is surely not one of this machine's; false where its name has no number."""
    found = _NAME.fullmatch(folder.name)
    return found is not None and not Path(f"/proc/{int(found[1])}").exists()


def _age(folder: Path) -> float:
    return time.time() - max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))


def _is_free(mark: Path) -> bool:
    descriptor = try_lock(mark)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None
