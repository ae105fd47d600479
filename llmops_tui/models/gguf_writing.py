"""Writes GGUF files, version 3: facts and tensors, always the same bytes for the same content.

The layout is that of ggml's ``docs/gguf.md``: little-endian, tensors at multiples of 32 bytes. Only what is asked for here
is written: no library that may change its mind about the order of facts comes between a pinned hash and a file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Fact = bool | int | float | str | Sequence[str] | Sequence[int]
_ALIGNMENT = 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_TENSOR_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}


def write_gguf(target: Path, facts: Mapping[str, Fact], tensors: Mapping[str, npt.NDArray[np.generic]]) -> Path:
    """Write a file of facts, in their order, and of tensors of 32 or 16 bits, with numpy's order of dimensions."""
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(facts))]
    head += [_text(name) + _fact(value) for name, value in facts.items()]
    at = 0
    for name, values in tensors.items():
        shape = values.shape[::-1]
        head.append(_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        head.append(struct.pack("<IQ", _TENSOR_TYPES[values.dtype], at))
        at += _padded(values.nbytes)
    begun = b"".join(head)
    with target.open("wb") as file:
        file.write(begun.ljust(_padded(len(begun)), b"\0"))
        for values in tensors.values():
            file.write(np.ascontiguousarray(values).tobytes().ljust(_padded(values.nbytes), b"\0"))
    target.chmod(0o600)
    return target


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _fact(value: Fact) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    kind = _STRING if value and isinstance(value[0], str) else _INT32
    items = [_text(item) if isinstance(item, str) else struct.pack("<i", item) for item in value]
    return struct.pack("<IIQ", _ARRAY, kind, len(value)) + b"".join(items)
