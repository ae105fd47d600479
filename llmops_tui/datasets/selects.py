"""What a SELECT gives, written as the rows of a version, with types that follow from the values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.datasets.parts import COPY_OPTIONS, SQL_TYPES, sync_file, write_failed
from llmops_tui.datasets.records import ROW, Column, Type
from llmops_tui.workspace.sandbox import quote_name, quote_text

if TYPE_CHECKING:
    import duckdb


def write_select(
    connection: duckdb.DuckDBPyConnection, select: str, path: Path, columns: list[Column] | None
) -> list[Column]:
    """Write what a SELECT gives, in its order, as one file; returns its columns, without those that are empty.

    ``columns`` are given where the SELECT passes stored columns on; else their types are DuckDB's, as near as ours come.
    """
    import duckdb

    if columns is None:
        described = [r for r in connection.execute(f"DESCRIBE {select}").fetchall() if r[0] != ROW]
        columns = [Column(str(r[0]), _type_of(str(r[1]))) for r in described]
        exprs = [_stored(c, str(r[1])) for c, r in zip(columns, described, strict=True)]
    else:
        exprs = [quote_name(c.name) for c in columns]
    made = _told_by_values(connection, select, columns, exprs)
    projection = ", ".join([f"row_number() OVER () - 1 AS {ROW}", *(f"{e} AS {quote_name(c.name)}" for c, e in made)])
    try:
        connection.execute(f"COPY (SELECT {projection} FROM ({select})) TO {quote_text(str(path))} {COPY_OPTIONS}")
    except duckdb.IOException as error:
        raise write_failed(path, error) from error
    sync_file(path)
    return [column for column, _ in made]


# Columns of JSON that hold values of one plain type alone: what is true of all values then, and how they become it.
_PLAIN: tuple[tuple[Type, str, str], ...] = (
    ("text", "left({0}, 1) = '\"' AND NOT contains({0}, '\\u0000')", "json_extract_string({0}, '$')"),
    ("boolean", "{0} IN ('true', 'false')", "CAST({0} AS BOOLEAN)"),
    ("integer", r"regexp_full_match({0}, '-?[0-9]{{1,18}}')", "CAST({0} AS BIGINT)"),
    ("number", r"regexp_full_match({0}, '-?[0-9]{{1,15}}([.][0-9]+)?([eE][-+]?[0-9]+)?')", "CAST({0} AS DOUBLE)"),
)


def _told_by_values(
    connection: duckdb.DuckDBPyConnection, select: str, columns: list[Column], exprs: list[str]
) -> list[tuple[Column, str]]:
    """The columns that have values, each with its type and the SQL that gives it.

    The type follows from the values, so that the same rows are the same version however they were chosen.
    """
    if not columns:
        return []
    asked = [f"count({quote_name(c.name)})" for c in columns]
    for column, expr in zip(columns, exprs, strict=True):
        if column.type == "json":
            asked += [f"bool_and({condition.format(expr)})" for _, condition, _ in _PLAIN]
    found = connection.execute(f"SELECT {', '.join(asked)} FROM ({select})").fetchone()
    assert found is not None
    told = iter(found[len(columns) :])
    made = []
    for column, expr, count in zip(columns, exprs, found[: len(columns)], strict=True):
        plain = [next(told) for _ in _PLAIN] if column.type == "json" else []
        if not count:
            continue
        kind, _, cast = next((p for p, holds in zip(_PLAIN, plain, strict=False) if holds), (column.type, "", "{0}"))
        made.append((Column(column.name, kind), cast.format(expr)))
    return made


def _type_of(described: str) -> Type:
    if described in {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}:
        return "integer"
    if described in {"FLOAT", "DOUBLE"} or described.startswith(("DECIMAL", "HUGEINT", "UBIGINT", "UHUGEINT")):
        return "number"
    if described == "BOOLEAN":
        return "boolean"
    nested = described == "JSON" or described.endswith("]") or described.startswith(("STRUCT", "MAP", "UNION"))
    return "json" if nested else "text"


def _stored(column: Column, described: str) -> str:
    name = quote_name(column.name)
    if column.type == "json" and described != "JSON":
        return f"CAST(to_json({name}) AS VARCHAR)"
    return f"CAST({name} AS {SQL_TYPES[column.type]})"
