"""Notices for the next screen or command: files that are shown until dismissed."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace

# Of a longer one the beginning is told.
_LONGEST = 16_384


def write_notice(workspace: Workspace, text: str) -> None:
    """Leave a banner for the next screen or command to show, until it is dismissed."""
    write_atomic(workspace.logs / f"notice-{time.time_ns()}.txt", text)


def noted_at(path: Path) -> float | None:
    """When a notice was left, in seconds since 1970, by the name of its file; none where the name does not say it."""
    digits = path.stem.rpartition("-")[2]
    return int(digits) / 1e9 if digits.isascii() and digits.isdigit() else None


def read_notices(workspace: Workspace) -> list[tuple[Path, str]]:
    """The banners that were not dismissed yet, oldest first; dismissing one is deleting its file.

    One that cannot be read is told as that: it must not keep anybody from working.
    """
    found = []
    for path in sorted(workspace.logs.glob("notice-*.txt")):
        # Anything but a plain file is not opened: what a pipe has to say may never come.
        if path.is_file():
            with contextlib.suppress(OSError), path.open("rb") as file:
                found.append((path, file.read(_LONGEST).decode("utf-8", "replace")))
                continue
        if path.is_symlink() or path.exists():
            found.append((path, f"the notice {path.name} cannot be read: it is not a file, or not yours"))
    return found
