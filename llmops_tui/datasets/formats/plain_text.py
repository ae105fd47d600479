"""Texts to learn to continue."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_tui.datasets.formats.base import Format, RowRefusedError, kind_name
from llmops_tui.datasets.formats.tabular import label_values
from llmops_tui.datasets.records import Row


class PlainText(Format):
    """``{"text": …}``."""

    name = "text"
    kind = "text"
    columns = frozenset({"text"})
    sign = "have 'text'"

    def recognises(self, row: Row) -> bool:
        """By its column."""
        return isinstance(row.get("text"), str)

    def alone(self, rows: Sequence[Row]) -> bool:
        """Not where a column of few values stands beside it: that is a label, and the rows are a table."""
        columns = dict.fromkeys(name for row in rows for name in row)
        return not any(label_values(rows, name) for name in columns if name != "text")

    def read(self, row: Row) -> Row:
        """The row, whose text has to be one."""
        if not isinstance(row.get("text"), str):
            raise RowRefusedError(f"text is {kind_name(row.get('text'))}")
        return row
