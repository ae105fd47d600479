"""CSV and TSV: records of texts; ragged and broken lines are rejected with their raw bytes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO

from llmops_tui.counts import counted
from llmops_tui.datasets.sources.base import (
    BATCH_BYTES,
    BATCH_ROWS,
    KEPT_RAW,
    MAX_LINE,
    Batch,
    Reject,
    Source,
    open_stream,
    share_of,
)
from llmops_tui.errors import InputRefusedError


class _Lines:
    """Lines of a CSV for its reader, which remembers those of the record being read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.taken: list[bytes] = []
        self.number = 0
        self.bad = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self._stream.readline(MAX_LINE)
        if not raw:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        self.taken.append(raw)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.bad = True
            return raw.decode("utf-8", "replace")


def read_delimited(source: Source, position: int, line: int) -> Iterator[Batch]:
    """The records of a table of texts; an empty cell is no value."""
    del line
    csv.field_size_limit(MAX_LINE)
    with open_stream(source.path) as stream:
        first = stream.readline(MAX_LINE)
    delimiter = "\t" if source.type == "tsv" else _delimiter(first)
    with open_stream(source.path) as stream:
        lines = _Lines(stream)
        records = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            header = next(records, None)
        except csv.Error as error:
            raise InputRefusedError("file_damaged", f"{source.path}, line 1: {error}", "Fix its header.") from error
        if header is None:
            return
        header = _header(header)
        batch, done, size = Batch(), 0, 0
        for done, (at, values, reason) in enumerate(_records(lines, records, len(header)), 1):
            if done <= position:
                continue
            raw = b"".join(lines.taken)
            size += len(raw)
            if reason:
                batch.rejects.append(Reject(str(source.path), at, -1, len(raw), reason, raw[:KEPT_RAW]))
            elif not values:
                batch.blank += 1
            else:
                batch.rows.append({n: v for n, v in zip(header, values, strict=True) if v != ""})
                batch.lines.append(at)
            if size > BATCH_BYTES or len(batch.rows) >= BATCH_ROWS:
                batch.position, batch.share = done, share_of(source.path, stream.tell())
                yield batch
                batch, size = Batch(), 0
        batch.position, batch.share = done, 1.0
        yield batch


def _records(lines: _Lines, records: Iterator[list[str]], width: int) -> Iterator[tuple[int, list[str], str]]:
    """Line number, cells, and what is wrong, of each record; a blank line has no cells."""
    while True:
        lines.taken, lines.bad, at = [], False, lines.number + 1
        try:
            values = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            yield at, [], str(error)
            continue
        reason = "it is not valid UTF-8" if lines.bad else ""
        if values and not reason and len(values) != width:
            reason = f"it has {counted(len(values), 'cell')}, the header has {width}"
        yield at, values, reason


def _delimiter(line: bytes) -> str:
    return max(",;\t|", key=lambda d: line.count(d.encode())) if line else ","


def _header(names: list[str]) -> list[str]:
    """The column names, each once: an empty or repeated one gets its number behind it."""
    seen: dict[str, int] = {}
    out = []
    for index, name in enumerate(names, 1):
        unique = name if name and name not in seen else f"{name or 'column'}_{index}"
        seen[unique] = index
        out.append(unique)
    return out
