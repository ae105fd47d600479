"""The staging folder of a backup next to its target, and the leftovers of killed backups."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from llmops_tui.workspace.locks import try_lock

_PREFIX = ".llmops-backup-"
# Says that the folder is ours: it has the process's number, and is locked as long as that is at work.
_OURS = "made-by-llmops"
_OLD_SECONDS = 3600.0


@contextlib.contextmanager
def made_beside(target: Path) -> Iterator[Path]:
    """A folder beside a backup's target that goes at the end; others know by its lock that it is in use."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=target.parent))
    descriptor = None
    # Some disks of other machines know no locks; what cannot be locked is never cleared away either.
    with contextlib.suppress(OSError):
        descriptor = try_lock(folder / _OURS)
    try:
        # After the lock: whoever reads a number finds it locked.
        (folder / _OURS).write_text(str(os.getpid()))
        yield folder
    finally:
        _empty(folder)
        # Before the folder goes: some file systems keep the name of an open file.
        if descriptor is not None:
            os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def clear_leftovers(target: Path) -> None:
    """Take away what backups that were killed left beside the target.

    A process's number says little of one in another container or on another machine, and a lock does not reach everywhere:
    it takes both, no lock, and no such process or an hour without a write.
    """
    for path in target.parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_ours(path) and (_ended(path / _OURS) or _age(path) > _OLD_SECONDS) and _is_free(path / _OURS):
                _empty(path)
                shutil.rmtree(path, ignore_errors=True)


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
    return not path.is_symlink() and not mark.is_symlink() and mark.is_file()


def _ended(mark: Path) -> bool:
    """Whether the process that wrote it is surely not one of this machine's; false where none is named yet."""
    text = mark.read_text(errors="replace").strip()
    return text.isdecimal() and not Path(f"/proc/{int(text)}").exists()


def _age(folder: Path) -> float:
    return time.time() - max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))


def _is_free(mark: Path) -> bool:
    descriptor = try_lock(mark)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None
