"""Columns of Arrow as lines of JSON, a batch at a time: the same as each row written by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from llmops_tui.datasets.records import Column
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.sandbox import open_sandbox, quote_name

if TYPE_CHECKING:
    import pyarrow as pa

# A batch is so many rows, or fewer that are of so many bytes.
_ROWS = 50_000
_BYTES = 16 << 20
# What cannot stand in a text of JSON as it is.
_ESCAPED_PATTERN = r'[\x00-\x1f"\\]'


class WrittenRows(NamedTuple):
    """Some rows as they are written.

    Attributes:
        done: how many rows are written with these.
        data: their lines, one behind another.
        stored: their columns.
        texts: each value of each column as JSON has it, a text without its quotes.
        lines: each row's line, with its end.
    """

    done: int
    data: memoryview
    stored: Sequence[pa.Array]
    texts: Sequence[pa.Array]
    lines: pa.Array


def json_lines(version: DatasetVersion) -> Iterator[WrittenRows]:
    """The rows of a version as JSON Lines, some thousand at a time.

    Raises:
        InputRefusedError: a number is none that JSON has.
    """
    done = 0
    names = ", ".join(quote_name(column.name) for column in version.columns)
    connection = open_sandbox(version.files, memory="512MB")
    try:
        for batch in connection.sql(f"SELECT {names} FROM {version.source}").to_arrow_reader(_batch_rows(version)):
            _refuse_odd_numbers(version.columns, batch, done)
            done += batch.num_rows
            if batch.num_rows:
                stored = batch.columns
                texts = [_written(column, values) for column, values in zip(version.columns, stored, strict=True)]
                lines = _lines(version.columns, texts)
                yield WrittenRows(done, _bytes_of(lines), stored, texts, lines)
    finally:
        connection.close()


def _batch_rows(version: DatasetVersion) -> int:
    import pyarrow.parquet as pq

    size = 0
    for path in version.files:
        told = pq.read_metadata(path)
        size += sum(told.row_group(number).total_byte_size for number in range(told.num_row_groups))
    # DuckDB gives no fewer than its vectors have.
    return max(2048, min(_ROWS, _BYTES * version.rows // max(1, size)))


def _lines(columns: Sequence[Column], written: Sequence[pa.Array]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    # Texts and arrays, which are joined: each field behind a comma, of which the first is none.
    pieces: list[Any] = []
    for column, texts in zip(columns, written, strict=True):
        name, sign = "," + orjson.dumps(column.name).decode() + ":", '"' if column.type == "text" else ""
        if texts.null_count:
            pieces.append(pc.fill_null(pc.binary_join_element_wise(name + sign, texts, sign, ""), ""))
        else:
            pieces += [name + sign, texts, sign]
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
        data = _codes(values)
        broken = bool(((data == 10) | (data == 13)).any())
        return pc.replace_substring_regex(values, r"[\r\n]+", " ") if broken else values
    texts = values.cast(pa.string())
    if column.type == "number":
        whole = pc.invert(pc.match_substring_regex(texts, "[.e]"))
        return pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)
    return texts


def _escaped(values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not has_escaped(values):
        return values
    odd = pc.fill_null(pc.match_substring_regex(values, _ESCAPED_PATTERN), False)
    made = [orjson.dumps(text).decode()[1:-1] for text in values.filter(odd).to_pylist()]
    return pc.replace_with_mask(values, odd, pa.array(made, values.type))


def has_escaped(values: pa.Array) -> bool:
    """Whether any text has a sign that cannot stand in a text of JSON as it is."""
    data = _codes(values)
    # Control characters, quotes and backslashes.
    return bool(len(data)) and bool(data.min() < 32 or (data == 34).any() or (data == 92).any())


def _codes(values: pa.Array) -> npt.NDArray[np.uint8]:
    """The bytes of all texts as numbers."""
    return np.frombuffer(_bytes_of(values), np.uint8)


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
