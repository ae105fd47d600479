"""The Parquet files of a version: written in parts, and unified at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.arrow_tables import TableFile, as_table, largest_of, numbered, types_of
from llmops_tui.datasets.column_digests import RunningHash
from llmops_tui.datasets.column_types import EXACT, typed_column
from llmops_tui.datasets.records import REST, ROW, Column, Row, Type, decode_row
from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.files import make_folder_within, sync_file, sync_folder
from llmops_tui.workspace.sandbox import open_sandbox, quote_name, quote_text, reading

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MAX_COLUMNS = 200
GROUP_ROWS = 10_000
# From so many rows, or so many bytes that they were read from, pyarrow is worth the time to load it.
_MANY_ROWS, _MANY_BYTES = 5000, 16 << 20
Columns = dict[str, object]
"""The columns of some rows by name, as arrays or lists of as many values each."""
COPY_OPTIONS = f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {GROUP_ROWS})"


@dataclass
class Part:
    """One file: how many rows it has, and its columns with the largest integer of each."""

    rows: int
    types: dict[str, Type]
    largest: dict[str, int] = field(default_factory=dict)


class PartWriter:
    """Writes rows as ``part-00000.parquet`` and so on, while the caller makes the next ones.

    With ``read_texts`` a column of texts that are all integers, or all decimal numbers, written as we would write
    them, becomes one: what tables without types hold.
    """

    def __init__(self, folder: Path, parts: list[Part] | None = None, *, read_texts: bool = False) -> None:
        self.folder = folder
        make_folder_within(folder)
        self.parts = parts or []
        self.rows = sum(part.rows for part in self.parts)
        self._read_texts = read_texts
        self._hash = RunningHash()
        self._tables = False
        self._names: dict[str, None] = dict.fromkeys(chain.from_iterable(p.types for p in self.parts))
        self._lower = {name.lower() for name in self._names}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        # What is left of a part once it is written, while the next one is.
        self._settling = ThreadPoolExecutor(1, thread_name_prefix="settling")
        self._pending: list[Future[Future[None]]] = []
        self._opened: duckdb.DuckDBPyConnection | None = None

    def add(self, rows: list[Row], written: Callable[[int], None] | None = None, size: int = 0) -> None:
        """Write rows, of about ``size`` bytes, as the next part; ``written`` is called with its number once it is on disk.

        May wait for an earlier part.
        """
        if not rows:
            return
        part, data = self._columns(rows)
        # Where there was a table before, pyarrow is loaded, and the hash of all is known if all are tables.
        self._tables = self._tables or len(rows) >= _MANY_ROWS or size >= _MANY_BYTES
        if self._tables:
            table = as_table(data, part.types)
            self._submit_table(part, table, written)
            return
        self._hash.spoil()
        self._submit(part, lambda number: self._write(number, data), lambda: None, written)

    def takes(self, names: Iterable[str]) -> bool:
        """Whether all of these fields can be columns beside those that there are."""
        fresh = [name for name in names if name not in self._names]
        lower = {name.lower() for name in fresh}
        return (
            len(lower) == len(fresh)
            and len(self._names) + len(fresh) <= MAX_COLUMNS
            and not lower & self._lower
            and not any(name in {"", ROW, REST} or "\0" in name for name in fresh)
            and REST not in self._names
        )

    def add_table(self, table: pa.Table, written: Callable[[int], None] | None = None) -> None:
        """Write a table as the next part, as :meth:`add` does rows; its columns are some that :meth:`takes` says yes to."""
        for name in table.column_names:
            if name not in self._names:
                self._take(name)
        self._tables = True
        types = types_of(table)
        part = Part(table.num_rows, types, largest_of(table, types))
        self._submit_table(part, numbered(table.select(list(types)), self.rows), written)

    def _submit_table(self, part: Part, table: pa.Table, written: Callable[[int], None] | None) -> None:
        types = dict(part.types)
        self._submit(
            part, lambda number: self._write_table(number, table), lambda: self._hash.take(table, types), written
        )

    def _submit(
        self,
        part: Part,
        write: Callable[[int], None],
        take: Callable[[], None],
        written: Callable[[int], None] | None,
    ) -> None:
        """Have a part written, taken into the hash, made durable and then told, in this order and that of the parts."""
        number = len(self.parts)
        self.parts.append(part)
        self.rows += part.rows
        while len(self._pending) > 1:
            self._pending.pop(0).result().result()

        def settle() -> None:
            take()
            sync_file(part_path(self.folder, number))
            if written is not None:
                written(number)

        def work() -> Future[None]:
            write(number)
            return self._settling.submit(settle)

        self._pending.append(self._pool.submit(work))

    def _write_table(self, number: int, table: pa.Table) -> None:
        path = part_path(self.folder, number)
        try:
            file = TableFile(path, table)
            file.write(table)
            file.close()
        except OSError as error:
            raise write_failed(path, error) from error

    def digest(self, columns: Sequence[Column]) -> str | None:
        """The content hash of what was written, where all of it came by tables; it is the one of the files then."""
        return self._hash.digest(self.rows, columns)

    def without_values(self, columns: Iterable[Column]) -> list[str]:
        """Fields that rows came with, and none of them with a value: of those columns are made."""
        kept = {column.name for column in columns}
        return [name for name in self._names if name not in kept and name != REST]

    def _columns(self, rows: list[Row]) -> tuple[Part, Columns]:
        names = dict.fromkeys(chain.from_iterable(rows))
        # A field of the name of the hidden column goes into it, as all that have no column of their own.
        unfit = [n for n in names if n == REST or (n not in self._names and not self._take(n))]
        if unfit:
            rows = [_packed(row, unfit) for row in rows]
            names = dict.fromkeys(chain.from_iterable(rows))
        part = Part(len(rows), {})
        data: Columns = {ROW: np.arange(self.rows, self.rows + len(rows))}
        for name in names:
            try:
                # Most rows have all fields, and this is several times as fast.
                values: list[Any] = list(map(itemgetter(name), rows))
            except KeyError:
                values = [row.get(name) for row in rows]
            kind, column, largest = typed_column(values, read_texts=self._read_texts)
            if kind is not None:
                part.types[name] = kind
                data[name] = column
                if largest:
                    part.largest[name] = largest
        return part, data

    def _take(self, name: str) -> bool:
        """Make a column of a field, unless there are too many already or its name cannot be one."""
        fits = (
            len(self._names) < MAX_COLUMNS
            and name.lower() not in self._lower
            and name not in {"", ROW}
            and "\0" not in name
        )
        if fits:
            self._names[name] = None
            self._lower.add(name.lower())
        return fits

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB, which is started by the first part that is no table."""
        if self._opened is None:
            self._opened = open_sandbox(folder=self.folder, memory="1GB")
            # Columns of Python objects are texts, whatever a sample of them looks like.
            self._opened.execute("SET pandas_analyze_sample = 0")
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _write(self, number: int, data: Columns) -> None:
        import duckdb

        path = part_path(self.folder, number)
        columns = ", ".join(
            f"{_given(i, values)} AS {quote_name(name)}" for i, (name, values) in enumerate(data.items())
        )
        chunk = {f"c{i}": values for i, values in enumerate(data.values())}
        self._connection.register(
            "chunk", chunk | {f"n{i}": nan for i, v in enumerate(data.values()) if (nan := _nans(v)) is not None}
        )
        try:
            self._connection.execute(f"COPY (SELECT {columns} FROM chunk) TO {quote_text(str(path))} {COPY_OPTIONS}")
        except duckdb.Error as error:
            raise write_failed(path, error) from error
        finally:
            self._connection.unregister("chunk")

    def wait(self) -> bool:
        """Wait for all parts; true where some must be rewritten to have the columns of all."""
        for future in self._pending:
            future.result().result()
        self._pending = []
        wanted = list(self._unified().items())
        return any(list(part.types.items()) != wanted for part in self.parts)

    def finish(self) -> list[Column]:
        """Wait for all parts and give all the same columns; returns these."""
        self.wait()
        self._pool.shutdown()
        self._settling.shutdown()
        if not self.parts:
            self._write(0, {ROW: np.arange(0)})
            sync_file(part_path(self.folder, 0))
            self._hash.spoil()
            self.parts.append(Part(0, {}))
        columns = [Column(name, kind) for name, kind in self._unified().items()]
        wanted = {c.name: c.type for c in columns}
        for number, part in enumerate(self.parts):
            if list(part.types.items()) != list(wanted.items()):
                self._rewrite(number, part, columns)
        self._close()
        shutil.rmtree(self.folder / "spill", ignore_errors=True)
        sync_folder(self.folder)
        return columns

    def give_up(self) -> None:
        """Stop writing; what was written stays for a later try."""
        self._pool.shutdown(cancel_futures=True)
        self._settling.shutdown(cancel_futures=True)
        self._close()

    def _unified(self) -> dict[str, Type]:
        types: dict[str, Type] = {}
        largest: dict[str, int] = {}
        for part in self.parts:
            for name, kind in part.types.items():
                largest[name] = max(largest.get(name, 0), part.largest.get(name, 0))
                types[name] = self._unify(types.get(name, kind), kind)
        # An integer too large for a double cannot share a column of numbers.
        mixed = {n for n, t in types.items() if t == "number" and largest[n] > EXACT}
        return {n: ("text" if self._read_texts else "json") if n in mixed else t for n, t in types.items()}

    def _unify(self, left: Type, right: Type) -> Type:
        if left == right:
            return left
        # Numbers read from texts are written as they stood.
        if self._read_texts and {left, right} <= {"integer", "number", "text"}:
            return "text"
        return "number" if {left, right} == {"integer", "number"} else "json"

    def _rewrite(self, number: int, part: Part, columns: list[Column]) -> None:
        path = part_path(self.folder, number)
        fresh = path.with_suffix(".new")
        parts = [ROW]
        parts += [f"{_converted(c, part.types.get(c.name))} AS {quote_name(c.name)}" for c in columns]
        source = quote_text(str(path))
        self._connection.execute(
            f"COPY (SELECT {', '.join(parts)} FROM read_parquet({source})) TO {quote_text(str(fresh))} {COPY_OPTIONS}"
        )
        sync_file(fresh)
        fresh.replace(path)
        part.types = {c.name: c.type for c in columns}


