"""Columns of Arrow as lines of JSON, a batch at a time: the same as each row written by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from llmops_tui.datasets.arrow_arrays import filled, joined
from llmops_tui.datasets.arrow_json import bytes_of, codes, escaped
from llmops_tui.datasets.records import Column, Row
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.sandbox import open_sandbox, quote_name

if TYPE_CHECKING:
    import pyarrow as pa

# A batch is so many rows, or fewer that are of so many bytes.
_ROWS = 50_000
_BYTES = 8 << 20
_LONGEST = 2**31 - 1


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
                yield WrittenRows(done, bytes_of(lines), stored, texts, lines)
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
            pieces.append(filled(joined(name + sign, texts, sign)))
        else:
            pieces += [name + sign, texts, sign]
    if isinstance(pieces[0], str):
        return joined(*_merged(["{" + pieces[0][1:], *pieces[1:], "}\n"]))
    whole = joined(*_merged(pieces)) if len(pieces) > 1 else pieces[0]
    # pyarrow 26 multiplies the place where to stop with the number of texts, and without one that is beyond 64 bits.
    fields = pc.binary_slice(whole.cast(pa.binary()), 1, _LONGEST).cast(pa.string())
    return joined("{", fields, "}\n")


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
        return escaped(values)
    if column.type == "json":
        # It is stored as it is written, on one line as we write it.
        data = codes(values)
        broken = bool(len(data)) and data.min() < ord(" ") and bool(((data == 10) | (data == 13)).any())
        return pc.replace_substring_regex(values, r"[\r\n]+", " ") if broken else values
    texts = values.cast(pa.string())
    if column.type == "number":
        whole = pc.invert(pc.match_substring_regex(texts, "[.e]"))
        return pc.if_else(whole, joined(texts, ".0"), texts)
    return texts


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


def odd_as_texts(row: Row) -> dict[str, str]:
    """The numbers of a row that JSON does not have, by column, as texts."""
    return {name: str(v) for name, v in row.items() if isinstance(v, float) and not math.isfinite(v)}


def odd_number(number: int, name: str, value: float) -> InputRefusedError:
    """The refusal of a row with a number that JSON does not have."""
    return InputRefusedError(
        "row_refused", f"row {number:,}: {name} is {value}, which JSON does not have", "Export it as Parquet."
    )
