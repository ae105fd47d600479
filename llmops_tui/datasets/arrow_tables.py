"""Tables of Arrow: their types as ours, and a Parquet file of them as a part of a version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmops_tui.datasets.arrow_arrays import number_array, text_array
from llmops_tui.datasets.records import ROW, Type

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_TYPES: dict[str, Type] = {"string": "text", "int64": "integer", "double": "number", "bool": "boolean"}
# What a column of texts says that are JSON.
JSON_TEXT = {b"llmops": b"json"}
_GROUP_ROWS, _PAGE_BYTES = 10_000, 1 << 18
# Texts of so few different values among the first thousand are written once, and then by their number.
_LOOKED_AT, _FEW = 1000, 100


def types_of(table: pa.Table) -> dict[str, Type]:
    """The type of each column that has a value."""
    return {
        field.name: "json" if field.metadata == JSON_TEXT else _TYPES[str(field.type)]
        for field, column in zip(table.schema, table.columns, strict=True)
        if column.null_count < table.num_rows
    }


def as_table(columns: Mapping[str, object], types: Mapping[str, Type]) -> pa.Table:
    """Columns as numpy has them, of these types, as a table; others are whole numbers."""
    import pyarrow as pa

    arrays, fields = [], []
    for name, given in columns.items():
        kind, values = types.get(name, "integer"), np.asanyarray(given)
        arrays.append(text_array(values.tolist()) if kind in {"text", "json"} else number_array(values))
        fields.append(pa.field(name, arrays[-1].type, metadata=JSON_TEXT if kind == "json" else None))
    return pa.table(arrays, pa.schema(fields))


def largest_of(table: pa.Table, types: Mapping[str, Type]) -> dict[str, int]:
    """The largest integer, without its sign, of each column of integers."""
    import pyarrow.compute as pc

    found = {}
    for name, kind in types.items():
        if kind == "integer":
            ends = pc.min_max(table[name]).as_py()
            if largest := max(abs(ends["min"]), abs(ends["max"])):
                found[name] = largest
    return found


def numbered(table: pa.Table, first: int) -> pa.Table:
    """A table with the numbers of its rows as its first column."""
    return table.add_column(0, ROW, number_array(np.arange(first, first + table.num_rows)))


class TableFile:
    """A Parquet file as all parts are, written by tables of one schema; ``first`` is one of them, and not written by that."""

    def __init__(self, path: Path, first: pa.Table) -> None:
        import pyarrow.parquet as pq

        integers = [field.name for field in first.schema if str(field.type) == "int64"]
        self._file: pq.ParquetWriter = pq.ParquetWriter(
            path,
            first.schema,
            compression="zstd",
            compression_level=1,
            # So large that it stays in the processor's cache while it is put together and compressed.
            data_page_size=_PAGE_BYTES,
            # Integers by their differences: a column of numbers of rows is next to nothing then.
            use_dictionary=[name for name in _of_few_values(first) if name not in integers],
            column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
        )

    def write(self, given: pa.Table) -> None:
        """Write the next rows."""
        self._file.write_table(given, row_group_size=_GROUP_ROWS)

    def close(self) -> None:
        """End the file."""
        self._file.close()


def _of_few_values(table: pa.Table) -> Iterator[str]:
    import pyarrow.compute as pc

    head = table.slice(0, _LOOKED_AT)

    def few(column: pa.ChunkedArray) -> bool:
        different: Any = pc.count_distinct(column)
        return bool(different.as_py() <= _FEW)

    for name, column in zip(head.schema.names, head.columns, strict=True):
        # Where the first are all different already, no more of them are looked at: they may be long.
        if name != ROW and few(column.slice(0, _FEW + 1)) and few(column):
            yield name
