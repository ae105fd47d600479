"""Arrays of Arrow made of texts and numbers, and numbers of these; texts joined: without what pyarrow does with values of Python.

It asks of each of those whether it is one of pandas, and loads pandas for that wherever it is installed, which takes as
long as an import of some megabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

_LARGEST = 2**31 - 1
_KINDS = {"int64": np.int64, "double": np.float64, "bool": np.bool_}
_STORED = {"int64": "<i8", "int32": "<i4", "double": "<f8"}


def text_array(values: Sequence[str | None]) -> pa.Array:
    """Texts as an array, or as several where they are more than two gigabytes."""
    import pyarrow as pa

    texts = [b"" if text is None else text.encode() for text in values]
    places = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=places[1:])
    if places[-1] > _LARGEST:
        return pa.array(values, pa.string())
    there = _bits(np.array([text is not None for text in values])) if None in values else None
    buffers = [there, pa.py_buffer(places.astype(np.int32)), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def number_array(values: npt.NDArray[Any]) -> pa.Array:
    """Integers, numbers or truth values as an array, without those that are masked; NaN is a number."""
    import pyarrow as pa

    data = np.ascontiguousarray(np.ma.getdata(values))
    kind = {"i": pa.int64(), "f": pa.float64(), "b": pa.bool_()}[data.dtype.kind]
    there = _bits(~np.ma.getmaskarray(values)) if np.ma.is_masked(values) else None
    buffer = _bits(data) if data.dtype.kind == "b" else pa.py_buffer(data)
    return pa.Array.from_buffers(kind, len(data), [there, buffer])


def numbers_of(values: pa.Array) -> npt.NDArray[Any]:
    """Integers, numbers or truth values as numpy has them; anything where there is none. pyarrow's own way loads pandas."""
    buffer = values.buffers()[1]
    if not len(values):
        return np.zeros(0, _KINDS.get(str(values.type), np.int64))
    if str(values.type) == "bool":
        return _of_bits(buffer, values)
    size = np.dtype(_STORED[str(values.type)])
    return np.frombuffer(buffer, size, len(values), values.offset * size.itemsize)


def are_there(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Which places of an array have a value."""
    buffer = values.buffers()[0] if values.null_count else None
    return np.ones(len(values), np.bool_) if buffer is None else _of_bits(buffer, values)


def _of_bits(buffer: pa.Buffer, values: pa.Array) -> npt.NDArray[np.bool_]:
    begin, end = values.offset, values.offset + len(values)
    return np.unpackbits(np.frombuffer(buffer, np.uint8), count=end, bitorder="little")[begin:].view(np.bool_)


def filled(values: pa.Array) -> pa.Array:
    """An array with an empty text, zero or false where there is no value."""
    if not values.null_count:
        return values
    kind = str(values.type)
    return values.fill_null((number_array(np.zeros(1, _KINDS[kind])) if kind in _KINDS else text_array([""]))[0])


def joined(*pieces: pa.Array | str) -> pa.Array:
    """Texts one behind another, of which some are the same in each row; none where one of them is none."""
    import pyarrow.compute as pc

    made: list[Any] = [text_array([piece])[0] if isinstance(piece, str) else piece for piece in pieces]
    return pc.binary_join_element_wise(*made, text_array([""])[0])


def _bits(values: npt.NDArray[Any]) -> pa.Buffer:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(values, bitorder="little"))
