"""Atomic, private file writes, and file hashes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TextIO

from llmops_tui.regular_files import open_regular, refuse_irregular

_CHUNK = 4 * 1024 * 1024
_HASHED = 512 * 1024


def make_private_folder(path: Path) -> Path:
    """Make ``path`` and its parents where missing; ``path`` itself is readable by its owner alone."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def make_folder_within(path: Path) -> Path:
    """Make a private folder in one that is there: a workspace that was moved away is not begun again in its old place.

    Raises:
        FileNotFoundError: the folder that it would be in is not there.
    """
    path.mkdir(exist_ok=True, mode=0o700)
    return path


def write_atomic(path: Path, data: bytes | str, mode: int = 0o600) -> None:
    """Write ``data`` so that a reader, or a crash, sees either the old file or the whole new one.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            # A write does not know what it writes to, and whoever reads the message would like to.
            error.filename = str(path)
        raise
    sync_folder(path.parent)


def identity_of(path: Path) -> tuple[int, int] | None:
    """What tells one file from another that has its name later; none where there is no file."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def append_bytes(path: Path) -> BinaryIO:
    """Open a log for appending, private to its owner; never through a link, which may lead to another's file.

    Raises:
        OSError: it is a link, or cannot be written.
    """
    # A pipe that nobody reads is refused, and not waited for.
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, how, 0o600)
    refuse_irregular(descriptor, path)
    return os.fdopen(descriptor, "ab")


def append_text(path: Path) -> TextIO:
    """As :func:`append_bytes`, for texts."""
    return io.TextIOWrapper(append_bytes(path), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def reason(error: Exception) -> str:
    """Why something cannot be read, for a message that names the file itself."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file that somebody else wrote private and durable."""
    path.chmod(0o600)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_durable(source: Path, target: Path) -> None:
    """Copy a file under a temporary name, sync it, and rename it into place."""
    temporary = target.with_name(f".{target.name}.tmp")
    with source.open("rb") as reader, temporary.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    temporary.chmod(0o600)
    temporary.replace(target)
    sync_folder(target.parent)


def bytes_in(*paths: Path, apart: str = "") -> int:
    """What files and folders with all that is in them take, in bytes, but for folders called ``apart``.

    What somebody else moves or removes meanwhile counts as far as it was seen, and is no error.
    """
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
        for place, folders, names in os.walk(path):
            folders[:] = [name for name in folders if name != apart]
            for name in names:
                with contextlib.suppress(OSError):
                    total += (Path(place) / name).stat().st_size
    return total


def sha256_text(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_file(path: Path, progress: Callable[[float], None] | None = None) -> str:
    """SHA-256 of a file, read in chunks; ``progress`` is told the share done, from 0 to 1."""
    size = max(1, path.stat().st_size)
    digest = hashlib.sha256()
    done = 0
    # The same memory each time, which stays in the processor's cache.
    room = memoryview(bytearray(min(_HASHED, size)))
    with open_regular(path) as file:
        while count := file.readinto(room):
            digest.update(room[:count])
            done += count
            if progress is not None:
                progress(done / size)
    return digest.hexdigest()
