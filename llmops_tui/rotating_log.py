"""Rotating logs of processes: a full file is renamed, and one older file is kept."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path
from typing import Self

MOST = 8_000_000
_LOOK_SECONDS = 1.0


def rotate(log: Path) -> Path:
    """Where the older part of a log is kept."""
    return log.with_name(log.name + ".1")


class RotatingLog:
    """Looks after descriptors 1 and 2 of this process, as far as they lead to one file; a context manager.

    Whoever started the process opened the file to append to it. Where that is no file, nothing is done.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._stopped = threading.Event()
        self._path: Path | None = None
        if stat.S_ISREG(os.fstat(2).st_mode):
            # What is inherited has no other name than in /proc; where that is not there, the log is left as it is.
            with contextlib.suppress(OSError):
                self._path = Path("/proc/self/fd/2").readlink()
        if self._path is not None:
            self._thread = threading.Thread(target=self._watch, name="small-log", daemon=True)
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the descriptors alone from now on."""
        self._stopped.set()
        if self._path is not None:
            self._thread.join()

    def inspect(self) -> bool:
        """Go on in a new file where this one is full, or was put aside by another process that writes to it."""
        if self._path is None:
            return False
        facts = os.fstat(2)
        try:
            there = self._path.stat()
            ours = (there.st_dev, there.st_ino) == (facts.st_dev, facts.st_ino)
        except FileNotFoundError:
            ours = False
        if ours and facts.st_size < self._most:
            return False
        if ours:
            self._path.replace(rotate(self._path))
        fresh = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        one = os.fstat(1)
        for descriptor in (1, 2) if (one.st_dev, one.st_ino) == (facts.st_dev, facts.st_ino) else (2,):
            os.dup2(fresh, descriptor)
        os.close(fresh)
        return True

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                self.inspect()
            except OSError:
                # The folder is gone, or the disk is full: what is printed is not worth more than the work.
                continue
