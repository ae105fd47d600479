"""What was made of what: one table of edges from inputs, through a recipe, to an output, all by content hash."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def record_edges(
    book: duckdb.DuckDBPyConnection, *, output: str, kind: str, recipe: str, inputs: Iterable[str]
) -> None:
    """Record that ``output`` was made by ``recipe`` from ``inputs``; recording the same again changes nothing."""
    for source in inputs:
        book.execute(
            "INSERT OR IGNORE INTO lineage (output, kind, recipe, input, made_at) VALUES (?, ?, ?, ?, ?)",
            [output, kind, recipe, source, time.time()],
        )


def ancestors(book: duckdb.DuckDBPyConnection, output: str) -> list[tuple[str, str, str]]:
    """All edges that lead to ``output``, as (output, kind, input), nearest first."""
    rows = book.execute(
        """WITH RECURSIVE up(output, kind, input, depth) AS (
               SELECT output, kind, input, 1 FROM lineage WHERE output = ?
               UNION SELECT l.output, l.kind, l.input, up.depth + 1
               FROM lineage l JOIN up ON l.output = up.input WHERE up.depth < 100)
           SELECT output, kind, input FROM up GROUP BY ALL ORDER BY min(depth), output, input""",
        [output],
    ).fetchall()
    return [(str(a), str(b), str(c)) for a, b, c in rows]
