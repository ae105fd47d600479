"""What was read and is not written yet: rows and tables in their order, which become one part."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llmops_tui.datasets.records import Row

if TYPE_CHECKING:
    import pyarrow as pa


class PendingRows:
    """Rows and tables that are collected for a part; ``rows`` is their number and ``size`` the bytes they came from."""

    def __init__(self) -> None:
        self.rows = 0
        self.size = 0
        self._chunks: list[list[Row] | tuple[pa.Table, Callable[[], list[Row]]]] = []

    def add_rows(self, rows: list[Row]) -> None:
        """Collect rows, which are kept as they are."""
        self.rows += len(rows)
        last = self._chunks[-1] if self._chunks else None
        if isinstance(last, list):
            last += rows
        elif rows:
            self._chunks.append(list(rows))

    def add_table(self, table: pa.Table, by_row: Callable[[], list[Row]]) -> None:
        """Collect a table; ``by_row`` gives its rows, whose values have types that the table may have unified."""
        self.rows += table.num_rows
        self._chunks.append((table, by_row))

    def take(self) -> list[Row] | pa.Table:
        """All of it, which is pending no more: a table where all are of the same columns, else rows."""
        chunks, self._chunks, self.rows, self.size = self._chunks, [], 0, 0
        tables = [chunk[0] for chunk in chunks if not isinstance(chunk, list)]
        if tables and len(tables) == len(chunks) and all(t.schema.equals(tables[0].schema) for t in tables):
            import pyarrow as pa

            return pa.concat_tables(tables)
        rows: list[Row] = []
        for chunk in chunks:
            rows += chunk if isinstance(chunk, list) else chunk[1]()
        return rows
