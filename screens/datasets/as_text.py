"""What is shown of a dataset as texts that are copied: the record, the reference, the command."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_tui.datasets.records import Row
    from llmops_tui.datasets.version import DatasetVersion


def copied(version: DatasetVersion | None, row: Row | None) -> list[tuple[str, str]]:
    """The record, the reference and the hash, by what they are called."""
    if version is None:
        return []
    record = [("record", json.dumps(row, ensure_ascii=False))] if row is not None else []
    return [*record, ("reference", version.ref), ("SHA-256", version.sha256)]


def command_of(version: DatasetVersion | None, shown: str) -> str:
    """The command that shows the rows that the filter ``shown`` leaves."""
    if version is None:
        return "llmops data list"
    if shown.startswith("="):
        return shlex.join(["llmops", "data", "filter", version.ref, "--where", shown[1:].strip()])
    return shlex.join(["llmops", "data", "show", version.ref])
