"""Digests of columns, of which the content hash of a version is made: taken as the rows come, from texts or from arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.arrow_arrays import are_there, filled, numbers_of
from llmops_tui.datasets.records import SCHEME, Column, Type

if TYPE_CHECKING:
    import pyarrow as pa

_BEYOND_ASCII = 128


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

    def array(self, values: pa.Array) -> None:
        """Take the next values as Arrow has them."""
        if not len(values):
            return
        if self._kind in {"text", "json"}:
            self._text_array(values)
        else:
            data = numbers_of(values) if not values.null_count else _masked(values)
            self.numbers(data)

    def _text_array(self, values: pa.Array) -> None:
        import pyarrow.compute as pc

        missing = ~are_there(values) if values.null_count else None
        if missing is not None:
            # What stands in the place of a text that is none is nobody's business.
            values = filled(values)
        _, ends, texts = values.buffers()
        size = np.dtype("<i8" if str(values.type) == "large_string" else "<i4")
        places = np.frombuffer(ends, size, len(values) + 1, values.offset * size.itemsize)
        data = memoryview(texts if texts is not None else b"")[places[0] : places[-1]]
        # Of texts that have bytes of more than seven bits, the lengths are those in characters.
        signs = np.frombuffer(data, np.uint8)
        if not len(signs) or signs.max() < _BEYOND_ASCII:
            lengths = np.diff(places).astype("<i8")
        else:
            lengths = numbers_of(pc.utf8_length(values)).astype("<i8")
        if missing is not None:
            lengths[missing] = -1
        self._there.update(lengths.data)
        self._values.update(data)

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


class RunningHash:
    """The content hash of rows that come by tables, without what their columns become at last: see :meth:`digest`."""

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[str, tuple[Type, ColumnDigest]] = {}
        self._good = True

    def take(self, table: pa.Table | pa.RecordBatch, types: Mapping[str, Type]) -> None:
        """Take the next rows, of whose columns those in ``types`` count."""
        for name, kind in types.items():
            if name not in self._columns:
                digest = ColumnDigest(kind)
                digest.missing(self.rows)
                self._columns[name] = kind, digest
            before, digest = self._columns[name]
            self._good = self._good and before == kind
            column = table.column(name)
            for chunk in getattr(column, "chunks", None) or [column]:
                digest.array(chunk)
        for name, (_, digest) in self._columns.items():
            if name not in types:
                digest.missing(table.num_rows)
        self.rows += table.num_rows

    def spoil(self) -> None:
        """Have it give no hash: there are rows that it was not given."""
        self._good = False

    def digest(self, rows: int, columns: Sequence[Column]) -> str | None:
        """The hash, where these are the rows and columns that it was given; none where it must be made of the files."""
        wanted = {c.name: c.type for c in columns}
        if not self._good or rows != self.rows or wanted != {name: kind for name, (kind, _) in self._columns.items()}:
            return None
        return whole_digest(rows, [(column, self._columns[column.name][1].hexdigest()) for column in columns])


def _masked(values: pa.Array) -> npt.NDArray[Any]:
    return np.ma.masked_array(numbers_of(values), mask=~are_there(values))
