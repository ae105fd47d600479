"""Banners left for the next screen or command: files that are shown until they are dismissed, which deletes them."""

from __future__ import annotations

import time
from pathlib import Path

from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace


def write_notice(workspace: Workspace, text: str) -> None:
    """Leave a banner for the next screen or command to show, until it is dismissed."""
    write_atomic(workspace.logs / f"notice-{time.time_ns()}.txt", text)


def read_notices(workspace: Workspace) -> list[tuple[Path, str]]:
    """The banners that were not dismissed yet, oldest first; dismissing one is deleting its file."""
    return [(p, p.read_text(encoding="utf-8")) for p in sorted(workspace.logs.glob("notice-*.txt"))]
