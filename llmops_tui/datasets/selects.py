"""What a SELECT gives, written as the rows of a version, with types that follow from the values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from llmops_tui.datasets.arrow_tables import TableFile, numbered
from llmops_tui.datasets.column_digests import RunningHash
from llmops_tui.datasets.parts import COPY_OPTIONS, SQL_TYPES, write_failed
from llmops_tui.datasets.records import REST, ROW, Column, Type
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.files import sync_file
from llmops_tui.workspace.sandbox import quote_name, quote_text

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

_BATCH_ROWS = 100_000
_BATCH_BYTES = 32 << 20


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
    _refuse_packed(connection, select, made)
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


def _refuse_packed(connection: duckdb.DuckDBPyConnection, select: str, made: list[tuple[Column, str]]) -> None:
    """Refuse a hidden column that is not what the reading of rows makes fields of."""
    expr = next((expr for column, expr in made if column.name == REST), None)
    if expr is None:
        return
    text = f"SELECT bool_and(json_type({expr}) = 'OBJECT') FROM ({select}) WHERE {expr} IS NOT NULL"
    if Column(REST, "json") not in [column for column, _ in made] or connection.execute(text).fetchone() != (True,):
        raise InputRefusedError(
            "bad_column",
            f"{REST} holds the fields of a row that have no column of their own, and here it holds something else",
            "Give the column another name.",
        )


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


def write_in_order(
    connection: duckdb.DuckDBPyConnection,
    select: str,
    path: Path,
    columns: list[Column],
    keep: npt.NDArray[np.bool_] | None = None,
    report: Callable[[int], None] = lambda _rows: None,
) -> tuple[list[Column], str | None] | None:
    """Write what a SELECT of row numbers and stored columns gives, as :func:`write_select` does, in one pass.

    None of the columns is JSON, whose type would follow from the values. ``keep`` says by number which rows stay, and
    ``report`` is told how many were written. Returns the columns and the content hash; nothing where the rows do not come
    in their order, or there are none.
    """
    import pyarrow as pa

    hashed = RunningHash()
    try:
        stored = _stream(connection, select, path, columns, keep, hashed, report)
    except (OSError, pa.ArrowException) as error:
        raise _as_of_duckdb(error) from error
    if not stored:
        return None
    kept = [column for column in columns if column.name in stored]
    if len(kept) < len(columns):
        _leave_out(connection, path, kept)
    sync_file(path)
    return kept, hashed.digest(hashed.rows, kept)


def _stream(
    connection: duckdb.DuckDBPyConnection,
    text: str,
    path: Path,
    columns: list[Column],
    keep: npt.NDArray[np.bool_] | None,
    hashed: RunningHash,
    report: Callable[[int], None],
) -> set[str]:
    """Write what comes, numbered anew; returns the columns with values, or nothing where it comes in another order."""
    import numpy as np

    from llmops_tui.datasets.arrow_arrays import number_array, numbers_of

    last = -1
    # What was not read to its end would be in the way of the next query: both are closed.
    with connection.sql(text).to_arrow_reader(_BATCH_ROWS) as reader, _Collected(path, columns, hashed) as out:
        for given in reader:
            report(hashed.rows)
            numbers = numbers_of(given.column(0))
            if len(numbers) and (numbers[0] <= last or (np.diff(numbers) <= 0).any()):
                return set()
            last = int(numbers[-1]) if len(numbers) else last
            out.add(given if keep is None else given.filter(number_array(keep[numbers])))
        out.flush()
        return out.stored


class _Collected:
    """Batches that become a file: DuckDB gives small ones, of which each would be a group of rows of its own."""

    def __init__(self, path: Path, columns: list[Column], hashed: RunningHash) -> None:
        self.stored: set[str] = set()
        self._path = path
        self._columns = columns
        self._hashed = hashed
        self._file: TableFile | None = None
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the next rows, whose first column are their numbers."""
        if batch.num_rows:
            self._batches.append(batch)
            self._rows += batch.num_rows
            self._bytes += batch.nbytes
        if self._rows >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was taken, with numbers from 0."""
        import pyarrow as pa

        if not self._batches:
            return
        given = pa.Table.from_batches(self._batches)
        self._batches, self._rows, self._bytes = [], 0, 0
        table = numbered(given.remove_column(0), self._hashed.rows)
        self._file = self._file or TableFile(self._path, table)
        self._file.write(table)
        types = {c.name: c.type for c in self._columns if table[c.name].null_count < table.num_rows}
        self.stored |= types.keys()
        self._hashed.take(table, types)


def _leave_out(connection: duckdb.DuckDBPyConnection, path: Path, columns: list[Column]) -> None:
    """Write a file again with these columns alone."""
    fresh = path.with_suffix(".new")
    names = ", ".join([ROW, *(quote_name(c.name) for c in columns)])
    connection.execute(
        f"COPY (SELECT {names} FROM read_parquet({quote_text(str(path))})) TO {quote_text(str(fresh))} {COPY_OPTIONS}"
    )
    fresh.replace(path)


def _as_of_duckdb(error: Exception) -> Exception:
    """What DuckDB raises where it is not asked by Arrow, which knows no interrupts."""
    import duckdb

    if isinstance(error, OSError) and error.errno is not None:
        return write_failed(Path(error.filename or "the dataset"), error)
    text = str(error)
    return duckdb.InterruptException(text) if "INTERRUPT" in text.upper() else duckdb.Error(text)
