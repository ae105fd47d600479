"""Whether SQL gives the same values each time: what is random or asks for the time does not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from llmops_tui.workspace.catalog_file import connect_memory

if TYPE_CHECKING:
    import duckdb

# Parameters of operations that hold SQL, and the SELECT that each stands in.
SQL_PARAMETERS: Final = {"where": "SELECT ({})", "expression": "SELECT ({})", "by": "SELECT ({})", "sql": "{}"}
# Written without brackets, as columns are.
_TIMES = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
_LOCAL = frozenset({"current_localtime", "current_localtimestamp"})


def changing(parameters: Mapping[str, object], columns: frozenset[str] = frozenset()) -> list[str]:
    """The functions in the SQL of an operation that give other values each time, such as ``random()``.

    A name in ``columns`` is that column, and not the time.
    """
    found: dict[str, None] = {}
    # The line break ends a comment that the text may hold.
    asked = [
        select.format(f"{text}\n")
        for name, select in SQL_PARAMETERS.items()
        if isinstance(text := parameters.get(name), str)
    ]
    if not asked:
        return []
    connection = connect_memory()
    try:
        names = _varying(connection)
        for text in asked:
            tree = connection.execute("SELECT json_serialize_sql(?)", [text]).fetchone()
            assert tree is not None
            found |= dict.fromkeys(_in(json.loads(tree[0]), names, _TIMES - columns))
    finally:
        connection.close()
    return list(found)


_varying_names: list[frozenset[str]] = []


def _varying(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The functions that DuckDB has, and that give other values each time; they are the same ones for a whole process."""
    if not _varying_names:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
        ).fetchall()
        _varying_names.append(frozenset(str(row[0]) for row in rows) | _LOCAL)
    return _varying_names[0]


def _in(node: Any, functions: frozenset[str], times: frozenset[str]) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _in(item, functions, times)
    elif isinstance(node, dict):
        if node.get("function_name") in functions:
            yield f"{node['function_name']}()"
        if node.get("class") == "COLUMN_REF":
            yield from (name for name in map(str.lower, node.get("column_names", [])) if name in times)
        if isinstance(sample := node.get("sample"), dict) and sample.get("seed", -1) in {-1, None}:
            yield "SAMPLE without a seed"
        for value in node.values():
            yield from _in(value, functions, times)
