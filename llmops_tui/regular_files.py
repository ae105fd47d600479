"""Opening of files from other programs: anything but a regular file is refused, without waiting."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

_CHUNK = 4 * 1024 * 1024
KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket",
}  # fmt: skip


def read_regular(path: Path) -> bytes:
    """The bytes of a file; what is no file, such as a pipe that nobody writes to, is an error and not waited for.

    Raises:
        OSError: it is no regular file, or cannot be read.
    """
    with open_regular(path) as file:
        return file.read()


def matching_files(folder: Path, pattern: str) -> list[Path]:
    """The files in a folder whose paths a pattern such as ``parts/*.jsonl`` or ``**/*.txt`` names, in order.

    As in a shell, two stars within a part of a path are one; ``Path.glob`` fails over them.
    """
    parts = [part if part == "**" else re.sub(r"\*{2,}", "*", part) for part in Path(pattern).parts]
    return sorted(path for path in folder.glob(str(Path(*parts))) if path.is_file())


def read_regular_text(path: Path, errors: str = "strict") -> str:
    """As :func:`read_regular`, decoded as UTF-8.

    Raises:
        OSError, UnicodeDecodeError: it is no regular file, cannot be read, or is no UTF-8.
    """
    return read_regular(path).decode("utf-8", errors)


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading, as :func:`read_regular` does.

    A link that leads nowhere is no missing file: what it led to may lie on a disk that is not there now.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(errno.EINVAL, f"it is a link to {path.readlink()}, which is not there", str(path)) from None
        raise
    refuse_irregular(descriptor, path)
    return os.fdopen(descriptor, "rb")


def refuse_irregular(descriptor: int, path: Path) -> None:
    """Close what was opened and is no regular file, with an error that says so."""
    if not stat.S_ISREG(mode := os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is {KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file", str(path))


def open_given(path: Path, most: int) -> BinaryIO:
    """Open what a user names: a file, or a pipe, such as a shell's ``<(…)``, that somebody writes to.

    Of a pipe not much more than ``most`` bytes are read, which may never end.

    Raises:
        OSError: it cannot be read; of a pipe, nobody writes to it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if stat.S_ISFIFO(mode):
            # Without a writer it is at its end at once; with one that wrote nothing yet it is not readable.
            with contextlib.suppress(BlockingIOError):
                if not (begin := os.read(descriptor, _CHUNK)):
                    raise OSError(errno.EINVAL, "is a pipe without a writer", str(path))
                os.set_blocking(descriptor, True)
                with os.fdopen(os.dup(descriptor), "rb") as rest:
                    return io.BytesIO(begin + rest.read(most))
            os.set_blocking(descriptor, True)
        return os.fdopen(os.dup(descriptor), "rb")
    finally:
        os.close(descriptor)


def kind_of_place(path: Path) -> str:
    """What lies at a path, in words, where it is no regular file; empty where it is one or where nothing is."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return ""
    return "" if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "something else")
