"""Zip and tar archives: which of their files can be read, and the bytes of one. Nothing is unpacked to the disk."""

from __future__ import annotations

import io
import tarfile
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
    with _read(path):
        if _is_zip(path):
            with zipfile.ZipFile(path) as file:
                found = [Member(i.filename, i.file_size) for i in file.infolist() if not i.is_dir()]
        else:
            with tarfile.open(path) as tar:
                # Links, devices and pipes are no data.
                found = [Member(i.name, i.size) for i in _first(tar) if i.isfile()]
    if len(found) >= _MOST_MEMBERS:
        raise _refused(path, f"it has more than {_MOST_MEMBERS:,} files")
    total = sum(member.size for member in found)
    if total > _MOST_BYTES and total > _MOST_TIMES * path.stat().st_size:
        raise _refused(path, f"its files have {total:,} bytes, more than {_MOST_TIMES} times those of the archive")
    return sorted((m for m in found if not any(map(_hidden, m.name.split("/")))), key=lambda m: m.name)


def _hidden(part: str) -> bool:
    return part == "__MACOSX" or (part[:1] == "." and part not in {".", ".."})


def open_member(path: Path, name: str) -> IO[bytes]:
    """The bytes of a file inside an archive.

    Reading raises:
        InputRefusedError: the archive is damaged, or needs a password.
    """
    with _read(path):
        if _is_zip(path):
            archive: Any = zipfile.ZipFile(path)
            if archive.getinfo(name).flag_bits & 1:
                archive.close()
                raise _refused(path, f"{name} needs a password", "Unpack it, and import the file.")
            inner = archive.open(name)
        else:
            archive = tarfile.open(path)  # noqa: SIM115  closed with what is read from it
            inner = archive.extractfile(name)
    return io.BufferedReader(_Inside(inner, archive, path))


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return is_archive(file.read(4))


class _Inside(io.RawIOBase):
    """A member's bytes, whose damage is told as that of the archive."""

    def __init__(self, inner: IO[bytes], archive: zipfile.ZipFile | tarfile.TarFile, path: Path) -> None:
        super().__init__()
        self._inner = inner
        self._archive = archive
        self._path = path
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """How many bytes were read."""
        return self._at

    def readinto(self, into: Any) -> int:
        """Fill a buffer; 0 at the end."""
        with _read(self._path):
            made = self._inner.read(len(into))
        into[: len(made)] = made
        self._at += len(made)
        return len(made)

    def close(self) -> None:
        """Close the archive too."""
        if not self.closed:
            self._inner.close()
            self._archive.close()
        super().close()


def _first(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for number, info in enumerate(tar):
        if number >= _MOST_MEMBERS:
            return
        yield info


@contextmanager
def _read(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, KeyError) as error:
        raise InputRefusedError(
            "file_damaged", f"{path} is damaged: {str(error)[:200] or 'it ends early'}", "Download or copy it again."
        ) from error


def _refused(path: Path, why: str, hint: str = "Import the files in it that you need.") -> InputRefusedError:
    return InputRefusedError("archive_refused", f"{path}: {why}", hint)
