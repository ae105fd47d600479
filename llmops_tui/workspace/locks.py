"""Locks between processes: files that are locked as long as their descriptor is open, whatever ends the process.

A process may hand an open descriptor to one that it starts; the lock is free when the last of them has ended. That holds
across containers, where a pid says nothing: they see one file and not each other's processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_POLL_SECONDS = 0.05
# Whoever looks whether a lock is held has it for a moment, and longer where the machine is busy.
_LOOK_SECONDS = 2.0


def try_lock(path: Path) -> int | None:
    """Take a lock; returns the descriptor that holds it until it is closed, or none where somebody else does."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        # It was taken away or replaced in between: nobody else would find a lock on it.
        os.close(descriptor)


def wait_lock(path: Path, seconds: float = _LOOK_SECONDS) -> int | None:
    """As :func:`try_lock`, waited for at most so long; by default so long that those who only look are not in the way."""
    deadline = time.monotonic() + seconds
    while (descriptor := try_lock(path)) is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return descriptor


def is_held(path: Path) -> bool:
    """Whether any process holds a lock, wherever it runs. Writes nothing, and works where nothing can be written.

    What cannot be looked at is held: only a lock that was seen to be free says that nobody is at work. Whoever takes a
    lock that is looked at has to wait a moment (:func:`wait_lock`).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def locked(path: Path, seconds: float = 0.0) -> Iterator[bool]:
    """Hold a lock, waited for at most so long; false where it could not be had."""
    descriptor = wait_lock(path, seconds)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)
