"""The user's own SQL over the workspace: SELECT only, on a copy, in a connection that can reach nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.catalogue import Catalogue, connect_memory


def run_query(catalogue: Catalogue, text: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]], bool]:
    """Run one SELECT; returns column names, at most ``limit`` rows, and whether there were more.

    The query works on a copy of the book, so that however long it takes it locks nobody out.

    Raises:
        InputRefusedError: it is not one SELECT, or DuckDB refuses it.
    """
    import duckdb

    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise _refused(str(error)) from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise _refused("only one SELECT statement is allowed")
    with tempfile.TemporaryDirectory(dir=catalogue.workspace.root, prefix=".query-") as folder:
        copy = Path(folder) / "book.duckdb"
        catalogue.snapshot(copy)
        connection = connect_memory()
        try:
            path = str(copy).replace("'", "''")
            connection.execute(f"ATTACH '{path}' AS book (READ_ONLY)")
            connection.execute("USE book")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            cursor = connection.execute(text)
            names = [column[0] for column in cursor.description or ()]
            rows = cursor.fetchmany(limit + 1)
        except duckdb.Error as error:
            raise _refused(str(error)) from error
        finally:
            connection.close()
    return names, rows[:limit], len(rows) > limit


def _refused(reason: str) -> InputRefusedError:
    first = " ".join(reason.split())[:400]
    return InputRefusedError(
        "query_refused", f"the query was refused: {first}", "Tables: SELECT * FROM duckdb_tables()."
    )
