"""Blocks of JSON Lines with long conversations: the conversations are copied as they stand, and not taken apart.

Where the quotes of a block stand says where its texts begin and end. Where what stands between the texts of a conversation
is what stands between those of plain turns, the texts are JSON that is known to be right, and become the conversation's
canonical JSON as they are. What is left of each line, which is short, is read with a number in the conversation's place as
lines are otherwise. The reading by line is the measure: of a block that holds anything else there is no table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from llmops_tui.datasets.arrow_arrays import number_array
from llmops_tui.datasets.arrow_tables import JSON_TEXT
from llmops_tui.datasets.records import Row, Type
from llmops_tui.datasets.sources.base import TurnFields
from llmops_tui.datasets.sources.json_tables import is_unicode, read_table

if TYPE_CHECKING:
    import pyarrow as pa

Places = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_QUOTE, _BACKSLASH, _SPACE = b'"\\ '
_LINE_END, _OPENED, _WRITTEN_LINE_END = b"\n{n"
# What may stand behind a backslash, and what of it is not written so in canonical JSON.
_ESCAPED = np.isin(np.arange(256), np.frombuffer(b'"\\/bfnrtu', np.uint8))
_REWRITTEN = np.isin(np.arange(256), np.frombuffer(b"/u", np.uint8))
# Bytes that stay in the processor's cache.
_PIECE, _MASKED = 1 << 20, 1 << 17
_NOWHERE: Places = np.zeros(0, np.int64)
_WORD = 8
_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(_WORD + 1)], np.uint64)
_CLOSED = np.uint64(int.from_bytes(b"}]", "little"))
_TWO_BYTES = np.uint64(0xFFFF)
# A key and its text, and another one.
_STRINGS_PER_TURN = 4
_PLACEHOLDER = b"1"
# What stands between the texts of a conversation in canonical JSON.
_CONSTANTS = (b',{"role":"', b'[{"role":"', b'","content":"', b'"}', b'"}]')


class _Constant(IntEnum):
    """The number of each constant."""

    TURN, FIRST, BETWEEN, END, LAST = range(len(_CONSTANTS))


class _Style(NamedTuple):
    """What a program writes between texts: behind a key, behind a text, between turns, and before the first of them."""

    key: bytes
    text: bytes
    turn: bytes
    first: bytes


_STYLES = (_Style(b": ", b", ", b"}, {", b": [{"), _Style(b":", b",", b"},{", b":[{"))


class _Texts:
    """The texts of some lines, from quote to quote.

    Attributes:
        data: the lines, and the constant pieces behind them.
        size: how many bytes the lines have.
        signs: their bytes.
        opened: where each text has its first quote.
        closed: where it has its last one.
        rewritten: the texts in which something stands that canonical JSON writes otherwise.
        behind: the first eight bytes between each text and the next.
    """

    def __init__(self, data: bytes, size: int, quotes: Places, rewritten: Places) -> None:
        self.data = data
        self.size = size
        self.signs = np.frombuffer(data, np.uint8, size)
        self.opened, self.closed = quotes[::2], quotes[1::2]
        self.rewritten = np.unique(np.searchsorted(self.opened, rewritten) - 1)
        # What stands behind the lines is longer than a word.
        self._words = np.ndarray((size,), "<u8", data, strides=(1,))
        width = np.minimum(np.append(self.opened[1:], size) - self.closed - 1, _WORD)
        self.behind: Words = self._words[self.closed + 1] & _MASKS[width]

    def are(self, numbers: Places, text: bytes) -> npt.NDArray[np.bool_]:
        """Which of these texts are this one, as it stands in JSON without escapes."""
        begin = self.opened[numbers] + 1
        same: npt.NDArray[np.bool_] = self.closed[numbers] - begin == len(text)
        for at in range(0, len(text), _WORD):
            word = text[at : at + _WORD]
            same &= (self._words[np.minimum(begin + at, self.size - 1)] & _MASKS[len(word)]) == _word(word)
        return same


class _Conversations(NamedTuple):
    """Where the conversations of a block are: of each, its number of turns, its first sign and the one behind its last.

    ``roles`` and ``contents`` are the numbers of the texts of all turns.
    """

    turns: Places
    begin: Places
    end: Places
    roles: Places
    contents: Places


class ConversationBlocks:
    """Reads the blocks of one file, until one has to be read otherwise."""

    def __init__(self, turns: Mapping[str, TurnFields], parse: Callable[[bytes], Row]) -> None:
        self._turns = turns
        self._parse = parse

    def read(self, data: bytes, known: dict[str, Type]) -> pa.Table | None:
        """The lines of a block, which ends with a line, as a table; none where they are to be read by line, as all later ones.

        A column of conversations holds their canonical JSON, with role and content in this order. ``known`` is as
        :func:`read_table` has it.
        """
        for name, fields in self._turns.items():
            table = self._table(data, known, name, fields)
            if table is not None:
                return table
        # A file of which a block is otherwise has more of them: looking at each twice would take longer than it gains.
        self._turns = {}
        return None

    def _table(self, data: bytes, known: dict[str, Type], name: str, fields: TurnFields) -> pa.Table | None:
        columns: list[pa.Array] = []
        lines: list[bytes | memoryview] = []
        for some in _in_cache(data):
            texts = _texts_of(some)
            if texts is None or not is_unicode(texts.data):
                return None
            found = _conversations(texts, name, fields)
            column = _canonical(texts, found, fields) if found is not None else None
            if found is None or column is None:
                return None
            columns.append(column)
            lines += _without(some, found)
        # A number stands there in the place of each.
        rest = {column: kind for column, kind in known.items() if column != name}
        table = read_table(b"".join(lines), rest, self._parse)
        if table is None or fields.beside & set(table.column_names):
            return None
        if str(table[name].type) != "int64" or table[name].null_count:
            return None
        known.update(rest | {name: "json"})
        import pyarrow as pa

        at = table.column_names.index(name)
        return table.set_column(at, pa.field(name, pa.string(), metadata=JSON_TEXT), pa.chunked_array(columns))


def _in_cache(data: bytes) -> Iterator[memoryview]:
    """The lines of a block in pieces of as much as stays in the processor's cache, where lines are not longer."""
    view, begin = memoryview(data), 0
    while begin < len(data):
        end = data.rfind(b"\n", begin, begin + _PIECE) + 1 or data.find(b"\n", begin + _PIECE) + 1
        yield view[begin:end]
        begin = end


