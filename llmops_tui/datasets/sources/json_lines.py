"""JSON Lines: one object per line, each validated alone; overlong lines are skipped in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from mmap import mmap
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import orjson

from llmops_tui.datasets.raw import json_reason
from llmops_tui.datasets.records import Row, Type, has_long_number
from llmops_tui.datasets.sources import json_tables
from llmops_tui.datasets.sources.base import (
    BATCH_BYTES,
    KEPT_RAW,
    MAX_LINE,
    Batch,
    Reject,
    Source,
    TurnFields,
    share_of,
)
from llmops_tui.datasets.sources.conversation_blocks import ConversationBlocks
from llmops_tui.datasets.sources.json_tables import read_table
from llmops_tui.datasets.sources.streams import open_stream

if TYPE_CHECKING:
    import pyarrow as pa

_LINE_END, _QUOTE, _BACKSLASH, _U = b'\n"\\u'
_WRITTEN_QUOTE = rb"\u0022"
# Eight signs of which each is a digit, or one of the six behind 9, in the bits that these have in common.
_TENS, _ZEROS = np.uint64(0xF0F0F0F0F0F0F0F0), np.uint64(0x3030303030303030)
_PIECE = 1 << 20
# Of lines with so many bytes conversations are faster copied than read, and from so many on all else is faster read by line.
_COPIED_LINE, _LONG_LINE = 400, 2000
_LOOKED_AT = 1 << 18


def read_json_lines(
    source: Source, position: int, line: int, *, tables: Mapping[str, TurnFields] | None = None
) -> Iterator[Batch]:
    """The objects of a file, compressed or not.

    Large blocks come as tables where ``tables`` says what columns may be conversations then.
    """
    bulk = _Bulk(tables) if tables is not None else None
    with open_stream(source.path, source.encoding, source.member) as stream:
        _skip(stream, position)
        carry = b""
        # The same memory each time: asking the system for more takes as long as reading does.
        room = mmap(-1, BATCH_BYTES)
        view = memoryview(room)
        while size := stream.readinto(room):
            begin = 0
            if position == 0 and not carry and bytes(view[: min(3, size)]) == b"\xef\xbb\xbf":
                begin = position = 3
            cut = room.rfind(b"\n", begin, size) + 1
            if cut:
                block, carry = b"".join([carry, view[begin:cut]]), bytes(view[cut:size])
            else:
                data = carry + view[begin:size]
                # There may be ends of lines in what was read behind a line that was passed over.
                cut = data.rfind(b"\n") + 1
                block, carry = data[:cut], data[cut:]
            if not block and len(carry) > MAX_LINE:
                carry, batch = _overlong(source, stream, carry, position, line + 1)
                position, line = batch.position, batch.line
                yield batch
            elif block:
                table = bulk.read(block) if bulk is not None else None
                if table is None:
                    batch = _parse_lines(source, block, position, line)
                    count = len(batch.lines) + len(batch.rejects) + batch.blank
                else:
                    by_row = partial(_parse_lines, source, block, position, line)
                    batch, count = Batch(size=len(block), table=table, by_row=by_row), table.num_rows
                position, line = position + len(block), line + count
                batch.position, batch.line, batch.share = position, line, share_of(source, position)
                yield batch
        if carry:
            table = bulk.read(carry + b"\n", last=True) if bulk is not None else None
            by_row = partial(_parse_lines, source, carry, position, line)
            batch = by_row() if table is None else Batch(size=len(carry), table=table, by_row=by_row)
            batch.position, batch.line, batch.share = position + len(carry), line + 1, 1.0
            yield batch


class _Bulk:
    """Reads blocks of one file as tables, by the one or the other way."""

    def __init__(self, turns: Mapping[str, TurnFields]) -> None:
        self._turns = turns
        self._known: dict[str, Type] = {}
        self._conversations = ConversationBlocks(turns, parse_object)

    def read(self, data: bytes, *, last: bool = False) -> pa.Table | None:
        """The lines of a block as a table; none where they are to be read by line."""
        # Where a block of the file was a table, its last lines are one too.
        enough = self._known or (len(data) >= json_tables.BULK_BYTES and not last)
        if not enough or len(data) > MAX_LINE:
            return None
        length = _line_length(data)
        table = self._conversations.read(data, self._known) if length >= _COPIED_LINE else None
        if table is not None or length >= _LONG_LINE:
            return table
        return read_table(data, self._known, parse_object, self._turns)


def _line_length(data: bytes) -> float:
    """About how many bytes a line has, by the first of a block."""
    head = min(len(data), _LOOKED_AT)
    return head / max(1, data.count(b"\n", 0, head))


def _skip(stream: IO[bytes], position: int) -> None:
    if position and stream.seekable():
        stream.seek(position)
    else:
        while position > 0 and (part := stream.read(min(position, BATCH_BYTES))):
            position -= len(part)


def _overlong(source: Source, stream: IO[bytes], data: bytes, position: int, line: int) -> tuple[bytes, Batch]:
    """Pass over a line that does not fit into memory; returns what was read behind it."""
    length, rest, kept = len(data), b"", data[:KEPT_RAW]
    while chunk := stream.read(BATCH_BYTES):
        end = chunk.find(b"\n")
        if end >= 0:
            length += end
            rest = chunk[end + 1 :]
            break
        length += len(chunk)
    reason = f"the line has {length:,} bytes, more than {MAX_LINE:,}"
    rejected = [Reject(str(source.path), line, position, length, reason, kept)]
    after = position + length + 1
    return rest, Batch(rejects=rejected, position=after, line=line, share=share_of(source, after))


def _parse_lines(source: Source, data: bytes, offset: int, line: int) -> Batch:
    whole = _parse_at_once(data)
    if whole is not None:
        return Batch(whole, list(range(line + 1, line + 1 + len(whole))), size=len(data))
    batch = Batch(size=len(data))
    lines = data.removesuffix(b"\n").split(b"\n")
    # Numbers of 19 digits may not fit into 64 bits, which only the slow parser keeps whole.
    long_numbers = has_long_number(data)
    for number, raw in enumerate(lines, line + 1):
        if len(raw) > MAX_LINE:
            reason = f"the line has {len(raw):,} bytes, more than {MAX_LINE:,}"
            batch.rejects.append(Reject(str(source.path), number, offset, len(raw), reason, raw[:KEPT_RAW]))
        elif not raw or raw.isspace():
            batch.blank += 1
        else:
            try:
                row = parse_object(raw, long_numbers=long_numbers)
            except ValueError as error:
                batch.rejects.append(Reject(str(source.path), number, offset, len(raw), str(error), raw[:KEPT_RAW]))
            else:
                batch.rows.append(row)
                batch.lines.append(number)
        offset += len(raw) + 1
    return batch


def _parse_at_once(data: bytes) -> list[Row] | None:
    """The objects of a block, which ends with a line; none where a line has to be looked at by itself.

    What the reading of each line looks for is looked for in all of them at once.
    """
    signs = np.frombuffer(data, np.uint8)
    if data[-1:] != b"\n" or len(data) > MAX_LINE or _has_long_number(signs) or _has_written_quote(signs):
        return None
    view, begin, rows = memoryview(data), 0, []
    try:
        for end in np.flatnonzero(signs == _LINE_END).tolist():
            rows.append(orjson.loads(view[begin:end]))
            begin = end + 1
        written = orjson.dumps(rows)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    same = set(map(type, rows)) == {dict} and _quotes(np.frombuffer(written, np.uint8)) == _quotes(signs)
    return rows if same else None


def _pieces(signs: npt.NDArray[np.uint8], more: int = 0) -> Iterator[npt.NDArray[np.uint8]]:
    """Bytes in pieces that stay in the processor's cache, each with some ``more`` of the next one."""
    return (signs[begin : begin + _PIECE + more] for begin in range(0, len(signs), _PIECE))