def _packed(row: Row, unfit: Sequence[str]) -> Row:
    """A row with these fields in the hidden column; the one that is given stays as it is."""
    rest = {name: row[name] for name in unfit if name in row}
    return {name: value for name, value in row.items() if name not in rest} | {REST: rest} if rest else row


def _nans(values: object) -> npt.NDArray[np.bool_] | None:
    """Which numbers are NaN, where any is."""
    if not (isinstance(values, np.ndarray) and values.dtype == np.float64):
        return None
    nan = np.isnan(np.ma.filled(values, 0.0))
    return nan if nan.any() else None


def _given(number: int, values: object) -> str:
    """SQL for a column of a chunk: DuckDB takes NaN in arrays for no value."""
    return f"c{number}" if _nans(values) is None else f"CASE WHEN n{number} THEN 'NaN'::DOUBLE ELSE c{number} END"


def _converted(column: Column, stored: Type | None) -> str:
    """SQL for a column of a part in the type that all parts have."""
    name = quote_name(column.name)
    if stored is None:
        return f"CAST(NULL AS {SQL_TYPES[column.type]})"
    if stored == column.type:
        return name
    if column.type == "json" and stored in {"text", "number"}:
        return f"CAST(to_json({name}) AS VARCHAR)"
    return f"CAST({name} AS {SQL_TYPES[column.type]})"


