"""One file over http: asked for from where it stopped, never larger than announced, hashed as it comes.

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

from llmops_tui.errors import LlmopsError
from llmops_tui.models.remote_file import CHUNK, MAGIC, CutShortError, RemoteFile, announced, answering, no_gguf, shown
from llmops_tui.workspace.files import write_atomic

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
            what = f"{shown(file.url)} has the SHA-256 {digest[:16]}… and not {file.sha256[:16]}…; it was not kept"
            raise _given_up(part, LlmopsError("hash_differs", what, "Ask whoever offers it, or try again."))
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
        same = json.loads(state.read_text(encoding="utf-8")) == mine
    except (OSError, ValueError):
        same = False
    if same and not anew and (file.sha256 or file.validator) and 0 < _size(part) <= file.size:
        return True
    part.unlink(missing_ok=True)
    write_atomic(state, json.dumps(mine))
    return False


def _fetch_all(file: RemoteFile, part: Path, progress: Progress | None, token: str) -> str:
    """Ask for what is missing until all is there; returns the SHA-256."""
    digest = _hash_of(part, progress)
    done = furthest = _size(part)
    tries = 0
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as writer:
        while done < file.size:
            try:
                with answering(file.url, token, start=done, validator=file.validator) as response:
                    if response.status_code == 200:  # all of it, whatever was asked for
                        digest, done = hashlib.sha256(), 0
                        writer.truncate(0)
                    writer.seek(done)
                    _check_announced(file, part, announced(response, done))
                    for chunk in response.iter_raw():
                        if not done and len(chunk) >= len(MAGIC) and not chunk.startswith(MAGIC):
                            raise _given_up(part, no_gguf(file.url, chunk))
                        if done + len(chunk) > file.size:
                            raise _given_up(part, _wrong_size(file, f"more than the {file.size:,} bytes it announced"))
                        writer.write(chunk)
                        digest.update(chunk)
                        done += len(chunk)
                        if progress is not None:
                            progress(done)
                if done < file.size:
                    raise CutShortError("the connection ended early")
            except CutShortError as cut:
                # A server that begins anew each time brings bytes, but gets nowhere.
                tries, furthest = (0, done) if done > furthest else (tries + 1, furthest)
                if tries >= len(PAUSES):
                    hint = "What came is kept: the same command goes on with it."
                    raise LlmopsError("not_fetched", f"{shown(file.url)}: {cut}", hint) from cut
                _wait(PAUSES[tries], done, progress)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def _check_announced(file: RemoteFile, part: Path, size: int | None) -> None:
    if size is not None and size != file.size:
        raise _given_up(part, _wrong_size(file, f"{size:,} bytes, and not the {file.size:,} it announced"))


def _wrong_size(file: RemoteFile, what: str) -> LlmopsError:
    return LlmopsError("size_differs", f"{shown(file.url)} has {what}; it was not kept", "Try again.")


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


def _hash_of(part: Path, progress: Progress | None) -> hashlib._Hash:
    digest = hashlib.sha256()
    if part.exists():
        with part.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                if progress is not None:
                    progress(file.tell())
    return digest


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state(part: Path) -> Path:
    """Beside a part: of which bytes it is the beginning."""
    return part.with_name(part.name + ".json")


def disk_full(folder: Path, detail: str = "") -> LlmopsError:
    """The error for a disk that is full, or would be."""
    return LlmopsError("disk_full", f"no space left on the disk of {folder}{detail}", "Free some space and try again.")