def _texts_of(lines: memoryview) -> _Texts | None:
    """The texts of some lines; none where something stands behind a backslash that cannot."""
    signs = np.frombuffer(lines, np.uint8)
    quotes, plain = _quotes(signs)
    rewritten = _NOWHERE
    if not plain:
        escapes = _escapes(np.flatnonzero(signs == _BACKSLASH))
        meant = signs[escapes + 1]
        if not _ESCAPED[meant].all():
            return None
        hidden = escapes[meant == _QUOTE] + 1
        quotes = np.delete(quotes, np.searchsorted(quotes, hidden))
        rewritten = escapes[_REWRITTEN[meant]]
    if len(quotes) % 2 or not len(quotes):
        return None
    return _Texts(b"".join([lines, *_CONSTANTS]), len(lines), quotes, rewritten)


def _quotes(signs: npt.NDArray[np.uint8]) -> tuple[Places, bool]:
    """Where quotes are, and whether there is nothing but an end of a line behind each backslash, as in most texts.

    Pieces are so small that all that is made of one stays in the cache.
    """
    room = np.empty((2, _MASKED), np.bool_)
    found: list[Places] = []
    plain = True
    for begin in range(0, len(signs), _MASKED):
        piece = signs[begin : begin + _MASKED]
        places = np.flatnonzero(np.equal(piece, _QUOTE, out=room[0, : len(piece)]))
        places += begin
        found.append(places)
        escaping = np.equal(piece, _BACKSLASH, out=room[0, : len(piece)])
        if plain and (count := np.count_nonzero(escaping)):
            behind = signs[begin + 1 : begin + 1 + _MASKED]
            ends = np.equal(behind, _WRITTEN_LINE_END, out=room[1, : len(behind)])
            ends &= escaping[: len(behind)]
            plain = count == np.count_nonzero(ends)
    return np.concatenate(found), plain


def _escapes(backslashes: Places) -> Places:
    """The backslashes that give the sign behind them a meaning: the first, third and so on of those in a row."""
    follows = np.diff(backslashes) == 1
    if not follows.any():
        return backslashes
    numbers = np.arange(len(backslashes))
    first = np.maximum.accumulate(np.where(np.concatenate([[True], ~follows]), numbers, 0))
    meant: Places = backslashes[(numbers - first) % 2 == 0]
    return meant


def _conversations(texts: _Texts, name: str, fields: TurnFields) -> _Conversations | None:
    """Where the conversations are, one in each line, of turns of the two fields alone; none where it is not so everywhere."""
    signs, opened, closed, behind = texts.signs, texts.opened, texts.closed, texts.behind
    first_texts = np.flatnonzero(signs[opened - 1] == _OPENED)
    # The first of all has what stands last in its place before it, which is the end of a line too.
    first_texts = first_texts[signs[opened[first_texts] - 2] == _LINE_END]
    lines = len(first_texts)
    # There is no other control character: one in a text is refused, and those between texts are left to the other ways.
    if opened[0] != 1 or np.count_nonzero(signs < _SPACE) != lines:
        return None
    for style in _STYLES:
        keys = np.flatnonzero(behind == _word(style.first))
        keys = keys[texts.are(keys, name.encode())]
        if len(keys) == lines:
            break
    else:
        return None
    lasts = np.flatnonzero((behind & _TWO_BYTES) == _CLOSED)
    ends = np.searchsorted(lasts, keys, "right")
    if (np.searchsorted(first_texts, keys, "right") != np.arange(1, lines + 1)).any() or (ends == len(lasts)).any():
        return None
    last = lasts[ends]
    turns, odd = np.divmod(last - keys, _STRINGS_PER_TURN)
    if odd.any():
        return None
    after = np.cumsum(turns)
    # The first text of each turn.
    at = np.repeat(keys + 1 - _STRINGS_PER_TURN * (after - turns), turns) + _STRINGS_PER_TURN * np.arange(after[-1])
    key, text = _word(style.key), _word(style.text)
    inside = (behind[at] == key) & (behind[at + 1] == text) & (behind[at + 2] == key)
    if not inside.all() or (np.delete(behind[at + 3], after - 1) != _word(style.turn)).any():
        return None
    begin, end = closed[keys] + 1 + len(style.key), closed[last] + len(b'"}]')
    who, what = fields.who.encode(), fields.what.encode()
    if texts.are(at, who).all() and texts.are(at + 2, what).all():
        return _Conversations(turns, begin, end, at + 1, at + 3)
    if texts.are(at, what).all() and texts.are(at + 2, who).all():
        return _Conversations(turns, begin, end, at + 3, at + 1)
    return None


