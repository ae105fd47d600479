"""A type of file for datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmops_tui.datasets.file_types import Exporter
from llmops_tui.datasets.records import Row, content_text, conversation
from llmops_tui.datasets.version import DatasetVersion


class Dialog(Exporter):
    """Conversations to read: a line a turn, and a blank line between rows."""

    suffix = ".dialog"

    def write(self, version: DatasetVersion, rows: Iterator[Row], path: Path) -> None:
        """One row after the other, so that no dataset is too large."""
        with path.open("w", encoding="utf-8") as file:
            for row in rows:
                for turn in conversation(version.kind, row):
                    file.write(f"{turn.get('role')}: {content_text(turn.get('content'))}\n")
                file.write("\n")
