"""The content hash of a version: of names, types and values by column, whatever files hold them.

The scheme is named beside each hash. Versions of an older scheme are checked by that one, and none becomes another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.parts import source_sql
from llmops_tui.datasets.records import ROW, Column, Type
from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.sandbox import quote_name, reading

if TYPE_CHECKING:
    import duckdb

SCHEME: Final = "columns-2"
# Took a column of JSON for the same as one of texts that are the same JSON.
ROWS: Final = "rows-1"
_GROUP_ROWS = 10_000
_HASHED_ROWS = 50 * _GROUP_ROWS
_TEXTS = 2000


class ColumnDigest:
    """Takes the values of one column in the order of the rows, some at a time; how many at a time changes nothing.

    Of texts and JSON it takes in the texts and their lengths, of numbers their 64 bits and whether there is one.
    """

    def __init__(self, kind: Type) -> None:
        self._kind = kind
        self._values = hashlib.sha256()
        self._there = hashlib.sha256()

    def texts(self, values: Sequence[str | None]) -> None:
        """Take the next values of texts or JSON."""
        lengths = np.fromiter((-1 if v is None else len(v) for v in values), "<i8", len(values))
        self._there.update(lengths.tobytes())
        self._values.update("".join(v for v in values if v is not None).encode())

    def numbers(self, values: npt.NDArray[Any]) -> None:
        """Take the next integers, numbers or booleans; masked where there is none."""
        there = ~np.ma.getmaskarray(values)
        kind = {"integer": "<i8", "number": "<f8", "boolean": "u1"}[self._kind]
        plain = np.ma.filled(values, 0).astype(kind)
        if self._kind == "number":
            # One of the many ways to write that something is not a number.
            plain[np.isnan(plain)] = np.nan
        self._there.update(there.astype("u1").tobytes())
        self._values.update(plain.tobytes())

    def missing(self, rows: int) -> None:
        """Take so many rows without a value."""
        if self._kind in {"text", "json"}:
            self._there.update(np.full(rows, -1, "<i8").tobytes())
        else:
            self.numbers(np.ma.masked_array(np.zeros(rows), mask=True))

    def hexdigest(self) -> str:
        """The hash of all values so far."""
        return hashlib.sha256(self._values.digest() + self._there.digest()).hexdigest()


def whole_digest(rows: int, columns: Sequence[tuple[Column, str]]) -> str:
    """The content hash of a version by the digests of its columns, in whatever order these are."""
    facts = sorted([c.name, c.type, digest] for c, digest in columns)
    return hashlib.sha256(json.dumps([SCHEME, rows, facts]).encode()).hexdigest()


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
    found = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    assert found is not None
    rows = int(found[0])
    digests = [(column, ColumnDigest(column.type)) for column in columns]
    _take_texts(connection, source, [(c, d) for c, d in digests if c.type in {"text", "json"}])
    _take_numbers(connection, source, rows, [(c, d) for c, d in digests if c.type not in {"text", "json"}])
    return whole_digest(rows, [(column, digest.hexdigest()) for column, digest in digests])


def hash_of(folder: Path, columns: Sequence[Column], scheme: str = SCHEME) -> str:
    """The content hash of the parts in a folder."""
    files = sorted(folder.glob("part-*.parquet"))
    with reading(files, memory="1GB") as connection:
        return content_hash(connection, source_sql(files), columns, scheme)


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
