"""Parquet and Arrow files: their columns as rows, read by pyarrow, some thousand at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.datasets.records import REST, Row
from llmops_tui.datasets.sources.arrow_values import (
    Refused,
    TypeRefusedError,
    json_values,
    refused_in,
    told_of,
    told_renamed,
    unique,
    values_of,
)
from llmops_tui.datasets.sources.base import KEPT_RAW, TYPED_BYTES, Batch, Reject, Source, share_of
from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# What marks a column as JSON in text.
JSON_FIELD = {b"llmops.type": b"json"}
_ROWS = 10_000
_DAMAGED = "Download or copy it again."


@dataclass
class _Table:
    """The columns of a file: their names, each once, and which hold JSON; how many rows were read."""

    source: Source
    schema: pa.Schema
    encoded: frozenset[int]
    done: int = 0
    names: list[str] = field(init=False)
    told: str = field(init=False)

    def __post_init__(self) -> None:
        self.names = unique(self.schema.names)
        told = (told_renamed(self.schema.names, self.names), *(told_of(f.name, f.type) for f in self.schema))
        self.told = "; ".join(filter(None, told))

    def batch(self, chunk: pa.RecordBatch, position: int) -> Batch | None:
        """The rows of a chunk that stand behind a position; none where all were read before."""
        skip = max(0, min(chunk.num_rows, position - self.done))
        first = self.done + skip + 1
        self.done += chunk.num_rows
        if skip == chunk.num_rows:
            return None
        columns = [self._values(index, chunk.column(index).slice(skip)) for index in range(chunk.num_columns)]
        made = Batch(position=self.done, size=TYPED_BYTES, told=self.told, columns=tuple(self.names))
        rows = zip(*columns, strict=True) if columns else iter([()] * (chunk.num_rows - skip))
        packed = any(self.names[index] == REST for index in self.encoded)
        nested = [
            name for i, name in enumerate(self.names) if i in self.encoded or self.schema.field(i).type.num_fields
        ]
        for number, row in enumerate(rows, first):
            fields = {name: value for name, value in zip(self.names, row, strict=True) if value is not None}
            bad = next(((n, found) for n in nested if (found := refused_in(fields.get(n)))), None)
            if bad is not None:
                made.rejects.append(self._refused(number, *bad, fields))
            else:
                if packed:
                    # What had no column of its own when we wrote the file.
                    fields |= fields.pop(REST, {})
                made.rows.append(fields)
                made.lines.append(number)
        return made

    def _values(self, index: int, column: pa.Array) -> list[Any]:
        try:
            return json_values(column) if index in self.encoded else values_of(column)
        except TypeRefusedError as error:
            raise InputRefusedError(
                "type_refused",
                f"{self.source.path}: the column {self.names[index]!r} cannot be read: {error}",
                "Leave the column out, or convert it, with the program that wrote the file.",
            ) from error

    def _refused(self, number: int, name: str, refused: Refused, row: Row) -> Reject:
        raw = json.dumps(row, default=repr, ensure_ascii=False).encode()
        return Reject(str(self.source.path), number, -1, len(raw), f"{name} {refused.reason}", raw[:KEPT_RAW])


def read_parquet(source: Source, position: int, line: int) -> Iterator[Batch]:
    """The rows of a Parquet file."""
    del line
    import pyarrow.parquet as pq

    with _whole(source.path, "Parquet"), pq.ParquetFile(source.path) as file:
        table = _Table(source, file.schema_arrow, json_columns(file))
        total = max(1, file.metadata.num_rows)
        groups: list[int] = []
        for number in range(file.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            if not groups and table.done + rows <= position:
                table.done += rows
            else:
                groups.append(number)
        for chunk in file.iter_batches(batch_size=_ROWS, row_groups=groups):
            if (made := table.batch(chunk, position)) is not None:
                made.share = table.done / total
                yield made


def json_columns(file: pq.ParquetFile) -> frozenset[int]:
    """Which columns of a Parquet file are said to hold JSON."""
    leaves = {leaf.path: str(leaf.logical_type).upper() for leaf in map(file.schema.column, range(len(file.schema)))}
    return frozenset(i for i, name in enumerate(file.schema_arrow.names) if "JSON" in leaves.get(name, ""))


def read_arrow(source: Source, position: int, line: int) -> Iterator[Batch]:
    """The rows of an Arrow stream, as dataset folders hold them, or of an Arrow file, which Feather is too."""
    del line
    import pyarrow as pa

    with _whole(source.path, "Arrow"), source.path.open("rb") as file:
        stream = file.read(6) != b"ARROW1"
        file.seek(0)
        reader = pa.ipc.open_stream(file) if stream else pa.ipc.open_file(file)
        encoded = frozenset(i for i, f in enumerate(reader.schema) if _holds_json(f))
        table = _Table(source, reader.schema, encoded)
        chunks = iter(reader) if stream else map(reader.get_batch, range(reader.num_record_batches))
        for chunk in chunks:
            for begin in range(0, chunk.num_rows, _ROWS):
                if (made := table.batch(chunk.slice(begin, _ROWS), position)) is not None:
                    made.share = share_of(source, file.tell())
                    yield made


def _holds_json(column: pa.Field) -> bool:
    marked = bool(column.metadata) and JSON_FIELD.items() <= column.metadata.items()
    return marked or getattr(column.type, "extension_name", "") == "arrow.json"


@contextmanager
def _whole(path: Path, what: str) -> Iterator[None]:
    """Refuse a file that pyarrow cannot read."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:300]
        told = f"{path} is not a complete {what} file: {reason}"
        if isinstance(error, (pa.ArrowNotImplementedError, pa.ArrowKeyError)):
            told = f"{path} cannot be read as {what}: {reason}"
        raise InputRefusedError("file_damaged", told, _DAMAGED) from error
