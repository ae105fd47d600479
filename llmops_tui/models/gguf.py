"""Read a GGUF header in pure Python, with every count and offset checked, before native code sees the file.

The layout is that of the GGUF specification, versions 2 and 3, little endian.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.models.gguf_header import GgufHeader, names_no_model
from llmops_tui.models.header_limits import exceeded_limit
from llmops_tui.models.plain_file import check_plain_file

_MAGIC = b"GGUF"
_MAX_TENSORS = 200_000
_MAX_PAIRS = 20_000
_MAX_STRING = 16 * 1024 * 1024
_MAX_ARRAY = 20_000_000
_MAX_DIMENSIONS = 4
_MAX_KEY = 65_535
# The bytes of the shortest entry: a length, a name of one byte, and what is said of it.
_LEAST_TENSOR, _LEAST_PAIR = 33, 14
# Of arrays only the length and the first items are kept; those of numbers may say something of each layer.
_KEPT_ITEMS = 4
_KEPT_NUMBERS = 1024
_LAYER = re.compile(r"blk\.(\d+)\.")
_EXPERT = re.compile(r"blk\.(\d+)\.ffn_(up|down|gate|gate_up)_(ch|)exps")

_SCALARS: dict[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")

# ggml type -> (values a block, bytes a block), from ggml's type table.
_BLOCKS: dict[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


class _Reader:
    """A cursor over the mapped file that never reads past its end."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data = data
        self.path = path
        self.offset = 0

    def take(self, count: int, what: str) -> bytes:
        if count < 0 or self.offset + count > len(self.data):
            raise refuse(self.path, f"it ends inside {what} at byte {self.offset:,}")
        part = self.data[self.offset : self.offset + count]
        self.offset += count
        return part

    def number(self, form: str, what: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def string(self, what: str, limit: int = _MAX_STRING) -> str:
        length = int(self.number("<Q", what))
        if length > limit:
            raise refuse(self.path, f"{what} claims {length:,} bytes")
        return self.take(length, what).decode("utf-8", "replace")

    def strings(self, count: int, what: str, keep: int) -> list[str]:
        """So many strings, of which the first are kept; of a vocabulary often only its size is of interest."""
        offset, end = self.offset, len(self.data) - 8
        found: list[str] = []
        for _ in range(count):
            if offset > end:
                break
            (length,) = _LENGTH.unpack_from(self.data, offset)
            if length > _MAX_STRING:
                raise refuse(self.path, f"{what} claims {length:,} bytes")
            offset += 8 + length
            if len(found) < keep:
                found.append(self.data[offset - length : offset].decode("utf-8", "replace"))
        else:
            self.offset = offset
        if self.offset != offset or offset > len(self.data):
            raise refuse(self.path, f"it ends inside {what} at byte {offset:,}")
        return found


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor lies: its shape, rows first, ggml's number of its type, and its bytes in the file."""

    shape: tuple[int, ...]
    kind: int
    offset: int
    length: int


@dataclass(frozen=True)
class GgufContents:
    """All that a file says, its whole arrays with it, and where its tensors are."""

    metadata: JsonObject
    tensors: dict[str, TensorPlace]


def refuse(path: Path, reason: str) -> InputRefusedError:
    """The error for a file that is damaged or not what it says it is."""
    return InputRefusedError(
        "gguf_damaged",
        f"{path} is not a valid GGUF file: {reason}",
        "Download or create the file again and compare its SHA-256.",
    )


def says_no_model(path: Path) -> bool:
    """Whether a GGUF file says that it is no model, from the beginning of its header alone; a damaged file does not.

    Raises:
        OSError: the file cannot be read.
    """
    found: dict[str, Any] = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data, path)
        with contextlib.suppress(InputRefusedError):
            reader.take(8, "the magic number and the version")
            reader.take(8, "the tensor count")
            for _ in range(int(reader.number("<Q", "the metadata count"))):
                key = reader.string("a metadata key", _MAX_KEY)
                if not key.startswith(("general.", "imatrix.")):
                    break
                found[key], _ = _value(reader, int(reader.number("<I", key)), key)
    return bool(names_no_model(found))


