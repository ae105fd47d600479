"""Texts, lists of texts and conversations in arrays of Arrow, written as JSON all at once, as each would be by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import orjson

from llmops_tui.datasets.arrow_arrays import filled, joined, text_array

if TYPE_CHECKING:
    import pyarrow as pa

# The backslash is the first, since the others have one; other control characters have no short sign.
_ESCAPES = {
    b"\\": b"\\\\", b'"': b'\\"', b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t", b"\b": b"\\b", b"\f": b"\\f",
}  # fmt: skip


def escaped(values: pa.Array) -> pa.Array:
    """Texts as they stand between the quotes of JSON."""
    import pyarrow as pa
    import pyarrow.compute as pc

    data = codes(values)
    if not _has_odd(data):
        return values
    places = _places(values)
    places = places - places[0]
    text, moved, controls = bytes(data), np.zeros(len(places), np.int64), 0
    for sign in [sign for sign in _ESCAPES if sign in text]:
        at = np.flatnonzero(data == ord(sign))
        # All at once; each text begins as many bytes later as there are such signs before it.
        text = text.replace(sign, _ESCAPES[sign])
        moved += np.searchsorted(at, places)
        controls += len(at) if sign < b" " else 0
    if controls < np.count_nonzero(data < ord(" ")):
        return _each_escaped(values)
    fresh = _of_bytes(text, places + moved, values.type)
    return pc.if_else(values.is_valid(), fresh, pa.nulls(1, values.type)[0]) if values.null_count else fresh


def _each_escaped(values: pa.Array) -> pa.Array:
    """The same, of texts with control characters that have no short sign."""
    made = [None if text is None else orjson.dumps(text)[1:-1].decode() for text in values.to_pylist()]
    return text_array(made).cast(values.type)


def has_escaped(values: pa.Array) -> bool:
    """Whether any text has a sign that cannot stand in a text of JSON as it is."""
    return _has_odd(codes(values))


def _has_odd(data: npt.NDArray[np.uint8]) -> bool:
    # Control characters, quotes and backslashes.
    return bool(len(data)) and bool(data.min() < 32 or (data == 34).any() or (data == 92).any())


def _of_bytes(text: bytes, places: npt.NDArray[np.int64], kind: pa.DataType) -> pa.Array:
    """An array of texts that stand one behind another."""
    import pyarrow as pa

    size = "<i8" if str(kind) == "large_string" else "<i4"
    buffers = [None, pa.py_buffer(places.astype(size).data), pa.py_buffer(text)]
    return pa.Array.from_buffers(kind, len(places) - 1, buffers)


def list_texts(values: pa.Array) -> pa.Array | None:
    """Lists of texts as JSON; none where one of the texts is missing."""
    inner = values.flatten()
    if inner.null_count:
        return None
    return _listed(values, joined('"', escaped(inner), '"'))


def conversation_texts(values: pa.Array, who: str, what: str, roles: Mapping[str, str]) -> pa.Array | None:
    """Lists of turns as JSON of messages: role, content, and at most one text more, in this order.

    ``who`` and ``what`` are the fields of a turn that become role and content, and ``roles`` what the first becomes. None
    where a list, a turn, a role or a content is missing, or the order of further fields is not known.
    """
    turns = values.flatten()
    names = [field.name for field in turns.type]
    more = [name for name in names if name not in {who, what}]
    if values.null_count or turns.null_count or not {who, what} <= set(names) or len(more) > 1:
        return None
    by, content = turns.field(who), turns.field(what)
    if by.null_count or content.null_count:
        return None
    if roles:
        told = by.dictionary_encode()
        known: list[Any] = [roles.get(name, name) for name in told.dictionary.to_pylist()]
        by = text_array(known).take(told.indices)
    pieces: list[Any] = ['{"role":"', escaped(by), '","content":"', escaped(content)]
    for name in more:
        extra = turns.field(name)
        begin = '","' + orjson.dumps(name).decode()[1:-1] + '":"'
        pieces.append(filled(joined(begin, escaped(extra))))
    return _listed(values, joined(*pieces, '"}'))


def _listed(values: pa.Array, items: pa.Array) -> pa.Array:
    """Lists with these items, as JSON."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = values.offsets
    places = pc.subtract(ends, ends[0])
    comma: Any = text_array([","])[0]
    made = joined("[", pc.binary_join(pa.ListArray.from_arrays(places, items), comma), "]")
    return pc.if_else(values.is_valid(), made, pa.nulls(1, pa.string())[0]) if values.null_count else made


def codes(values: pa.Array) -> npt.NDArray[np.uint8]:
    """The bytes of all texts as numbers."""
    return np.frombuffer(bytes_of(values), np.uint8)


def bytes_of(values: pa.Array) -> memoryview:
    """The bytes of all texts, one behind another."""
    texts, places = values.buffers()[2], _places(values)
    return memoryview(texts if texts is not None else b"")[places[0] : places[-1]]


def _places(values: pa.Array) -> npt.NDArray[Any]:
    """Where each text begins, and the last one ends."""
    size = np.dtype("<i8" if str(values.type) == "large_string" else "<i4")
    return np.frombuffer(values.buffers()[1], size, len(values) + 1, values.offset * size.itemsize)
