"""Shared handling of SQLite files: a write counter, raw reads, and full-disk errors."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from llmops_tui.regular_files import kind_of_place
from llmops_tui.workspace.files import identity_of

# Where SQLite keeps ``user_version``: four bytes, the highest first. https://www.sqlite.org/fileformat.html#user_version_number
COUNTER = slice(60, 64)
_LARGEST = 2**31
# What SQLite needs at least beside a file in WAL mode: the first piece of its shared index.
_SHARED_INDEX = 32 * 1024
# How much longer a copy of a file is used at least than making it took.
_COPY_RESTS = 10.0


# The descriptors of :func:`open_raw`, by device and inode.
_RAW: dict[tuple[int, int], int] = {}


class _Raw(io.RawIOBase):
    """Reads through a descriptor that others use too, and leaves it open."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._place = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = os.preadv(self._descriptor, [buffer], self._place)
        self._place += read
        return read


def open_raw(path: Path) -> BinaryIO:
    """The bytes of a SQLite file as they lie on the disk, from the beginning.

    Its descriptor stays open as long as the process lives, one for each file: where a process closes any descriptor of a
    file, the system drops all its locks on it, SQLite's too. Others, each the last one as it believes, would then take the
    log away from a connection of this process, which goes on to write into nothing.

    Raises:
        OSError: it is not a regular file, or cannot be read.
    """
    facts = path.stat()
    descriptor = _RAW.get((facts.st_dev, facts.st_ino))
    if descriptor is None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        facts = os.fstat(descriptor)
        # One that was opened meanwhile by another thread stays open beside this one.
        _RAW[facts.st_dev, facts.st_ino] = descriptor
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return io.BufferedReader(_Raw(descriptor))


@contextlib.contextmanager
def counted_write(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One immediate write transaction, which counts itself; rolled back on any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        number = int(connection.execute("PRAGMA user_version").fetchone()[0])
        connection.execute(f"PRAGMA user_version = {(number + 1) % _LARGEST}")
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_sqlite(path: Path, **how: Any) -> sqlite3.Connection:
    """Open a file of SQLite, or make it; what lies there and is no file is refused: a pipe would be waited for for ever.

    Raises:
        sqlite3.DatabaseError: it is no file, or cannot be opened.
    """
    kind = kind_of_place(path.resolve())
    if kind:
        raise sqlite3.DatabaseError(f"it is {kind}, not a file")
    connection: sqlite3.Connection = sqlite3.connect(path, **how)
    return connection


def copy_to_memory(path: Path) -> sqlite3.Connection:
    """What a file has that can only be read, log included, in memory: SQLite itself writes even to read such a file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for end in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(path.with_name(path.name + end), Path(folder) / f"copy{end}")
        on_disk = sqlite3.connect(Path(folder) / "copy")
        in_memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            on_disk.backup(in_memory)
        finally:
            on_disk.close()
    return in_memory


class OpenedFile:
    """What a file of SQLite is when it is opened: made before, asked later whether that is still what is there.

    A file is another one where something was put in its place. A copy in memory shows what was, and is outdated by each write;
    it is kept some time all the same, since whoever may write there may do so all the time.
    """

    def __init__(self, path: Path, *, copied: bool) -> None:
        self._path = path
        self._copied = copied
        self._began = time.monotonic()
        self._next_look = 0.0
        self._state = self._found()

    def is_open(self) -> None:
        """Note that it was opened, which made it where it was not there."""
        if self._copied:
            now = time.monotonic()
            self._next_look = now + _COPY_RESTS * (now - self._began)
        else:
            self._state = self._found()

    def is_outdated(self) -> bool:
        """Whether what was opened is no longer what is there."""
        return time.monotonic() >= self._next_look and self._found() != self._state

    def _found(self) -> object:
        if not self._copied:
            return identity_of(self._path)
        found = []
        for path in (self._path, self._path.with_name(self._path.name + "-wal")):
            with contextlib.suppress(OSError):
                facts = path.stat()
                found.append((facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size))
        return tuple(found)


def is_full(error: sqlite3.Error, path: Path) -> bool:
    """Whether a file of SQLite refused because its disk is full.

    SQLite says so itself of pages only; of the shared index beside the file it says "disk I/O error".
    """
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_IOERR"):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(path.parent).free < _SHARED_INDEX
    return bool(name == "SQLITE_FULL")
