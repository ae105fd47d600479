"""Rows that are a table, or nothing that is known."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_tui.datasets.formats.base import Format
from llmops_tui.datasets.records import Row


class Tabular(Format):
    """Any columns."""

    name = "tabular"
    kind = "tabular"


def label_values(rows: Sequence[Row], name: str) -> int:
    """How many different values a column has where it looks like a label; else 0."""
    values = [row[name] for row in rows if isinstance(row.get(name), (str, int, bool))]
    different = len(set(values))
    return different if len(values) > 1 and 1 < different <= max(2, len(values) // 2) else 0