def _quotes(signs: npt.NDArray[np.uint8]) -> int:
    return sum(int(np.count_nonzero(piece == _QUOTE)) for piece in _pieces(signs))


def _has_long_number(signs: npt.NDArray[np.uint8]) -> bool:
    """As :func:`has_long_number`, of many bytes: a run of 19 digits fills a word of eight bytes wherever it begins."""
    words = signs[: len(signs) // 8 * 8]
    digits = any(((piece.view(np.uint64) & _TENS) == _ZEROS).any() for piece in _pieces(words))
    return digits and has_long_number(signs.tobytes())


def _has_written_quote(signs: npt.NDArray[np.uint8]) -> bool:
    """Whether a quote is written as its number, beside which counting quotes tells nothing."""
    numbers = any(((p[:-1] == _BACKSLASH) & (p[1:] == _U)).any() for p in _pieces(signs, 1))
    return numbers and _WRITTEN_QUOTE in signs.tobytes()


def turns_row(value: Any) -> Row:
    """An object as a row; a list of turns as one conversation.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        for name, keys in (("messages", {"role", "content"}), ("conversations", {"from", "value"})):
            if keys <= set(value[0]):
                return {name: value}
    raise ValueError(f"it is {type(value).__name__}, not an object")


def parse_object(raw: bytes, *, long_numbers: bool = True) -> Row:
    """One JSON object, checked for what parsers pass over: repeated keys and deep nesting; ValueError says why not."""
    try:
        row = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValueError(json_reason(error)) from None
    # Keys and texts have two quotes each: fewer after writing it again means that a key was dropped.
    try:
        written = orjson.dumps(row)
    except orjson.JSONEncodeError:
        raise ValueError("lists and objects are nested deeper than 254") from None
    odd = written.count(b'"') != raw.count(b'"') or _WRITTEN_QUOTE in raw
    if odd or (long_numbers and has_long_number(raw)):
        row = _parse_slowly(raw)
    return turns_row(row)


def _parse_slowly(raw: bytes) -> Any:
    import json

    def pairs(items: list[tuple[str, Any]]) -> Row:
        made = dict(items)
        if len(made) != len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the key {twice!r} occurs twice in one object")
        return made

    try:
        return json.loads(raw, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("lists and objects are nested too deep") from None
