"""Workspace folders that this user made or trusts, stored with the user's own files.

A folder is known by the workspace's id and its place on disk. A copy, a clone or an unpacked backup has neither the
same place nor is it the same folder, whatever is written in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmops_tui.user_files import known_workspaces_path
from llmops_tui.workspace.consent_file import change_own, read_own

_MOST = 1000


@dataclass(frozen=True)
class Known:
    """A folder as it was when it was made or trusted."""

    id: str
    root: str
    owner: int
    device: int
    inode: int

    def is_same(self, other: Known) -> bool:
        """Whether both are one folder: a device's number may change at a boot, and a folder may be moved, but not both."""
        return (self.id, self.owner, self.inode) == (other.id, other.owner, other.inode) and (
            self.device == other.device or self.root == other.root
        )


def of_folder(root: Path, own_id: str) -> Known:
    """A workspace's folder as it is now.

    Raises:
        OSError: it cannot be looked at.
    """
    status = root.stat()
    return Known(own_id, str(root.resolve()), status.st_uid, status.st_dev, status.st_ino)


def is_known(root: Path, own_id: str) -> bool:
    """Whether this user made this very folder, or trusted it; not where that cannot be told."""
    try:
        here = of_folder(root, own_id)
    except OSError:
        return False
    return bool(own_id) and any(here.is_same(known) for known in _read())


def may_write_in(root: Path) -> bool:
    """Whether this user may write in a folder that is there: not in another user's, unless it was trusted.

    Root could everywhere, but what it leaves there its owner could not read. Looks at nothing but the folder itself.
    """
    if not os.access(root, os.W_OK):
        return False
    status = root.stat()
    if status.st_uid == os.geteuid():
        return True
    return any(
        (known.owner, known.inode) == (status.st_uid, status.st_ino)
        and (known.device == status.st_dev or known.root == str(root.resolve()))
        for known in _read()
    )


def remember(root: Path, own_id: str) -> None:
    """Keep a folder as known.

    Raises:
        OSError: the user's own files cannot be written.
    """
    here = of_folder(root, own_id)
    _change(lambda known: [*(one for one in known if not one.is_same(here)), here][-_MOST:])


def forget(root: Path, own_id: str) -> None:
    """Take a folder from those that are known.

    Raises:
        OSError: the user's own files cannot be written.
    """
    here = of_folder(root, own_id)
    _change(lambda known: [one for one in known if not one.is_same(here)])


def state_of_known() -> tuple[int, int, int]:
    """What changes whenever another process remembers or forgets a folder."""
    try:
        status = known_workspaces_path().stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_ino, status.st_size


def others_may_write(root: Path) -> bool:
    """Whether users other than its owner may change what is in a folder; a group of the user's own is no other."""
    status = root.stat()
    return bool(status.st_mode & 0o002 or (status.st_mode & 0o020 and status.st_gid != os.getgid()))


_NONE: list[Known] = []


def _change(work: Callable[[list[Known]], list[Known]]) -> None:
    change_own(known_workspaces_path(), _parse, _NONE, lambda known: [asdict(one) for one in work(known)])


def _read() -> list[Known]:
    return read_own(known_workspaces_path(), _parse, _NONE)


def _parse(raw: Any) -> list[Known]:
    return [Known(**one) for one in raw]
