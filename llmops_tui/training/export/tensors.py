"""Tensors of safetensors files as NumPy arrays, one at a time, without torch; and written back."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json
from llmops_tui.models.safetensors import read_tensors
from llmops_tui.training.families import Array

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1"}
# The types that are written, by torch's names for them.
TORCH_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def read(file: Path, name: str) -> Array:
    """One tensor as 32-bit floats, in its shape.

    Raises:
        InputRefusedError: its type cannot be read as numbers.
    """
    with file.open("rb") as stream:
        length = struct.unpack("<Q", stream.read(8))[0]
        facts = parse_json(stream.read(length))[name]
        begin, end = facts["data_offsets"]
        stream.seek(8 + length + begin)
        raw = stream.read(end - begin)
    kind, shape = facts["dtype"], facts["shape"]
    if kind == "BF16":
        # The upper half of a 32-bit float.
        wide = np.frombuffer(raw, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if kind not in _TYPES:
        raise InputRefusedError(
            "unknown_type", f"{file.name}: tensor {name} is of the type {kind}, which is not supported"
        )
    return np.frombuffer(raw, _TYPES[kind]).astype(np.float32).reshape(shape)


def read_all(folder: Path) -> Iterator[tuple[str, Array]]:
    """All tensors of a folder's safetensors files, by name, one in memory at a time."""
    for file in sorted(folder.glob("*.safetensors")):
        for name in read_tensors(file):
            yield name, read(file, name)


def to_bf16(values: Array) -> Array:
    """32-bit floats rounded to the nearest bfloat16, ties to even, as 16-bit words."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    words = (rounded >> 16).astype("<u2")
    words[np.isnan(values)] = 0x7FC0
    return words


def write(
    file: Path, shapes: Iterable[tuple[str, tuple[int, ...]]], values: Iterator[Array], kind: str = "BF16"
) -> None:
    """Write a safetensors file of one type, ``F32``, ``F16`` or ``BF16``.

    ``values``, in 32 bits, come one by one in the order of ``shapes``, which gives their names.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at, width = 0, 4 if kind == "F32" else 2
    for name, shape in shapes:
        size = width * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(raw)) + raw)
        for value in values:
            whole = to_bf16(value) if kind == "BF16" else np.ascontiguousarray(value, _TYPES[kind])
            stream.write(whole.tobytes())
