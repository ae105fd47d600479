"""Files of a node by their hashes: what was shipped once is not shipped again, and a run's folder is made of links to them."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.files import make_private_folder, sha256_file, sync_file

_UNUSED_SECONDS = 30 * 86_400
_HEX = frozenset("0123456789abcdef")


class Blobs:
    """A folder of files that are called by their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = make_private_folder(folder)
        self._coming = make_private_folder(folder / "coming")

    def missing(self, sizes: Mapping[str, int]) -> list[str]:
        """Which files are not here as they were shipped, by hash; what is not whole any more is removed."""
        found = []
        for digest, size in sizes.items():
            path = self._path(digest)
            with contextlib.suppress(OSError):
                if path.stat().st_size == size and sha256_file(path) == digest:
                    os.utime(path)
                    continue
                path.unlink()
            found.append(digest)
        return found

    def take(self, sender: str, digest: str, offset: int, data: bytes) -> None:
        """Write a piece of a file that is being shipped; the same piece once more changes nothing."""
        path = self._coming / f"{_safe(sender)}-{self._path(digest).name}"
        with path.open("r+b" if path.exists() and offset else "wb") as file:
            path.chmod(0o600)
            file.seek(offset)
            file.write(data)

    def keep(self, sender: str, digest: str) -> bool:
        """Keep a file of which all pieces are here; false where it is not what its hash says."""
        path = self._coming / f"{_safe(sender)}-{self._path(digest).name}"
        if not path.exists():
            # Asked once more.
            return self._path(digest).exists()
        if sha256_file(path) != digest:
            path.unlink()
            return False
        sync_file(path)
        path.replace(self._path(digest))
        return True

    def lay(self, target: Path, files: Mapping[str, str]) -> None:
        """Make a folder of files by name, each with its hash."""
        for name, digest in files.items():
            place = place_within(target, name)
            place.unlink(missing_ok=True)
            try:
                os.link(self._path(digest), place)
            except OSError:
                # Another disk, or one without links.
                shutil.copyfile(self._path(digest), place)

    def forget_unused(self, now: float | None = None) -> None:
        """Remove what no run has used for thirty days, and pieces that nobody sends any more."""
        before = (time.time() if now is None else now) - _UNUSED_SECONDS
        for path in (*self._folder.iterdir(), *self._coming.iterdir()):
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_mtime < before:
                    path.unlink()

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not _HEX.issuperset(digest):
            raise InputRefusedError("bad_hash", f"{digest[:80]!r} is no SHA-256")
        return self._folder / digest


def within(folder: Path, name: str) -> Path:
    """A file of a folder by its relative name.

    Raises:
        InputRefusedError: ``outside``: the name leads out of the folder.
    """
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not path.resolve().is_relative_to(folder.resolve()):
        raise InputRefusedError("outside", f"{name[:200]!r} is no file of the run's folder")
    return path


def place_within(folder: Path, name: str) -> Path:
    """Where a file of a folder is to be written, with the folders between made; the folder itself has to be there."""
    path = within(folder, name)
    for parent in list(reversed(Path(name).parents))[1:]:
        (folder / parent).mkdir(mode=0o700, exist_ok=True)
    return path


def _safe(name: str) -> str:
    return "".join(sign for sign in name if sign.isalnum() or sign in "-_")[:80]