def read_header(path: Path) -> GgufHeader:
    """Read and check the header of a GGUF file.

    Raises:
        InputRefusedError: the file is missing, damaged, pickled, or of a kind this reader does not know.
    """
    check_plain_file(path)
    try:
        status = path.stat()
        return _read(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise InputRefusedError("model_unreadable", f"cannot read {path}: {error.strerror}") from error


@lru_cache(maxsize=64)
def _read(path: Path, state: tuple[int, ...]) -> GgufHeader:
    """One state of a file is read once: checks, plans and screens ask for the same header again and again."""
    if state[2] < 24:
        raise refuse(path, f"it has only {counted(state[2], 'byte')}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _parse(_Reader(data, path))


def read_contents(path: Path) -> GgufContents:
    """Read all metadata of a GGUF file, its vocabulary with them; the same is checked as of a header.

    Raises:
        InputRefusedError: as of :func:`read_header`.
    """
    read_header(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _, metadata, _, tensors = _read_all(_Reader(data, path), whole=True)
        return GgufContents(metadata, tensors)


def _parse(reader: _Reader) -> GgufHeader:
    version, metadata, lengths, tensors = _read_all(reader, whole=False)
    sizes = {name: tensor.length for name, tensor in tensors.items()}
    return GgufHeader(
        version=version,
        metadata=metadata,
        array_lengths=lengths,
        tensor_count=len(tensors),
        parameter_count=sum(math.prod(tensor.shape) for tensor in tensors.values()),
        tensor_bytes=sum(sizes.values()),
        size_bytes=len(reader.data),
        layer_bytes=_by_layer(sizes, _LAYER),
        expert_bytes=_by_layer(sizes, _EXPERT),
        embedding_bytes=sizes.get("token_embd.weight", 0),
        own_output_bytes=sum(size for name, size in sizes.items() if name.startswith("output")),
        has_output="output.weight" in sizes,
        has_classifier=any(name.startswith("cls.") for name in sizes),
        shapes={name: tensor.shape for name, tensor in tensors.items()},
    )


def _read_all(reader: _Reader, *, whole: bool) -> tuple[int, JsonObject, dict[str, int], dict[str, TensorPlace]]:
    """The version, metadata with the lengths of arrays, and tensors; of arrays the beginning, unless they are wanted whole."""
    path = reader.path
    magic = reader.take(4, "the magic number")
    if magic != _MAGIC:
        raise refuse(path, _describe_magic(magic))
    version = int(reader.number("<I", "the version"))
    if version not in {2, 3}:
        raise refuse(path, f"version {version} is not supported (2 and 3 are; big-endian files are not)")
    tensors = int(reader.number("<Q", "the tensor count"))
    pairs = int(reader.number("<Q", "the metadata count"))
    room = len(reader.data) - reader.offset
    if tensors > min(_MAX_TENSORS, room // _LEAST_TENSOR) or pairs > min(_MAX_PAIRS, room // _LEAST_PAIR):
        raise refuse(
            path,
            f"it claims {tensors:,} tensors and {pairs:,} metadata entries, in a file of {len(reader.data):,} bytes",
        )
    metadata: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    for _ in range(pairs):
        key = reader.string("a metadata key", _MAX_KEY)
        if key in metadata:
            raise refuse(path, f"the key {key[:80]!r} occurs twice")
        metadata[key], length = _value(reader, int(reader.number("<I", key)), key, whole=whole)
        if length is not None:
            lengths[key] = length
    # Of a model in several files the first alone says what it is.
    told = isinstance(metadata.get("general.architecture"), str) or bool(names_no_model(metadata))
    if not metadata.get("split.no") and not told:
        raise refuse(path, "it names no architecture")
    if wrong := exceeded_limit(metadata, str(metadata.get("general.architecture", "unknown"))):
        raise refuse(path, wrong)
    return version, metadata, lengths, _tensors(reader, tensors, metadata)


def _by_layer(sizes: dict[str, int], pattern: re.Pattern[str]) -> dict[int, int]:
    """Bytes of each layer's tensors whose names match."""
    layers: dict[int, int] = {}
    for name, size in sizes.items():
        if match := pattern.match(name):
            layers[int(match[1])] = layers.get(int(match[1]), 0) + size
    return layers


def _value(reader: _Reader, kind: int, key: str, *, whole: bool = False) -> tuple[Any, int | None]:
    """One value and, for an array, its length; of an array only the first items are kept, unless it is wanted whole."""
    if kind in _SCALARS:
        return reader.number(_SCALARS[kind], key), None
    if kind == _STRING:
        return reader.string(key), None
    if kind != _ARRAY:
        raise refuse(reader.path, f"{key[:80]!r} has the unknown type {kind}")
    item = int(reader.number("<I", key))
    count = int(reader.number("<Q", key))
    if count > min(_MAX_ARRAY, len(reader.data) - reader.offset):
        raise refuse(reader.path, f"{key[:80]!r} claims {count:,} items")
    if item in _SCALARS:
        width = struct.calcsize(_SCALARS[item])
        raw = reader.take(width * count, key)
        kept = count if whole else min(count, _KEPT_NUMBERS)
        return list(struct.unpack_from(f"<{kept}{_SCALARS[item][1]}", raw)), count
    if item != _STRING:
        raise refuse(reader.path, f"{key[:80]!r} is an array of type {item}")
    return reader.strings(count, key, count if whole else _KEPT_ITEMS), count


def _tensors(reader: _Reader, count: int, metadata: Mapping[str, object]) -> dict[str, TensorPlace]:
    """Check every tensor's name, shape, type and place."""
    places: dict[str, TensorPlace] = {}
    for _ in range(count):
        name = reader.string("a tensor name", 256)
        if name in places:
            raise refuse(reader.path, f"the tensor {name!r} occurs twice")
        dimensions = int(reader.number("<I", name))
        if not 0 < dimensions <= _MAX_DIMENSIONS:
            raise refuse(reader.path, f"the tensor {name!r} has {dimensions} dimensions")
        shape = [int(reader.number("<Q", name)) for _ in range(dimensions)]
        kind = int(reader.number("<I", name))
        offset = int(reader.number("<Q", name))
        if kind not in _BLOCKS:
            raise refuse(reader.path, f"the tensor {name!r} has the unknown type {kind}")
        values, width = _BLOCKS[kind]
        if min(shape) < 1 or shape[0] % values:
            raise refuse(reader.path, f"the tensor {name!r} has the impossible shape {shape}")
        places[name] = TensorPlace(tuple(reversed(shape)), kind, offset, math.prod(shape) // values * width)
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 65_536 or alignment & (alignment - 1):
        raise refuse(reader.path, f"its alignment is {alignment!r}")
    start = -(-reader.offset // alignment) * alignment
    for name, tensor in places.items():
        if tensor.offset % alignment or start + tensor.offset + tensor.length > len(reader.data):
            raise refuse(reader.path, f"the tensor {name!r} lies outside the file (it may be truncated)")
    return {name: replace(tensor, offset=start + tensor.offset) for name, tensor in places.items()}


def _describe_magic(magic: bytes) -> str:
    if magic[:2] == b"\x80\x02" or magic[:2] in {b"\x80\x04", b"\x80\x03", b"\x80\x05"}:
        return "it is a Python pickle, which is never loaded"
    if magic[:2] == b"PK":
        return "it is a zip archive (a pickled checkpoint?), which is never loaded"
    return f"it begins with {magic!r}, not b'GGUF'"
