"""The proof that a file of JSON Lines reads back, taken from its columns while they are written.

Each value is read again from the text that stands for it, all of a column at once, and has to be the one that is stored;
what a format makes of rows has to be these rows; some lines are read whole; and the file on disk, which is read again,
has to have the CRC-32 of what was made. Nothing is taken for proven that the reading by line may see in another way: then
that decides.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from llmops_tui.datasets.arrow_arrays import filled, numbers_of
from llmops_tui.datasets.arrow_json import has_escaped
from llmops_tui.datasets.arrow_tables import types_of
from llmops_tui.datasets.column_digests import RunningHash
from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.readers import reader
from llmops_tui.datasets.formats.tables import canonical_table, takes_tables, turns_of
from llmops_tui.datasets.json_text import WrittenRows
from llmops_tui.datasets.parts import MAX_COLUMNS
from llmops_tui.datasets.records import Column, Row, Type
from llmops_tui.datasets.sources.base import MAX_LINE
from llmops_tui.datasets.sources.json_lines import parse_object
from llmops_tui.datasets.sources.json_tables import read_table
from llmops_tui.datasets.sources.streams import open_stream
from llmops_tui.datasets.version import DatasetVersion

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 1 << 20
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?(e[-+]?[0-9]+)?$"
# Lines of each batch that are read whole.
_WHOLE = 32
# Lines of so many bytes are read faster one by one than all at once.
_LONG_LINE = 2000


class ExportProof:
    """Takes the batches of a version as they are written in ``form``; ``holds`` says at the end whether they read back."""

    def __init__(self, version: DatasetVersion, form: str) -> None:
        self._version = version
        self._columns = version.columns
        self._form = form
        self._hash = RunningHash()
        self._check = 0
        self._good = len(version.columns) <= MAX_COLUMNS
        # The types of columns in the lines so far.
        self._known: dict[str, Type] = {}
        self._nested = any(column.type == "json" for column in version.columns)

    def take(self, rows: WrittenRows) -> None:
        """Take the next rows."""
        import pyarrow as pa

        self._check = zlib.crc32(rows.data, self._check)
        if not self._good:
            return
        types = {c.name: c.type for c, v in zip(self._columns, rows.stored, strict=True) if v.null_count < len(v)}
        table = pa.table(rows.stored, names=[column.name for column in self._columns])
        self._hash.take(table, types)
        if self._nested and len(rows.data) < _LONG_LINE * len(table) and self._read_block(rows, types):
            return
        values = [
            _read_again(column, text, stored)
            for column, text, stored in zip(self._columns, rows.texts, rows.stored, strict=True)
        ]
        self._good = (
            all(found is not None for found in values)
            and self._as_rows(table, rows, values)
            and _longest(rows.lines) <= MAX_LINE
            and self._whole(rows)
        )

    def holds(self, path: Path) -> bool:
        """Whether reading the file gives the version; where not, it may be so all the same."""
        if not self._good or self._hash.digest(self._hash.rows, self._columns) != self._version.present_hash:
            return False
        again = 0
        with open_stream(path) as file:
            while data := file.read(_BLOCK):
                again = zlib.crc32(data, again)
        return again == self._check

    def _read_block(self, rows: WrittenRows, types: dict[str, Type]) -> bool:
        """Whether an import reads the lines at once as what is stored; it knows no lists and objects but those of texts."""
        made = read_table(bytes(rows.data), self._known, parse_object, turns_of(self._form))
        made = canonical_table(self._form, made) if made is not None else None
        return (
            made is not None
            and types_of(made) == types
            and _longest(rows.lines) <= MAX_LINE
            and all(
                made[column.name].combine_chunks().equals(stored)
                for column, stored in zip(self._columns, rows.stored, strict=True)
                if column.name in types
            )
        )

    def _as_rows(self, table: pa.Table, rows: WrittenRows, values: Sequence[Any]) -> bool:
        """Whether the format makes the same rows of them."""
        plain_table = not self._nested and takes_tables(self._form)
        if plain_table and canonical_table(self._form, table) is not None:
            return True
        names = [column.name for column in self._columns]
        given = [
            stored.to_pylist() if column.type != "json" else again.texts if texts is stored else _bytes(stored)
            for column, again, texts, stored in zip(self._columns, values, rows.texts, rows.stored, strict=True)
        ]
        plain = [
            again.values if column.type == "json" else stored
            for column, again, stored in zip(self._columns, values, given, strict=True)
        ]
        read = reader(self._form)
        try:
            made = [
                read({name: value for name, value in zip(names, row, strict=True) if value is not None})
                for row in zip(*plain, strict=True)
            ]
            for column, stored in zip(self._columns, given, strict=True):
                found = list(map(dict.pop, made, repeat(column.name), repeat(None)))
                if column.type == "json":
                    # What is none here was none before: a list or an object is not written as null.
                    found = [None if value is None else orjson.dumps(value) for value in found]
                if found != stored:
                    return False
        except (RowRefusedError, orjson.JSONEncodeError):
            return False
        return not any(made)

    def _whole(self, rows: WrittenRows) -> bool:
        """Whether some lines are read as their rows."""
        for number in np.unique(np.linspace(0, len(rows.lines) - 1, _WHOLE).astype(int)).tolist():
            row: Row = {}
            for column, values in zip(self._columns, rows.stored, strict=True):
                value = values[number].as_py()
                if value is not None:
                    row[column.name] = orjson.loads(value) if column.type == "json" else value
            try:
                line = rows.lines[number].as_py()
                if line[-1:] != "\n" or orjson.dumps(parse_object(line[:-1].encode())) != orjson.dumps(row):
                    return False
            except (ValueError, TypeError):
                return False
        return True


class _Json(NamedTuple):
    """The texts of a column of JSON as they are written, and their values."""

    texts: list[bytes | None]
    values: list[Any]


def _read_again(column: Column, written: pa.Array, stored: pa.Array) -> Any:
    """What a column's texts are read as, where that is what is stored; none where it is not, or not known.

    Of a column of JSON these are its values, which are lists and objects; what they are is not compared.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        if column.type == "text":
            # A text without signs that JSON writes in another way stands for itself.
            itself = written.equals(stored) and not has_escaped(stored)
            return True if itself or _texts(written) == stored.to_pylist() else None
        if column.type == "json":
            # That each is written as it is stored is seen when the format has read it.
            texts = _bytes(written)
            found = [None if text is None else orjson.loads(text) for text in texts]
            return _Json(texts, found) if {type(value) for value in found} <= {list, dict, type(None)} else None
        again = written.cast(stored.type)
        same = again.equals(stored)
        if column.type == "number":
            # A whole one without a point would be an integer.
            same = same and pc.all(pc.match_substring_regex(written, _NUMBER)).as_py() is not False
            same = same and pc.all(pc.match_substring_regex(written, "[.e]")).as_py() is not False
            same = same and np.array_equal(_bits(again), _bits(stored))
        else:
            # Arrow reads what JSON has not, too, such as zeros before a number.
            same = same and again.cast(written.type).equals(written)
    except (pa.ArrowException, orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return True if same else None


def _texts(written: pa.Array) -> list[str | None]:
    """Texts as JSON reads them."""
    texts = written.to_pylist()
    found = iter(orjson.loads('["' + '","'.join(text for text in texts if text is not None) + '"]'))
    return [None if text is None else next(found) for text in texts]


def _bits(values: pa.Array) -> Any:
    return numbers_of(filled(values)).view(np.int64)


def _bytes(texts: pa.Array) -> list[bytes | None]:
    import pyarrow as pa

    made: list[bytes | None] = texts.cast(pa.binary()).to_pylist()
    return made


def _longest(lines: pa.Array) -> int:
    import pyarrow.compute as pc

    return int(pc.max(pc.binary_length(lines)).as_py() or 0)
