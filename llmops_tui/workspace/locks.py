"""Locks between processes: files that are locked as long as their descriptor is open, whatever ends the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_POLL_SECONDS = 0.05


def try_lock(path: Path) -> int | None:
    """Take a lock; returns the descriptor that holds it until it is closed, or none where somebody else does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


@contextlib.contextmanager
def locked(path: Path, seconds: float = 0.0) -> Iterator[bool]:
    """Hold a lock, waited for at most so long; false where it could not be had."""
    deadline = time.monotonic() + seconds
    while (descriptor := try_lock(path)) is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)
