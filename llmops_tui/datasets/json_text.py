"""Columns of Arrow as lines of JSON, a batch at a time: the same as each row written by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from llmops_tui.datasets.records import Column
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.sandbox import open_sandbox, quote_name

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 50_000
# What cannot stand in a text of JSON as it is.
_ESCAPED = bytes(range(32)) + b'"\\'
_ESCAPED_PATTERN = r'[\x00-\x1f"\\]'


def json_lines(version: DatasetVersion) -> Iterator[tuple[int, memoryview]]:
    """The rows of a version as bytes of JSON Lines, some thousand at a time, with how many are told so far.

    Raises:
        InputRefusedError: a number is none that JSON has.
    """
    done = 0
    names = ", ".join(quote_name(column.name) for column in version.columns)
    connection = open_sandbox(version.files, memory="512MB")
    try:
        for batch in connection.sql(f"SELECT {names} FROM {version.source}").to_arrow_reader(_ROWS):
            _refuse_odd_numbers(version.columns, batch, done)
            done += batch.num_rows
            if batch.num_rows:
                yield done, _bytes_of(_lines(version.columns, batch.columns))
    finally:
        connection.close()


def _lines(columns: Sequence[Column], arrays: Sequence[pa.Array]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    # Texts and arrays, which are joined: each field behind a comma, of which the first is none.
    pieces: list[Any] = []
    for column, values in zip(columns, arrays, strict=True):
        name, sign = "," + orjson.dumps(column.name).decode() + ":", '"' if column.type == "text" else ""
        written = _written(column, values)
        if values.null_count:
            pieces.append(pc.fill_null(pc.binary_join_element_wise(name + sign, written, sign, ""), ""))
        else:
            pieces += [name + sign, written, sign]
    if isinstance(pieces[0], str):
        return pc.binary_join_element_wise(*_merged(["{" + pieces[0][1:], *pieces[1:], "}\n"]), "")
    joined = pc.binary_join_element_wise(*_merged(pieces), "") if len(pieces) > 1 else pieces[0]
    fields = pc.binary_slice(joined.cast(pa.binary()), 1).cast(pa.string())
    return pc.binary_join_element_wise("{", fields, "}\n", "")


def _merged(pieces: Sequence[Any]) -> list[Any]:
    """Texts beside each other as one."""
    made: list[Any] = []
    for piece in pieces:
        if made and isinstance(piece, str) and isinstance(made[-1], str):
            made[-1] += piece
        else:
            made.append(piece)
    return made


def _written(column: Column, values: pa.Array) -> pa.Array:
    """Each value as JSON has it, a text without its quotes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type == "text":
        return _escaped(values)
    if column.type == "json":
        # It is stored as it is written, on one line as we write it.
        return pc.replace_substring_regex(values, r"[\r\n]+", " ") if _has(values, b"\n\r") else values
    texts = values.cast(pa.string())
    if column.type == "number":
        whole = pc.invert(pc.match_substring_regex(texts, "[.e]"))
        return pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    return texts


def _escaped(values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _has(values, _ESCAPED):
        return values
    odd = pc.fill_null(pc.match_substring_regex(values, _ESCAPED_PATTERN), False)
    made = [orjson.dumps(text).decode()[1:-1] for text in values.filter(odd).to_pylist()]
    return pc.replace_with_mask(values, odd, pa.array(made, values.type))


def _has(values: pa.Array, signs: bytes) -> bool:
    """Whether one of these bytes occurs in any text."""
    data = bytes(_bytes_of(values))
    return len(data.translate(None, signs)) < len(data)


def _bytes_of(values: pa.Array) -> memoryview:
    """The bytes of all texts, one behind another."""
    _, ends, texts = values.buffers()
    size = np.dtype("<i8" if str(values.type) == "large_string" else "<i4")
    places = np.frombuffer(ends, size, len(values) + 1, values.offset * size.itemsize)
    return memoryview(texts if texts is not None else b"")[places[0] : places[-1]]


def _refuse_odd_numbers(columns: Sequence[Column], batch: pa.RecordBatch, first: int) -> None:
    import pyarrow.compute as pc

    found: list[tuple[int, str, float]] = []
    for column, values in zip(columns, batch.columns, strict=True):
        if column.type == "number":
            finite = pc.fill_null(pc.is_finite(values), True)
            if not pc.all(finite).as_py():
                at = pc.index(finite, False).as_py()
                found.append((first + at, column.name, values[at].as_py()))
    if found:
        number, name, value = min(found, key=lambda one: one[0])
        raise odd_number(number, name, value)


def odd_number(number: int, name: str, value: float) -> InputRefusedError:
    """The refusal of a row with a number that JSON does not have."""
    return InputRefusedError(
        "row_refused", f"row {number:,}: {name} is {value}, which JSON does not have", "Export it as Parquet."
    )
