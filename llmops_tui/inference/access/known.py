"""The access keys that this user made, in a file of the user's own.

A workspace holds what its keys may do; whoever made the workspace, or an old backup of it, could name any. So a key opens
something only where its digest stands here, too: one that was revoked does not come back with a backup.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmops_tui.user_files import known_access_keys_path
from llmops_tui.workspace.consent_file import change_own, read_own

_NONE: list[str] = []


class KnownKeys:
    """The digests in the file; read again where the file is another one."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or known_access_keys_path()
        self._seen: tuple[int, int, int] | None = None
        self._digests: frozenset[str] = frozenset()

    def __contains__(self, digest: str) -> bool:
        seen = self._state()
        if seen is None or seen != self._seen:
            self._digests, self._seen = frozenset(read_own(self._path, _parse, _NONE)), seen
        return digest in self._digests

    def change(self, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Note keys that were made, and take out those that open nothing any more.

        Raises:
            OSError: the user's own files cannot be written.
        """
        gone = set(remove)
        change_own(
            self._path, _parse, _NONE, lambda known: [*(one for one in known if one not in gone), *add], dump=_dump
        )

    def _state(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def _parse(raw: Any) -> list[str]:
    return [str(one) for one in raw]


def _dump(known: list[str]) -> str:
    import json

    return json.dumps(known, indent=0)