SQL_TYPES: dict[str, str] = {
    "text": "VARCHAR", "json": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN",
}  # fmt: skip


def part_path(folder: Path, number: int) -> Path:
    """The file of a part."""
    return folder / f"part-{number:05d}.parquet"


# ── whole versions ──


def source_sql(files: Iterable[Path]) -> str:
    """A table function that reads all parts."""
    return f"read_parquet([{', '.join(quote_text(str(f)) for f in files)}])"


def typed_projection(columns: Iterable[Column], *, as_json: bool = True) -> str:
    """The columns for a SELECT; JSON as DuckDB's JSON type where asked for."""
    parts = []
    for column in columns:
        name = quote_name(column.name)
        parts.append(f"{name}::JSON AS {name}" if as_json and column.type == "json" else name)
    return ", ".join(parts) or "NULL AS nothing"


def read_rows(
    files: list[Path], columns: list[Column], *, where: str = "", batch: int = 2000, limit: int | None = None
) -> Iterator[list[tuple[int, Row]]]:
    """All rows in their order, in batches, each with its number. ``where`` is SQL of our own."""
    with reading(files) as connection:
        names = ", ".join(quote_name(c.name) for c in columns)
        text = f"SELECT {ROW}{', ' + names if names else ''} FROM {source_sql(files)}"
        text += (f" WHERE {where}" if where else "") + f" ORDER BY {ROW}" * bool(where)
        text += f" LIMIT {limit}" if limit is not None else ""
        cursor = connection.execute(text)
        while found := cursor.fetchmany(batch):
            yield [(int(values[0]), decode_row(columns, values[1:])) for values in found]


def write_failed(path: Path, error: Exception) -> LlmopsError:
    """A failure to write, with what to do."""
    text = str(error).splitlines()[0][:300]
    if "No space left" in text:
        return LlmopsError("disk_full", f"no space left on the disk of {path.parent}", "Free some space and resume.")
    return LlmopsError("dataset_unwritable", f"{path.name} could not be written: {text}")
