"""Lineage: a table of edges from inputs through a recipe to an output, by content hash."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmops_tui.workspace.bulk import insert_rows

if TYPE_CHECKING:
    import duckdb


def record_edges(
    connection: duckdb.DuckDBPyConnection, *, output: str, kind: str, recipe: str, inputs: Iterable[str]
) -> None:
    """Record that ``output`` was made by ``recipe`` from ``inputs``; recording the same again changes nothing."""
    record_many(connection, ((output, kind, recipe, source) for source in inputs))


def record_many(connection: duckdb.DuckDBPyConnection, edges: Iterable[tuple[str, str, str, str]]) -> None:
    """Record edges, each as (output, kind, recipe, input); recording the same again changes nothing."""
    now = time.time()
    columns = {"output": "VARCHAR", "kind": "VARCHAR", "recipe": "VARCHAR", "input": "VARCHAR", "made_at": "DOUBLE"}
    insert_rows(connection, "lineage", columns, ((*edge, now) for edge in edges), once=True)


def ancestors(connection: duckdb.DuckDBPyConnection, output: str) -> list[tuple[str, str, str]]:
    """All edges that lead to ``output``, as (output, kind, input), nearest first."""
    rows = connection.execute(
        """WITH RECURSIVE up(output, kind, input, depth) AS (
               SELECT output, kind, input, 1 FROM lineage WHERE output = ?
               UNION SELECT l.output, l.kind, l.input, up.depth + 1
               FROM lineage l JOIN up ON l.output = up.input WHERE up.depth < 100)
           SELECT output, kind, input FROM up GROUP BY ALL ORDER BY min(depth), output, input""",
        [output],
    ).fetchall()
    return [(str(a), str(b), str(c)) for a, b, c in rows]


def made_from(connection: duckdb.DuckDBPyConnection, output: str) -> list[tuple[str, str]]:
    """The registered models that something was made from, each as (name, kind of work); not what those were made from."""
    rows = connection.execute(
        """SELECT DISTINCT m.name, l.kind FROM lineage l JOIN models m ON m.sha256 = l.input
           WHERE l.output = ? ORDER BY ALL""",
        [output],
    ).fetchall()
    return [(str(name), str(kind)) for name, kind in rows]
