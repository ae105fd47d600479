"""Random access to the lines of a file of any size: memory-mapped, with lines located on demand."""

from __future__ import annotations

import mmap
import os
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import orjson

from llmops_tui.errors import InputRefusedError

# One offset is kept for so many lines: 20 GB of short lines need some megabytes.
STEP = 64
_BLOCK = 16 << 20
SHOWN_BYTES = 16_384


@dataclass(frozen=True)
class RawLine:
    """A line as it is in the file.

    Attributes:
        number: from 1; an estimate where ``exact`` is false.
        offset: where it begins, in bytes.
        length: its length without the line end, in bytes.
        text: its text, cut at 16,384 bytes; bytes that are no UTF-8 are shown as ⟨FF⟩.
        bad_bytes: offsets in the line of bytes that are no UTF-8, the first ten.
        problem: why it is no JSON, with the column; empty where it is, or where JSON is not expected.
    """

    number: int
    offset: int
    length: int
    text: str
    bad_bytes: tuple[int, ...]
    problem: str
    exact: bool = True


class RawFile:
    """A file of lines, mapped into memory and never read whole."""

    def __init__(self, path: Path, *, json_lines: bool | None = None) -> None:
        try:
            self._file = path.open("rb")
            self.size = os.fstat(self._file.fileno()).st_size
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""
        except OSError as error:
            raise InputRefusedError(
                "file_unreadable", f"cannot read {path}: {error.strerror or error}", "Check the path."
            ) from error
        self.path = path
        self.json_lines = path.suffix in {".jsonl", ".ndjson"} if json_lines is None else json_lines
        # Offsets of lines 0, STEP, 2·STEP …, as far as the file was looked through.
        self._offsets = array("Q", [0])
        self._indexed_to = 0
        self._lines_seen = 0
        self.complete = self.size == 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        if isinstance(self._map, mmap.mmap):
            self._map.close()
        self._file.close()

    @property
    def lines_known(self) -> int:
        """How many lines were counted so far."""
        ended = self.complete and self.size > 0 and self._map[self.size - 1 : self.size] != b"\n"
        return self._lines_seen + ended

    def index(self, until_line: int | None = None, keep_on: Callable[[], bool] = lambda: True) -> None:
        """Count lines on from where it was left, to the end or until a line is reached, while ``keep_on`` says so."""
        while not self.complete and keep_on() and (until_line is None or self._lines_seen <= until_line):
            with self._lock:
                self._index_block()

    def _index_block(self) -> None:
        start = self._indexed_to
        stop = min(self.size, start + _BLOCK)
        if start >= stop:
            return
        block = np.frombuffer(self._map, np.uint8, stop - start, start)
        ends = np.flatnonzero(block == 10)
        # The line after newline k (counted from the start of the file) is line k + 1; every STEP-th is kept.
        first = (-(self._lines_seen + 1)) % STEP
        self._offsets.extend((ends[first::STEP].astype(np.uint64) + np.uint64(start + 1)).tolist())
        self._lines_seen += len(ends)
        self._indexed_to = stop
        self.complete = stop == self.size

    def lines(self, first: int, count: int) -> list[RawLine]:
        """Lines by number, from 0; counts up to there where nobody did yet."""
        while not self.complete and first // STEP >= len(self._offsets):
            self.index(until_line=self._lines_seen)
        if first // STEP >= len(self._offsets):
            return []
        offset = self._offsets[first // STEP]
        for _ in range(first % STEP):
            end = self._end(offset)
            if end < 0 or end + 1 >= self.size:
                return []
            offset = end + 1
        return self._from(offset, count, first, exact=True)

    def lines_at(self, offset: int, count: int) -> list[RawLine]:
        """The lines from the one that a byte is in; their numbers are estimates where the file was not counted so far."""
        offset = max(0, min(offset, self.size - 1))
        begin = self._map.rfind(b"\n", 0, offset) + 1 if offset > 0 else 0
        if begin < self._indexed_to:
            slot = int(np.searchsorted(np.frombuffer(self._offsets, np.uint64), begin, "right")) - 1
            at, number = self._offsets[slot], slot * STEP
            while at < begin:
                at = self._end(at) + 1
                number += 1
            return self._from(begin, count, number, exact=True)
        seen = max(1, self._lines_seen)
        estimate = int(begin * seen / max(1, self._indexed_to)) if self._indexed_to else 0
        return self._from(begin, count, estimate, exact=False)

    def _end(self, offset: int) -> int:
        return self._map.find(b"\n", offset)

    def _from(self, offset: int, count: int, number: int, *, exact: bool) -> list[RawLine]:
        found: list[RawLine] = []
        while len(found) < count and offset < self.size:
            end = self._end(offset)
            stop = self.size if end < 0 else end
            found.append(self._line(number + len(found) + 1, offset, stop - offset, exact=exact))
            offset = stop + 1
        return found

    def _line(self, number: int, offset: int, length: int, *, exact: bool) -> RawLine:
        raw = self._map[offset : offset + min(length, SHOWN_BYTES)]
        text, bad = show_bytes(raw)
        problem = ""
        if bad:
            problem = f"byte {bad[0]:,} is not UTF-8"
        elif self.json_lines and raw.strip():
            too_long = f"it has {length:,} bytes, too many to inspect"
            problem = too_long if length > _BLOCK else json_problem(self._map[offset : offset + length])
        return RawLine(number, offset, length, text + "…" * (length > SHOWN_BYTES), bad, problem, exact)


def json_problem(raw: bytes) -> str:
    """Why some bytes are no JSON; empty where they are."""
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return json_reason(error)
    return ""


def json_reason(error: orjson.JSONDecodeError) -> str:
    """A parser's complaint in a few words, with the column."""
    text = str(error).partition(": line")[0]
    if "recursion" in text.lower() or "depth" in text.lower():
        return "lists and objects are nested too deep"
    if "utf-8" in text.lower():
        return "it is not valid UTF-8"
    if "surrogate" in text.lower():
        return f"half of a character (a lone surrogate) at column {error.colno:,}"
    return f"{text} at column {error.colno:,}"


def show_bytes(raw: bytes) -> tuple[str, tuple[int, ...]]:
    """Bytes as text, what is not UTF-8 as ⟨FF⟩, and the offsets of the first ten such bytes."""
    try:
        return raw.decode("utf-8"), ()
    except UnicodeDecodeError:
        pass
    bad: list[int] = []
    parts: list[str] = []
    at = 0
    while at < len(raw):
        try:
            parts.append(raw[at:].decode("utf-8"))
            break
        except UnicodeDecodeError as error:
            # A character cut by our own limit is no fault of the file.
            if error.reason == "unexpected end of data" and len(raw) == SHOWN_BYTES:
                parts.append(raw[at : at + error.start].decode("utf-8"))
                break
            parts.append(raw[at : at + error.start].decode("utf-8"))
            for value in raw[at + error.start : at + error.end]:
                parts.append(f"⟨{value:02X}⟩")  # noqa: PERF401
            bad.append(at + error.start)
            at += error.end
    return "".join(parts), tuple(bad[:10])
