"""Resumable download of one file over HTTP, with size limit and hash.

huggingface_hub's own download throws away what a killed process had (measured: all bytes are asked for again), so files are
fetched here, from the addresses it makes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.models.remote_file import CHUNK, MAGIC, CutShortError, RemoteFile, announced, answering, no_gguf, shown
from llmops_tui.regular_files import read_regular
from llmops_tui.workspace.files import write_atomic

if TYPE_CHECKING:
    import httpx

Progress = Callable[[int], None]

# Tried again after so many seconds; whenever bytes came, from the first pause on.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)


def fetch(file: RemoteFile, part: Path, progress: Progress | None = None, token: str = "") -> str:
    """Bring a file into ``part``, going on with what is there already; returns its SHA-256.

    ``progress`` is told the bytes that are there, often; what it raises ends the work and keeps them.

    Raises:
        LlmopsError: it cannot be had, is not what was announced, or the disk is full.
    """
    try:
        went_on = _prepare(file, part)
        digest = _fetch_all(file, part, progress, token)
        if file.sha256 and digest != file.sha256 and went_on:
            # What a killed process, or a lost power supply, left was not what it had written.
            _prepare(file, part, anew=True)
            digest = _fetch_all(file, part, progress, token)
        if file.sha256 and digest != file.sha256:
            what = (
                f"{shown(file.url)} has the SHA-256 {digest[:16]}… and not {file.sha256[:16]}…; the file was discarded"
            )
            raise _given_up(part, LlmopsError("hash_differs", what, "Try again, or ask its provider."))
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise disk_full(part.parent) from error
        raise LlmopsError("not_written", f"cannot write {part}: {error.strerror or error}") from error
    _state(part).unlink(missing_ok=True)
    return digest


def _prepare(file: RemoteFile, part: Path, *, anew: bool = False) -> bool:
    """Keep what is there where it is surely the beginning of this file, else begin anew; whether it goes on."""
    mine = {"sha256": file.sha256, "validator": file.validator, "size": file.size}
    state = _state(part)
    try:
        same = parse_json(read_regular(state)) == mine
    except (OSError, ValueError):
        same = False
    if same and not anew and (file.sha256 or file.validator) and 0 < _size(part) <= file.size:
        return True
    part.unlink(missing_ok=True)
    write_atomic(state, json.dumps(mine))
    return False


def _fetch_all(file: RemoteFile, path: Path, progress: Progress | None, token: str) -> str:
    """Ask for what is missing until all is there; returns the SHA-256."""
    tries = 0
    with _Part(path, progress) as part:
        furthest = part.size
        while part.size < file.size:
            try:
                with answering(file.url, token, start=part.size, validator=file.validator) as response:
                    _take(file, part, response)
                if part.size < file.size:
                    raise CutShortError("the connection ended early")
            except CutShortError as cut:
                # A server that begins anew each time brings bytes, but gets nowhere.
                tries, furthest = (0, part.size) if part.size > furthest else (tries + 1, furthest)
                if tries >= len(PAUSES):
                    hint = "The partial download is kept: the same command resumes it."
                    raise LlmopsError("not_fetched", f"{shown(file.url)}: {cut}", hint) from cut
                _wait(PAUSES[tries], part.size, progress)
        return part.finish()


def _take(file: RemoteFile, part: _Part, response: httpx.Response) -> None:
    """An answer's bytes. One that cannot be of this file takes nothing away of what was there before it."""
    before = part.size
    # All of it, whatever was asked for, or what was.
    at = 0 if response.status_code == 200 else before
    size = announced(response, at)
    if size is not None and size != file.size:
        raise _kept(part, before, _wrong_size(file, f"{size:,} bytes instead of the {file.size:,} it announced"))
    part.seek(at)
    head = b""
    for chunk in response.iter_raw():
        if at == 0 and len(head) < len(MAGIC):
            head += chunk
            if len(head) < len(MAGIC):
                continue
            if not head.startswith(MAGIC):
                raise _kept(part, before, no_gguf(file.url, head))
            chunk = head  # noqa: PLW2901  the first bytes may come in several pieces
        if part.at + len(chunk) > file.size:
            raise _kept(part, before, _wrong_size(file, f"more than the {file.size:,} bytes it announced"))
        part.take(chunk)


def _kept(part: _Part, before: int, error: LlmopsError) -> LlmopsError:
    """The error for a wrong answer, with what came before it as it was."""
    part.cut(before)
    if part.size:
        error.hint = f"{error.hint} The partial download is kept: the same command resumes it."
    return error


class _Part:
    """The beginning of a file on disk, with the hash of what is there.

    What comes again from the beginning is compared with what is there, which stays as long as it is the same: a connection
    that is cut in the meantime takes nothing away.
    """

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self.at = 0
        self.size = 0
        self._path = path
        self._progress = progress
        self._digest = hashlib.sha256()
        self._again = hashlib.sha256()
        self._same = 0

    def __enter__(self) -> Self:
        self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        try:
            while chunk := self._file.read(CHUNK):
                self._digest.update(chunk)
                self.size += len(chunk)
                self._tell(self.size)
        except BaseException:
            self._file.close()
            raise
        self._same = self.size
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()
        if not self.size:
            self._path.unlink(missing_ok=True)
            _state(self._path).unlink(missing_ok=True)

    def seek(self, at: int) -> None:
        """Take the next bytes as those from 0 on, or as those behind what is there."""
        self.at, self._same = at, self.size
        self._again = hashlib.sha256()

    def take(self, chunk: bytes) -> None:
        """The next bytes."""
        if self.at < self.size:
            self._file.seek(self.at)
            there = self._file.read(min(len(chunk), self.size - self.at))
            if chunk.startswith(there):
                self._again.update(there)
                self.at += len(there)
                chunk = chunk[len(there) :]
                self._tell(self.size)
            else:
                self.cut(self.at)
        if chunk:
            self._file.seek(self.at)
            self._file.write(chunk)
            self._digest.update(chunk)
            self.at += len(chunk)
            self.size = self.at
            self._tell(self.size)

    def cut(self, size: int) -> None:
        """Leave of what is there so many bytes, or as many as are surely what was there before this answer."""
        size = min(size, self._same)
        if size == self.at < self.size:
            self._digest = self._again.copy()
        elif size < self.size:
            self._digest = _hash_of(self._file, size)
        self._file.truncate(size)
        self.size = self._same = size

    def finish(self) -> str:
        """Make it durable; returns the SHA-256 of all of it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done)


def _hash_of(file: BinaryIO, size: int) -> hashlib._Hash:
    digest = hashlib.sha256()
    file.seek(0)
    while size and (chunk := file.read(min(CHUNK, size))):
        digest.update(chunk)
        size -= len(chunk)
    return digest


def _wrong_size(file: RemoteFile, what: str) -> LlmopsError:
    return LlmopsError("size_differs", f"{shown(file.url)} has {what}; the file was discarded", "Try again.")


def _given_up(part: Path, error: LlmopsError) -> LlmopsError:
    part.unlink(missing_ok=True)
    _state(part).unlink(missing_ok=True)
    return error


def _wait(seconds: float, done: int, progress: Progress | None) -> None:
    """A pause that a cancel ends."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if progress is not None:
            progress(done)
        time.sleep(min(0.1, left))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state(part: Path) -> Path:
    """Beside a part: of which bytes it is the beginning."""
    return part.with_name(part.name + ".json")


def disk_full(folder: Path, detail: str = "") -> LlmopsError:
    """The error for a disk that is full, or would be."""
    return LlmopsError("disk_full", f"no space left on the disk of {folder}{detail}", "Free some space and try again.")
