"""CSV and TSV: records of texts; ragged and broken lines are rejected with their raw bytes."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import IO

from llmops_tui.counts import counted
from llmops_tui.datasets.sources.arrow_values import told_renamed, unique
from llmops_tui.datasets.sources.base import (
    BATCH_BYTES,
    BATCH_ROWS,
    KEPT_RAW,
    MAX_LINE,
    TABLES,
    Batch,
    Reject,
    Source,
    share_of,
)
from llmops_tui.datasets.sources.streams import open_stream
from llmops_tui.errors import InputRefusedError

# What Excel writes and reads before the header, and what else divides cells.
_NAMED = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=([^\r\n"\x80-\xff]|[\xc2-\xf4][\x80-\xbf]{1,3})"?\r?\n')
_DELIMITERS = (",", ";", "\t", "|")
_NO_UTF8 = "it is not valid UTF-8"
_RETURNS = (
    "carriage returns stand in it without line feeds, as old programs end lines: tr '\\r' '\\n' makes lines of them"
)
_SAMPLE = 1 << 16
_LOOKED_AT = 50
_FEW = 2


class _Lines:
    """Lines of a CSV for its reader, which remembers those of the record being read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._again: deque[bytes] = deque()
        self.taken: list[bytes] = []
        self.number = 0
        self.problem = ""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self._again.popleft() if self._again else self._stream.readline(MAX_LINE)
        if not raw:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        self.taken.append(raw)
        if len(raw) >= MAX_LINE and not raw.endswith(b"\n"):
            self.problem = f"the line has {len(raw) + self._skip_line():,} bytes, more than {MAX_LINE:,}"
            return "\n"
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.problem = _NO_UTF8
            return raw.decode("utf-8", "replace")

    def begin(self) -> int:
        """Begin a record; returns the number of its first line."""
        self.taken, self.problem = [], ""
        return self.number + 1

    def go_back(self) -> None:
        """Read all lines of this record but its first again."""
        self._again.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1
        del self.taken[1:]

    def _skip_line(self) -> int:
        size = 0
        while part := self._stream.readline(MAX_LINE):
            size += len(part)
            if part.endswith(b"\n"):
                break
        return size


def read_delimited(source: Source, position: int, line: int) -> Iterator[Batch]:
    """The records of a table of texts; an empty cell is no value."""
    del line
    csv.field_size_limit(MAX_LINE)
    with open_stream(source.path, source.encoding, source.member) as stream:
        sample = stream.read(_SAMPLE)
    named = _NAMED.match(sample)
    delimiter = named[1].decode() if named else TABLES[source.type] or _delimiter(sample)
    with open_stream(source.path, source.encoding, source.member) as stream:
        lines = _Lines(stream)
        if named:
            next(lines)
        records = _records(lines, delimiter)
        first_record = next(records, None)
        if first_record is None:
            return
        _, names, reason = first_record
        if reason:
            utf8 = (
                "If it is not UTF-8, give --encoding, for example latin-1." if reason == _NO_UTF8 else "Fix its header."
            )
            raise InputRefusedError("file_damaged", f"{source.path}, line 1: {reason}", utf8)
        header = unique(names)
        told = "; ".join(filter(None, (told_renamed(names, header), _told_numbers(names))))
        fresh = partial(Batch, told=told, columns=tuple(header))
        batch, done, size = fresh(), 0, 0
        for done, (at, values, reason) in enumerate(records, 1):
            if done <= position:
                continue
            raw = b"".join(lines.taken)
            size += len(raw)
            if values and not reason and len(values) != len(header):
                reason = f"it has {counted(len(values), 'cell')}, the header has {len(header)}"  # noqa: PLW2901
            if reason:
                batch.rejects.append(Reject(str(source.path), at, -1, len(raw), reason, raw[:KEPT_RAW]))
            elif not values:
                batch.blank += 1
            else:
                batch.rows.append({n: v for n, v in zip(header, values, strict=True) if v != ""})
                batch.lines.append(at)
            if size > BATCH_BYTES or len(batch.rows) >= BATCH_ROWS:
                batch.position, batch.share = done, share_of(source, stream.tell())
                yield batch
                batch, size = fresh(), 0
        batch.position, batch.share = done, 1.0
        yield batch


def _told_numbers(names: list[str]) -> str:
    """That the first line is taken for a header although it is all numbers, which a row without a header would be."""
    try:
        for name in names:
            float(name)
    except ValueError:
        return ""
    return f"the first line is taken for the names of the columns: {', '.join(names[:8])}; if it is a row, write names above it"


def _records(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Line number, cells, and what is wrong, of each record; a blank line has no cells.

    A quote that nothing closes would take all that follows it into its record. Only the line that it is in is refused.
    """
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        at = lines.begin()
        try:
            values = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            reason = lines.problem or (_RETURNS if str(error).startswith("new-line character") else str(error))
            lines.go_back()
            records = csv.reader(lines, delimiter=delimiter, strict=True)
            yield at, [], reason
            continue
        yield at, values, lines.problem


def is_table(sample: bytes) -> bool:
    """Whether the first bytes of a text are some lines of a table: a header of names, and as many cells in each line."""
    width, share, rows = max(map(partial(_fit, sample), _DELIMITERS), key=lambda fit: (fit[1], fit[0]))
    header = sample.split(b"\n", 1)[0]
    return width > 1 and share == 1 and rows > _FEW and not any(sign in header for sign in b".!?{")


def _delimiter(sample: bytes) -> str:
    """The sign that cuts the first lines into the same number of cells; of several the one that makes most cells."""
    fits = {d: _fit(sample, d) for d in _DELIMITERS}
    return max(_DELIMITERS, key=lambda d: (fits[d][0] > 1, fits[d][1], fits[d][0]))


def _fit(sample: bytes, delimiter: str) -> tuple[int, float, int]:
    """How many cells the header has, the share of the next lines that have as many, and how many lines there are."""
    text = sample.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    try:
        records = [r for r in islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), _LOOKED_AT) if r]
    except csv.Error:
        records = []
    if len(sample) == _SAMPLE and len(records) < _LOOKED_AT:
        # The last one may be cut.
        del records[-1:]
    width = len(records[0]) if records else 0
    return width, sum(len(r) == width for r in records) / max(1, len(records)), len(records)
