"""The content hash of a version: of names, types and values by column, whatever files hold them.

The scheme is named beside each hash. Versions of an older scheme are checked by that one, and none becomes another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llmops_tui.datasets.column_digests import ColumnDigest, whole_digest
from llmops_tui.datasets.parts import source_sql
from llmops_tui.datasets.records import ROW, SCHEME, Column
from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.sandbox import quote_name, reading

if TYPE_CHECKING:
    import duckdb

# Took a column of JSON for the same as one of texts that are the same JSON.
ROWS: Final = "rows-1"
_GROUP_ROWS = 10_000
_HASHED_ROWS = 50 * _GROUP_ROWS
_TEXTS = 2000
# From so many rows on pyarrow is worth the time to load it.
BULK_ROWS = 20_000
_ARROW_ROWS = 50_000


def content_hash(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[Column], scheme: str = SCHEME
) -> str:
    """SHA-256 of the rows in their order, by a scheme: of names, types, values and order, and of nothing else.

    Raises:
        LlmopsError: ``hash_unknown``: a later release made the hash.
    """
    if scheme == ROWS:
        return _hash_of_rows(connection, source, list(columns))
    if scheme != SCHEME:
        raise LlmopsError("hash_unknown", f"the hash scheme {scheme!r} is not known here", "Use a later release.")
    # A result that was not fetched to its end would be in the way of the next query.
    ((rows,),) = connection.execute(f"SELECT count(*) FROM {source}").fetchall()
    digests = [(column, ColumnDigest(column.type)) for column in columns]
    if rows >= BULK_ROWS and columns:
        _take_arrays(connection, source, digests)
        return whole_digest(rows, [(column, digest.hexdigest()) for column, digest in digests])
    _take_texts(connection, source, [(c, d) for c, d in digests if c.type in {"text", "json"}])
    _take_numbers(connection, source, rows, [(c, d) for c, d in digests if c.type not in {"text", "json"}])
    return whole_digest(rows, [(column, digest.hexdigest()) for column, digest in digests])


def hash_of(folder: Path, columns: Sequence[Column], scheme: str = SCHEME) -> str:
    """The content hash of the parts in a folder."""
    files = sorted(folder.glob("part-*.parquet"))
    with reading(files, memory="1GB") as connection:
        return content_hash(connection, source_sql(files), columns, scheme)


def _take_arrays(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[tuple[Column, ColumnDigest]]
) -> None:
    names = ", ".join(quote_name(column.name) for column, _ in columns)
    for batch in connection.sql(f"SELECT {names} FROM {source}").to_arrow_reader(_ARROW_ROWS):
        for (_, digest), values in zip(columns, batch.columns, strict=True):
            digest.array(values)


def _take_texts(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[tuple[Column, ColumnDigest]]
) -> None:
    if not columns:
        return
    names = ", ".join(quote_name(column.name) for column, _ in columns)
    cursor = connection.execute(f"SELECT {names} FROM {source}")
    while rows := cursor.fetchmany(_TEXTS):
        for (_, digest), values in zip(columns, zip(*rows, strict=True), strict=True):
            digest.texts(values)


def _take_numbers(
    connection: duckdb.DuckDBPyConnection, source: str, rows: int, columns: Sequence[tuple[Column, ColumnDigest]]
) -> None:
    for (column, digest), begin in _ranges(columns, rows):
        name = quote_name(column.name)
        text = f"SELECT {name} AS value FROM {source} WHERE {ROW} BETWEEN ? AND ?"
        digest.numbers(connection.execute(text, [begin, begin + _HASHED_ROWS - 1]).fetchnumpy()["value"])


def _ranges(
    columns: Sequence[tuple[Column, ColumnDigest]], rows: int
) -> Iterator[tuple[tuple[Column, ColumnDigest], int]]:
    for one in columns:
        for begin in range(0, rows, _HASHED_ROWS):
            yield one, begin


def _hash_of_rows(connection: duckdb.DuckDBPyConnection, source: str, columns: list[Column]) -> str:
    """The first scheme: of the SHA-256 of each row's JSON, by groups of 10,000 rows."""
    fields = ", ".join(f"{quote_name(c.name)} := {quote_name(c.name)}" for c in sorted(columns, key=lambda c: c.name))
    row = f"sha256(CAST(to_json(struct_pack({fields})) AS VARCHAR))" if columns else "''"
    text = (
        f"SELECT sha256(string_agg({row}, '' ORDER BY {ROW})) FROM {source} WHERE {ROW} BETWEEN ? AND ?"
        f" GROUP BY {ROW} // {_GROUP_ROWS} ORDER BY {ROW} // {_GROUP_ROWS}"
    )
    found = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    assert found is not None
    digest = hashlib.sha256()
    # A range at a time: the hashes of ten million rows would not fit into memory.
    for begin in range(0, int(found[0]), _HASHED_ROWS):
        for (group,) in connection.execute(text, [begin, begin + _HASHED_ROWS - 1]).fetchall():
            digest.update(group.encode())
    return digest.hexdigest()
