"""Notes on files that are written but have no checksum yet: the hash of the content to come, recorded before the write.

If a writer is killed before the checksum is recorded, the file matches either its old checksum or a note. The next process
that records checksums accepts only these two, so later edits by others are never taken for our own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from llmops_tui.workspace.checksum_scope import NOTE, notes_in
from llmops_tui.workspace.files import sha256_file, sha256_text, sync_folder, write_atomic
from llmops_tui.workspace.locks import is_held, wait_lock

_GONE = "gone"
_ALL = f"{NOTE}all"
# Of a file's name, and of what is in it.
_NAME_DIGITS, _DIGITS = 16, 32
_noted = threading.Event()


def write_noted(path: Path, data: str | bytes) -> None:
    """As :func:`.write_atomic`, for a file of a workspace that is written again under its name.

    Raises:
        OSError: as there; also where the note cannot be made, and nothing is written.
    """
    raw = data.encode("utf-8") if isinstance(data, str) else data
    with _note(path, hashlib.sha256(raw).hexdigest()):
        write_atomic(path, raw)


@contextlib.contextmanager
def taking_away(path: Path) -> Iterator[None]:
    """Take a file away, or its name, within the block.

    Raises:
        OSError: it cannot be noted.
    """
    with _note(path, _GONE):
        yield


def remove_noted(path: Path) -> None:
    """Delete a file of a workspace, where it is there.

    Raises:
        OSError: it cannot be noted, or not be deleted.
    """
    if os.path.lexists(path):
        with taking_away(path):
            path.unlink(missing_ok=True)


def note_there(path: Path, sha256: str) -> None:
    """Note a file that lies there and was just found to have this hash.

    Raises:
        OSError: it cannot be noted.
    """
    with _note(path, sha256):
        pass


def note_all(folder: Path) -> None:
    """Note that all in a folder is as those left it who worked there, and who now let go of it.

    Raises:
        OSError: it cannot be noted.
    """
    note = folder / _ALL
    # A new one each time: somebody may just be settling the one before.
    note.unlink(missing_ok=True)
    os.close(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    _noted.set()


def noted_something() -> bool:
    """Whether this process noted any."""
    return _noted.is_set()


def is_as_noted(path: Path) -> bool:
    """Whether a file is what a note says it is to be, or gone where it was to go; not where it cannot be read.

    Reads the file where there is a note.
    """
    meant = _meant(path)
    if not meant:
        return False
    if not os.path.lexists(path):
        return _GONE in meant
    with contextlib.suppress(OSError):
        return sha256_file(path)[:_DIGITS] in meant
    return False


def is_noted(path: Path) -> bool:
    """Whether there is any note of a file; reads nothing of it."""
    return bool(_meant(path))


def drop_notes(path: Path) -> None:
    """Remove the notes of a file that is about to be deleted, except one of a writer that is at work."""
    for note in path.parent.glob(_start(path.name) + "*"):
        with contextlib.suppress(OSError):
            if not is_held(note):
                note.unlink()


def all_noted(folder: Path) -> bool:
    """Whether all in a folder is noted (:func:`note_all`)."""
    return (folder / _ALL).is_file()


class Notes:
    """The notes below a folder as they are before somebody checksums, to be settled after."""

    def __init__(self, root: Path) -> None:
        self._found: dict[Path, int] = {}
        for path in notes_in(root):
            with contextlib.suppress(OSError):
                self._found[path] = path.lstat().st_ino

    def settle(self, kept: set[Path]) -> None:
        """Remove the notes that were found, except those of files without a checksum yet and of files still being written."""
        unsealed = {path.with_name(_start(path.name)) for path in kept}
        for note, inode in self._found.items():
            start = note.with_name(note.name[: len(NOTE) + _NAME_DIGITS + 1])
            busy = note.parent in kept if note.name == _ALL else start in unsealed or is_held(note)
            with contextlib.suppress(OSError):
                if not busy and note.lstat().st_ino == inode:
                    note.unlink()


@contextlib.contextmanager
def _note(path: Path, digest: str) -> Iterator[None]:
    """Make a note and hold it while the block runs: nobody takes it for one whose writer ended."""
    note = path.with_name(_start(path.name) + digest[:_DIGITS])
    # Where somebody else just writes the same, theirs stands for both.
    lock = wait_lock(note)
    _noted.set()
    try:
        try:
            sync_folder(note.parent)
        except OSError as error:
            # A full disk does not say of which file.
            error.filename = error.filename or str(path)
            raise
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _start(name: str) -> str:
    """How the notes of a file begin; its own name may be as long as names can be."""
    return f"{NOTE}{sha256_text(name)[:_NAME_DIGITS]}-"


def _meant(path: Path) -> set[str]:
    start = _start(path.name)
    with contextlib.suppress(OSError):
        return {each.name.removeprefix(start) for each in path.parent.glob(start + "*")}
    return set()
