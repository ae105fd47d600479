"""Zip and tar archives: which of their files can be read, and the bytes of one. Nothing is unpacked to the disk."""

from __future__ import annotations

import functools
import io
import lzma
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from llmops_tui.errors import InputRefusedError

# An archive that holds so many times what it has bytes, and so much, was made to fill a disk.
_MOST_TIMES = 200
_MOST_BYTES = 1 << 30
_MOST_MEMBERS = 100_000
# Files of a tar that are so small are read whole.
_HELD_BYTES = 16 << 20


@dataclass(frozen=True)
class Member:
    """A file inside an archive, and its size in bytes."""

    name: str
    size: int


def is_archive(head: bytes) -> bool:
    """Whether the first bytes of a file, decompressed, are those of a zip or a tar archive."""
    return head.startswith(b"PK\x03\x04") or head[257:262] == b"ustar"


def members_of(path: Path) -> list[Member]:
    """The plain files inside an archive, by name, without those that a file manager adds.

    Raises:
        InputRefusedError: it is damaged, or its files are far too many or too large.
    """
    found = [Member(name, size) for name, (size, _) in _opened(path).files.items()]
    return sorted((m for m in found if not any(map(_hidden, m.name.split("/")))), key=lambda m: m.name)


def _hidden(part: str) -> bool:
    return part == "__MACOSX" or (part[:1] == "." and part not in {".", ".."})


def open_member(path: Path, name: str) -> io.BufferedReader:
    """The bytes of a file inside an archive.

    Reading raises:
        InputRefusedError: the archive is damaged, or needs a password.
    """
    opened = _opened(path)
    with _read(path), opened.lock:
        return io.BufferedReader(_Inside(opened.stream(name), opened))


def _opened(path: Path) -> _Archive:
    """The archive, which stays open until another one is: many files inside it are read one after another."""
    facts = path.stat()
    return _kept_open(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _kept_open(path: Path, _inode: int, size: int, _changed: int) -> _Archive:
    with _read(path):
        return _Archive(path, size)


class _Archive:
    """An open archive, whose list of files is read once and not for each of them.

    Attributes:
        files: the plain ones by name, each with its size in bytes. Of several of one name the last counts, as it does
            where they are unpacked.
        lock: held by whoever reads, since all read through one file.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.lock = threading.Lock()
        with path.open("rb") as file:
            is_zip = is_archive(file.read(4))
        self._open: Any = zipfile.ZipFile(path) if is_zip else tarfile.open(path)  # noqa: SIM115  closed at its end
        self._last: tuple[str, bytes] = "", b""
        self.files: dict[str, tuple[int, Any]] = {}
        total = 0
        # What is too much is seen while the list is read: that of a compressed tar takes unpacking all of it.
        for number, (name, bytes_of, info) in enumerate(self._listed(), 1):
            if number > _MOST_MEMBERS:
                raise _refused(path, f"it has more than {_MOST_MEMBERS:,} files")
            total += bytes_of
            if total > _MOST_BYTES and total > _MOST_TIMES * size:
                told = f"its files have at least {total:,} bytes, more than {_MOST_TIMES} times those of the archive"
                raise _refused(path, told)
            self.files[name] = bytes_of, info

    def _listed(self) -> Iterator[tuple[str, int, Any]]:
        if isinstance(self._open, zipfile.ZipFile):
            yield from ((i.filename, i.file_size, i) for i in self._open.infolist() if not i.is_dir())
        else:
            # Links, devices and pipes are no data.
            yield from ((i.name, i.size, i) for i in self._open if i.isfile())

    def stream(self, name: str) -> IO[bytes]:
        """The bytes of a file inside it."""
        size, info = self.files[name]
        if isinstance(self._open, zipfile.ZipFile):
            if info.flag_bits & 1:
                raise _refused(self.path, f"{name} needs a password", "Unpack it, and import the file.")
            return self._open.open(info)
        if size > _HELD_BYTES:
            found: IO[bytes] = self._open.extractfile(info)
            return found
        # It is opened some times in a row, and in a compressed tar the way back begins at its start.
        if self._last[0] != name:
            self._last = name, self._open.extractfile(info).read()
        return io.BytesIO(self._last[1])

    def __del__(self) -> None:
        """Close the file."""
        if hasattr(self, "_open"):
            self._open.close()


class _Inside(io.RawIOBase):
    """A member's bytes, whose damage is told as that of the archive."""

    def __init__(self, inner: IO[bytes], archive: _Archive) -> None:
        super().__init__()
        self._inner = inner
        self._archive = archive
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """How many bytes were read."""
        return self._at

    def readinto(self, into: Any) -> int:
        """Fill a buffer; 0 at the end."""
        with _read(self._archive.path), self._archive.lock:
            made = self._inner.read(len(into))
        into[: len(made)] = made
        self._at += len(made)
        return len(made)

    def close(self) -> None:
        """Close it; the archive stays open."""
        if not self.closed:
            self._inner.close()
        super().close()


# What damaged or made-up archives raise beside their own errors: names that are no UTF-8, fields cut short.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    UnicodeDecodeError,
    EOFError,
    NotImplementedError,
    KeyError,
)


@contextmanager
def _read(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise InputRefusedError(
            "file_damaged", f"{path} is damaged: {str(error)[:200] or 'it ends early'}", "Download or copy it again."
        ) from error


def _refused(path: Path, why: str, hint: str = "Import the files in it that you need.") -> InputRefusedError:
    return InputRefusedError("archive_refused", f"{path}: {why}", hint)
