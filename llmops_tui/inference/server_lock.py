"""The lock of a model's server while it lives, and what may not be ended for another one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.safe_text import safe_line
from llmops_tui.workspace.locks import is_held, wait_lock

if TYPE_CHECKING:
    from llmops_tui.inference.server_record import ServerHandle
    from llmops_tui.jobs.process import ProcessIdentity
    from llmops_tui.models.registry import Model

_POLL_SECONDS = 0.02
_SOCKET_SECONDS = 5.0
_ENDING_SECONDS = 10.0


def lock_of(folder: Path, model: str) -> Path:
    """The lock that a model's server holds as long as it lives."""
    return folder / f"{model}.held"


def claim(folder: Path, model: str) -> BinaryIO:
    """The right to be a model's one server: a locked file, whose lock a server inherits and holds as long as it lives.

    Raises:
        LlmopsError: ``server_lost``: one lives of which there is no record.
    """
    path = lock_of(folder, model)
    # A server that is just ending takes its record away before it ends.
    lock = wait_lock(path, _ENDING_SECONDS)
    if lock is None:
        pid = safe_line(path.read_bytes()[:20].decode("ascii", "replace").strip())
        raise LlmopsError(
            "server_lost",
            f"a server of {model!r} runs already, as process {pid}, and its record in {folder} is missing",
            f"Stop it first: kill {pid}",
        )
    file = os.fdopen(lock, "r+b", buffering=0)
    file.truncate()
    return file


def check_not_lost(folder: Path, model: str) -> None:
    """Make sure that no server of a model lives of which there is no record.

    Raises:
        LlmopsError: ``server_lost``, as :func:`claim`.
    """
    if lock_of(folder, model).exists():
        claim(folder, model).close()


def lives(folder: Path, model: str, process: ProcessIdentity) -> bool:
    """Whether a server lives, wherever it runs: it holds its lock, and from another container its process is not seen."""
    path = lock_of(folder, model)
    # One that an earlier version started has no lock.
    return is_held(path) if path.exists() else process.alive()


def reachable(handle: ServerHandle) -> bool:
    """Whether a server's socket is there; one that lost the file makes it again within a second or two."""
    deadline = time.monotonic() + _SOCKET_SECONDS
    while not Path(handle.socket).exists():
        if time.monotonic() > deadline or not handle.process.alive():
            return False
        time.sleep(_POLL_SECONDS)
    return True


def check_ours(handle: ServerHandle, model: Model) -> None:
    """Refuse to end, unasked, a server whose address others were given.

    Raises:
        InputRefusedError: ``already_served``.
    """
    if handle.private or not handle.process.alive():
        return
    why = "its socket is missing" if handle.sha256 == model.sha256 else "with the file that this name had before"
    place = handle.address or f"unix:{handle.socket}"
    raise InputRefusedError(
        "already_served",
        f"{handle.model!r} is served at {place} by process {handle.process.pid}, {why}",
        f"llmops serve {handle.model} --replace stops that server and its requests; llmops model stop {handle.model} stops it.",
    )
