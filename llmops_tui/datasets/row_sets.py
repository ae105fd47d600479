"""Many rows of a version as a short text, for a recipe: a bit a row, compressed."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmops_tui.errors import InputRefusedError


def encode_rows(numbers: Sequence[int], total: int) -> str:
    """The numbers of some of ``total`` rows as a text."""
    chosen = np.zeros(total, np.bool_)
    chosen[np.asarray(numbers, np.int64)] = True
    return base64.b64encode(zlib.compress(np.packbits(chosen).tobytes(), 9)).decode()


def decode_rows(text: str, total: int) -> npt.NDArray[np.bool_]:
    """Which of ``total`` rows a text says.

    Raises:
        InputRefusedError: ``bad_rows``: it is not such a text, or one of another number of rows.
    """
    size = -(-total // 8)
    reader = zlib.decompressobj()
    try:
        packed = reader.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, zlib.error, ValueError):
        packed = b""
    if len(packed) != size or not reader.eof or reader.unused_data:
        raise InputRefusedError("bad_rows", f"rows is not a set of {total:,} rows", "Filter by an expression instead.")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=total).astype(np.bool_)