def _canonical(texts: _Texts, found: _Conversations, fields: TurnFields) -> pa.Array | None:
    """The conversations as canonical JSON; none where a text in them is none, or a role has to be looked at."""
    import pyarrow as pa

    pieces = _Pieces(texts)
    roles = _roles(pieces, texts, found.roles, fields) if fields.roles else pieces.canonical(found.roles)
    contents = pieces.canonical(found.contents)
    if roles is None or contents is None:
        return None
    ends = np.cumsum(found.turns)
    chosen = np.empty((len(roles), 5), np.int64)
    chosen[:, 0] = pieces.constant(_Constant.TURN)
    chosen[ends - found.turns, 0] = pieces.constant(_Constant.FIRST)
    chosen[:, 1] = roles
    chosen[:, 2] = pieces.constant(_Constant.BETWEEN)
    chosen[:, 3] = contents
    chosen[:, 4] = pieces.constant(_Constant.END)
    chosen[ends - 1, 4] = pieces.constant(_Constant.LAST)
    joined = pieces.array().take(number_array(chosen.reshape(-1)))
    _, places, data = joined.buffers()
    # Each row is what begins where its first piece does: the pieces stand one behind another.
    wanted = np.frombuffer(places, "<i4", len(joined) + 1)[np.concatenate([[0], ends * 5])]
    return pa.Array.from_buffers(pa.string(), len(ends), [None, pa.py_buffer(wanted), data])


class _Pieces:
    """The texts of some lines, the constants and further texts by number, of which others are put together."""

    def __init__(self, texts: _Texts) -> None:
        self._texts = texts
        self._more: list[bytes] = []
        # Each second piece is what stands behind a text.
        self._first = 2 * len(texts.opened)

    def constant(self, which: _Constant) -> int:
        """The number of a constant."""
        return self._first + which

    def add(self, more: bytes) -> int:
        """Another piece; returns its number."""
        self._more.append(more)
        return self._first + len(_CONSTANTS) + len(self._more) - 1

    def canonical(self, numbers: Places) -> Places | None:
        """The numbers of these texts as canonical JSON has them, without their quotes; none where one of them is no text."""
        made = 2 * numbers
        texts = self._texts
        odd = np.flatnonzero(np.isin(numbers, texts.rewritten)) if len(texts.rewritten) else texts.rewritten
        for at in odd.tolist():
            number = numbers[at]
            try:
                text = orjson.loads(texts.data[texts.opened[number] : texts.closed[number] + 1])
            except orjson.JSONDecodeError:
                return None
            made[at] = self.add(orjson.dumps(text)[1:-1])
        return made

    def array(self) -> pa.Array:
        """All of them."""
        import pyarrow as pa

        texts, more = self._texts, [*_CONSTANTS, *self._more]
        places = np.empty(self._first + len(more) + 1, np.int32)
        places[0 : self._first : 2] = texts.opened + 1
        places[1 : self._first : 2] = texts.closed
        places[self._first :] = texts.size + np.cumsum([0, *map(len, more)])
        data = b"".join([texts.data, *self._more]) if self._more else texts.data
        return pa.Array.from_buffers(pa.binary(), len(places) - 1, [None, pa.py_buffer(places), pa.py_buffer(data)])


def _roles(pieces: _Pieces, texts: _Texts, roles: Places, fields: TurnFields) -> Places | None:
    """The numbers of what roles become; none where one has to be looked at."""
    # A letter can be written as its number.
    if np.isin(roles, texts.rewritten).any() or any(texts.are(roles, role.encode()).any() for role in fields.refused):
        return None
    made, left = 2 * roles, len(roles)
    for role, becomes in fields.roles.items():
        same = texts.are(roles, role.encode())
        made[same] = pieces.add(becomes.encode())
        left -= int(np.count_nonzero(same))
        if not left:
            break
    return made


def _without(lines: memoryview, found: _Conversations) -> Iterator[bytes | memoryview]:
    """The lines with a number in the place of each conversation, in pieces."""
    begin = 0
    for cut, end in zip(found.begin.tolist(), found.end.tolist(), strict=True):
        yield lines[begin:cut]
        yield _PLACEHOLDER
        begin = end
    yield lines[begin:]


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))
