"""Rows in use: a shared lock on the folder of a version, which keeps it from being removed as long as somebody has it.

The lock goes with the process that holds it, however that ends, and is seen from other containers. It writes nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, NotFoundError

_POLL_SECONDS = 0.05
# Whoever looks whether somebody holds a folder has it for a moment, and longer where the machine is busy.
_WAIT_SECONDS = 2.0
_COMMAND_LENGTH = 60


@contextlib.contextmanager
def held(versions: Iterable[DatasetVersion]) -> Iterator[None]:
    """Keep the rows of some versions from being removed while the block runs.

    A folder that is not there is not held: whoever reads its rows says so.

    Raises:
        InputRefusedError: ``being_removed``: somebody removes one of them.
        NotFoundError: one was just removed.
    """
    with contextlib.ExitStack() as stack:
        for version in {version.folder: version for version in versions}.values():
            descriptor = _open(version.folder)
            if descriptor is None:
                continue
            stack.callback(os.close, descriptor)
            if not _lock(descriptor, fcntl.LOCK_SH, _WAIT_SECONDS):
                raise InputRefusedError("being_removed", f"{version.ref} is being removed", "llmops data list")
            # It may have gone between the two.
            if not _is_still(descriptor, version.folder):
                raise NotFoundError("dataset version", version.ref, "It was removed.")
        yield


@contextlib.contextmanager
def alone_with(folders: Iterable[Path]) -> Iterator[tuple[str, ...]]:
    """Keep others from taking folders of versions while the block runs; gives in words who has one of them already."""
    users: list[str] = []
    with contextlib.ExitStack() as stack:
        for folder in folders:
            descriptor = _open(folder)
            if descriptor is None:
                continue
            stack.callback(os.close, descriptor)
            if not _lock(descriptor, fcntl.LOCK_EX, 0.0):
                users += _holders(descriptor)
        yield tuple(dict.fromkeys(users))


def _open(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return None


def _lock(descriptor: int, how: int, seconds: float) -> bool:
    """Whether the lock was had; a file system without locks has nobody who holds one."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        except OSError:
            return True
        else:
            return True


def _is_still(descriptor: int, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    return False


def _holders(descriptor: int) -> list[str]:
    """Who holds the lock, in words; processes of other containers have no number here."""
    found = os.fstat(descriptor)
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    pids = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines():
            # "1: FLOCK  ADVISORY  READ 4711 fe:00:12345 0 EOF"; who waits for a lock has an arrow before the kind.
            parts = line.split()
            if parts[1] == "FLOCK" and parts[5] == file and int(parts[4]) > 0:
                pids.append(int(parts[4]))
    return [_described(pid) for pid in dict.fromkeys(pids)] or ["another process reads or labels its rows"]


def _described(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        words = psutil.Process(pid).cmdline()
        command = " ".join([Path(words[0]).name, *words[1:]])[:_COMMAND_LENGTH] if words else ""
        return f"process {pid} reads or labels its rows ({command})" if command else _unnamed(pid)
    return _unnamed(pid)


def _unnamed(pid: int) -> str:
    return f"process {pid} reads or labels its rows"
