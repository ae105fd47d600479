"""The marker file of a workspace: its id, and which databases it has.

A database that is named there and is gone was lost, and is never taken for one that is yet to be made.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.regular_files import kind_of_place, read_regular
from llmops_tui.workspace.files import make_folder_within, make_private_folder, reason, write_atomic
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.known_folders import is_known, remember
from llmops_tui.workspace.layout import MARKER, Workspace, nearby_text
from llmops_tui.workspace.locks import locked

_LOCK = "workspace-json.lock"
_WAIT_SECONDS = 10.0
# What databases keep beside their files.
_BESIDE = (".wal", "-wal", "-shm")
# What losing each of them takes away, in the words of the message.
_LOST = {
    "workspace.duckdb": "the catalog, which names every dataset, prompt, model and run",
    "journal.db": "the event log, which has drafts, jobs and requests that the catalog does not have yet",
    "seals.json": "the checksums, by which damage is found",
}
_REMEDY = (
    "Restore a backup (llmops restore FILE), or put the file back. If it is lost for good, llmops init --replace-lost "
    "creates an empty one. Until then nothing is changed."
)
_ASK = "Ask its owner, or choose another workspace with --workspace DIR."


@dataclass(frozen=True)
class Marker:
    """The file's content: the workspace's id, empty until the catalog told it, when it was made, and the files it has."""

    id: str
    made_at: float
    has: tuple[str, ...] = ()


def make_workspace(workspace: Workspace, *, own: bool = True) -> Workspace:
    """Make what is missing of a workspace: a new one gets its id, and is known as this user's where it is ``own``.

    Raises:
        InputRefusedError: ``workspace_unusable``: the folder cannot be made; or as :func:`existing`.
        LlmopsError: ``disk_full``.
    """
    try:
        make_private_folder(workspace.root)
        if _read(workspace) is None and not _had_catalog(workspace):
            with _alone(workspace):
                # Somebody else may have made it meanwhile, and its catalog with its id.
                if _read(workspace) is None and not _had_catalog(workspace):
                    marker = Marker(new_id("ws"), time.time(), _there(workspace))
                    _write(workspace, marker)
                    if own:
                        # Without files of the user's own it is not trusted, which is told where it matters.
                        with contextlib.suppress(OSError):
                            remember(workspace.root, marker.id)
    except OSError as error:
        raise _unusable(workspace, error) from error
    return existing(workspace)


def existing(workspace: Workspace) -> Workspace:
    """The workspace, where there is one; its folders are made again where one is missing, its databases never.

    Raises:
        InputRefusedError: ``no_workspace``, ``workspace_damaged``, ``untrusted_link`` or ``workspace_unusable``.
    """
    _refuse_links(workspace, read_marker(workspace))
    if workspace.read_only:
        return workspace
    try:
        for folder in (workspace.models, workspace.datasets, workspace.runs, workspace.logs, workspace.backups):
            make_folder_within(folder)
    except OSError as error:
        raise _unusable(workspace, error) from error
    return workspace


def read_marker(workspace: Workspace) -> Marker:
    """What the workspace says of itself; one from before there were markers is given its own.

    Raises:
        InputRefusedError: ``no_workspace``: there is none; ``workspace_damaged`` or ``lost``: there was one.
    """
    found = _read(workspace)
    if found is not None:
        return found
    if (closed := _closed(workspace.root)) is not None:
        raise InputRefusedError("workspace_closed", f"{closed} cannot be read: {os.strerror(errno.EACCES)}", _ASK)
    if not _had_catalog(workspace):
        near = nearby_text(workspace)
        raise InputRefusedError(
            "no_workspace",
            f"there is no workspace at {workspace.root}",
            f"{near} llmops init makes one here." if near else "llmops init creates one; --workspace selects another.",
        )
    if not _whole(workspace.catalog):
        raise _lost(workspace, workspace.catalog.name)
    if workspace.read_only:
        return Marker("", time.time(), _there(workspace))
    with _alone(workspace):
        found = _read(workspace)
        if found is None:
            # The catalog tells the id.
            found = Marker("", time.time(), _there(workspace))
            _write(workspace, found)
    return found


def _read(workspace: Workspace) -> Marker | None:
    path = _marker(workspace)
    try:
        raw = parse_json(read_regular(path))
        return Marker(str(raw["id"]), float(raw["made_at"]), tuple(str(name) for name in raw["has"]))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        place = _closed(workspace.root) or path
        raise InputRefusedError("workspace_closed", f"{place} cannot be read: {error.strerror}", _ASK) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputRefusedError(
            "workspace_damaged",
            f"{path} cannot be read: {reason(error)}",
            "Restore a backup (llmops restore FILE), or remove this one file: it is created again from the catalog.",
        ) from error


def _closed(root: Path) -> Path | None:
    """The folder at or above a path that is there and does not let this user in; none where all do."""
    for folder in (root, *root.parents):
        with contextlib.suppress(FileNotFoundError, PermissionError, NotADirectoryError):
            if folder.is_dir():
                return None if os.access(folder, os.R_OK | os.X_OK) else folder
    return None


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
    _change(workspace, lambda marker: replace(marker, has=tuple(dict.fromkeys((*marker.has, path.name)))))


def claim(workspace: Workspace, own_id: str) -> None:
    """Take over the id that the catalog has, where the marker was made from it.

    Raises:
        InputRefusedError: ``foreign_book``: the catalog is another workspace's.
    """
    marker = read_marker(workspace)
    if not marker.id and not workspace.read_only:
        _change(workspace, lambda found: replace(found, id=found.id or own_id))
    elif marker.id and marker.id != own_id:
        raise InputRefusedError(
            "foreign_book",
            f"the catalog {workspace.catalog} belongs to the workspace {own_id}, but this workspace is {marker.id}",
            f"Put its own catalog back, or restore a backup. If this catalog is the intended one, remove {_marker(workspace)}.",
        )


def replace_lost(workspace: Workspace) -> list[str]:
    """Forget that the workspace had what is gone or empty now, so that it is made anew; returns their names.

    What is left of it, such as its log of last changes, is put aside: a new database would take it for its own.
    """
    if _read(workspace) is None and _had_catalog(workspace) and not _whole(workspace.catalog):
        with _alone(workspace):
            _write(workspace, Marker(new_id("ws"), time.time(), tuple(_LOST)))
    lost = lost_files(workspace)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for name in lost:
        for left in sorted(workspace.root.glob(f"{name}*")):
            if left.name in {name, *(name + end for end in _BESIDE)}:
                left.rename(left.with_name(f"{left.name}.lost-{stamp}"))
    _change(workspace, lambda marker: replace(marker, has=tuple(n for n in marker.has if n not in lost)))
    return lost


def _refuse_links(workspace: Workspace, marker: Marker) -> None:
    """A link of a workspace that came from elsewhere leads where its maker wants: to other files of its user.

    All that is opened by a name of ours lies directly in the workspace, or among the records of servers.
    """
    for folder in (workspace.root, workspace.runs, workspace.runs / "servers"):
        try:
            with os.scandir(folder) as entries:
                links = [entry.path for entry in entries if entry.is_symlink()]
        except (FileNotFoundError, NotADirectoryError):
            continue
        if links and not is_known(workspace.root, marker.id):
            raise InputRefusedError(
                "untrusted_link",
                f"{links[0]} is a link, and the workspace was not created on this machine, or was moved, copied or restored",
                "Remove the link, or replace it with its target. If the link is yours: remove it, run llmops trust, "
                "and put it back.",
            )


def _change(workspace: Workspace, work: Callable[[Marker], Marker]) -> None:
    read_marker(workspace)
    workspace.refuse_if_read_only()
    with _alone(workspace):
        before = read_marker(workspace)
        after = work(before)
        if after != before:
            _write(workspace, after)


@contextlib.contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    with locked(workspace.root / _LOCK, _WAIT_SECONDS) as alone:
        if not alone:
            raise LlmopsError(
                "workspace_locked",
                f"{workspace.root / _LOCK} stayed locked for {_WAIT_SECONDS:g} s",
                "Another process hangs while it changes the workspace; try again. Nothing was changed.",
            )
        yield


def lost_files(workspace: Workspace) -> list[str]:
    """The files that the workspace had, and that are gone or empty.

    Raises:
        InputRefusedError: as :func:`read_marker`.
    """
    return [name for name in read_marker(workspace).has if not _whole(workspace.root / name)]


def _marker(workspace: Workspace) -> Path:
    return workspace.root / MARKER


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


def _there(workspace: Workspace) -> tuple[str, ...]:
    return tuple(name for name in _LOST if _whole(workspace.root / name))


def _had_catalog(workspace: Workspace) -> bool:
    """Whether a folder without a marker shows that it has, or had, a catalog.

    An event log alone shows none: versions before this one made it at any command.
    """
    catalog = workspace.catalog
    if catalog.exists() or catalog.with_name(catalog.name + ".wal").exists():
        return True
    with contextlib.suppress(OSError):
        if f'"{catalog.name}"'.encode() in read_regular(workspace.root / "seals.json"):
            return True
    return any(
        not path.name.startswith(".")
        for folder in (workspace.datasets, workspace.models)
        if folder.is_dir()
        for path in folder.iterdir()
    )


def _lost(workspace: Workspace, name: str) -> InputRefusedError:
    path = workspace.root / name
    kind = kind_of_place(path)
    how = f"is {kind}, not a file" if kind else "is empty" if path.exists() else "is gone"
    return InputRefusedError("lost", f"{path} {how}: {_LOST.get(name, 'a file of the workspace')}", _REMEDY)


def _unusable(workspace: Workspace, error: OSError) -> LlmopsError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return LlmopsError("disk_full", f"no space left for {workspace.root}", "Free some space and try again.")
    return InputRefusedError(
        "workspace_unusable",
        f"cannot make the workspace {workspace.root}: {error.strerror or error}",
        "Choose another folder with --workspace DIR.",
    )
