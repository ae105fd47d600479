"""What a workspace says of itself, in a small file beside its databases: its id, and which of them it has.

A database that is named there and is gone was lost, and is never taken for one that is yet to be made.
"""

from __future__ import annotations

import errno
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.workspace.files import make_private_folder, write_atomic
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked

FILE = "workspace.json"
_LOCK = "workspace-json.lock"
_WAIT_SECONDS = 10.0
# What losing each of them takes away, in the words of the message.
_LOST = {
    "workspace.duckdb": "the book, which names every dataset, prompt, model and run",
    "journal.db": "the journal, which has drafts, jobs and requests that the book does not have yet",
    "seals.json": "the seals, by which damage is found",
}
_REMEDY = (
    "Restore a backup (llmops restore FILE), or put the file back. Where it is gone for good, llmops init --replace-lost "
    "begins an empty one. Until then nothing is changed."
)


@dataclass(frozen=True)
class Marker:
    """The file's content: the workspace's id, empty until the book told it, when it was made, and the files it has."""

    id: str
    made_at: float
    has: tuple[str, ...] = ()


def make_workspace(workspace: Workspace) -> Workspace:
    """Make what is missing of a workspace: a new one gets its id.

    Raises:
        InputRefusedError: ``workspace_unusable``: the folder cannot be made; or as :func:`existing`.
        LlmopsError: ``disk_full``.
    """
    try:
        make_private_folder(workspace.root)
        if not _marker(workspace).exists() and not _traces(workspace):
            _write(workspace, Marker(new_id("ws"), time.time()))
    except OSError as error:
        raise _unusable(workspace, error) from error
    return existing(workspace)


def existing(workspace: Workspace) -> Workspace:
    """The workspace, where there is one; its folders are made again where one is missing, its databases never.

    Raises:
        InputRefusedError: ``no_workspace``, ``workspace_damaged`` or ``workspace_unusable``.
    """
    read_marker(workspace)
    try:
        for folder in (workspace.models, workspace.datasets, workspace.runs, workspace.logs, workspace.backups):
            make_private_folder(folder)
    except OSError as error:
        raise _unusable(workspace, error) from error
    return workspace


def read_marker(workspace: Workspace) -> Marker:
    """What the workspace says of itself; one from before there were markers is given its own.

    Raises:
        InputRefusedError: ``no_workspace``: there is none; ``workspace_damaged``: there was one.
    """
    path = _marker(workspace)
    try:
        raw = json.loads(path.read_bytes())
        return Marker(str(raw["id"]), float(raw["made_at"]), tuple(str(name) for name in raw["has"]))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputRefusedError(
            "workspace_damaged",
            f"{path} cannot be read: {error}",
            "Restore a backup (llmops restore FILE), or remove this one file: it is made again from the book.",
        ) from error
    there = _traces(workspace)
    if not there:
        raise InputRefusedError(
            "no_workspace",
            f"there is no workspace at {workspace.root}",
            "llmops init makes one; --workspace names another.",
        )
    if not _whole(workspace.book):
        raise _lost(workspace, workspace.book.name)
    adopted = Marker("", time.time(), tuple(name for name in _LOST if _whole(workspace.root / name)))
    with locked(workspace.root / _LOCK, _WAIT_SECONDS):
        if not path.exists():
            _write(workspace, adopted)
    return read_marker(workspace)


def require(workspace: Workspace, path: Path) -> bool:
    """See, before it is opened, that a file of the workspace is there if it should be; returns whether it should.

    Raises:
        InputRefusedError: ``lost``: it was there once, and is gone or empty; or as :func:`read_marker`.
    """
    expected = path.name in read_marker(workspace).has
    if expected and not _whole(path):
        raise _lost(workspace, path.name)
    return expected


def note(workspace: Workspace, path: Path) -> None:
    """Remember that the workspace has a file from now on."""
    with locked(workspace.root / _LOCK, _WAIT_SECONDS):
        marker = read_marker(workspace)
        if path.name not in marker.has:
            _write(workspace, replace(marker, has=(*marker.has, path.name)))


def claim(workspace: Workspace, own_id: str) -> None:
    """Take over the id that the book has, where the marker was made from it.

    Raises:
        InputRefusedError: ``foreign_book``: the book is another workspace's.
    """
    marker = read_marker(workspace)
    if not marker.id:
        with locked(workspace.root / _LOCK, _WAIT_SECONDS):
            _write(workspace, replace(read_marker(workspace), id=own_id))
    elif marker.id != own_id:
        raise InputRefusedError(
            "foreign_book",
            f"the book {workspace.book} is of the workspace {own_id}, and this one is {marker.id}",
            f"Put its own book back, or restore a backup. Where this book is meant, remove {_marker(workspace)}.",
        )


def replace_lost(workspace: Workspace) -> list[str]:
    """Forget that the workspace had what is gone or empty now, so that it is made anew; returns their names.

    A file that is there but empty is put aside.
    """
    with locked(workspace.root / _LOCK, _WAIT_SECONDS):
        if not _marker(workspace).exists() and _traces(workspace) and not _whole(workspace.book):
            _write(workspace, Marker(new_id("ws"), time.time(), tuple(_LOST)))
        marker = read_marker(workspace)
        lost = lost_files(workspace)
        for name in lost:
            path = workspace.root / name
            if path.exists():
                path.rename(path.with_name(f"{name}.empty-{time.strftime('%Y%m%d-%H%M%S')}"))
        _write(workspace, replace(marker, has=tuple(name for name in marker.has if name not in lost)))
    return lost


def lost_files(workspace: Workspace) -> list[str]:
    """The files that the workspace had, and that are gone or empty.

    Raises:
        InputRefusedError: as :func:`read_marker`.
    """
    return [name for name in read_marker(workspace).has if not _whole(workspace.root / name)]


def _marker(workspace: Workspace) -> Path:
    return workspace.root / FILE


def _write(workspace: Workspace, marker: Marker) -> None:
    try:
        write_atomic(_marker(workspace), json.dumps(asdict(marker)))
    except OSError as error:
        raise _unusable(workspace, error) from error


def _whole(path: Path) -> bool:
    """Whether a file is there and has anything in it."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def _traces(workspace: Workspace) -> bool:
    """Whether a folder shows that it is, or was, a workspace."""
    if any((workspace.root / name).exists() for name in _LOST):
        return True
    return any(folder.is_dir() and any(folder.iterdir()) for folder in (workspace.datasets, workspace.models))


def _lost(workspace: Workspace, name: str) -> InputRefusedError:
    path = workspace.root / name
    how = "is empty" if path.exists() else "is gone"
    return InputRefusedError("lost", f"{path} {how}: {_LOST.get(name, 'a file of the workspace')}", _REMEDY)


def _unusable(workspace: Workspace, error: OSError) -> LlmopsError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return LlmopsError("disk_full", f"no space left for {workspace.root}", "Free some space and try again.")
    return InputRefusedError(
        "workspace_unusable",
        f"cannot make the workspace {workspace.root}: {error.strerror or error}",
        "Choose another folder with --workspace DIR.",
    )
