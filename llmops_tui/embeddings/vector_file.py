"""Vectors of texts in files: 16-bit values and the hash of each text, written so that a killed writer loses little.

``keys.bin`` has 16 bytes a row, the hash of its text, zeros where it has none; ``vectors.f16`` has as many vectors of
16-bit floats, of length 1. While they are written they end in ``.part``, and a vector is on disk before its key, so that
what has a key is whole; once they have their names they do not change. What a search of many rows needs is made at the end:
``bits.u64``, the sign of each value, by columns of 64 values, from which it finds its candidates, and ``codes.i8`` with
``scales.f32``, each value in 8 bits and what they are multiplied by in each row, by which it tells the better of these.
Vectors of earlier releases have no codes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llmops_tui.embeddings.embedder import Vectors
from llmops_tui.workspace.files import append_bytes, make_folder_within, sync_folder

KEY_BYTES = 16
NO_TEXT = bytes(KEY_BYTES)
BLOCK = 8192
_KEYS, _VECTORS, _BITS = "keys.bin", "vectors.f16", "bits.u64"
_CODES, _SCALES = "codes.i8", "scales.f32"
_LARGEST_CODE = 127

Bits = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.void]
Codes = tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]
"""Vectors in 8 bits, rows × dimensions, and what each row of them is multiplied by."""


def text_key(text: str) -> bytes:
    """The hash that stands for a text: 16 bytes, zeros for one without words."""
    if not text.strip():
        return NO_TEXT
    return blake2b(text.encode("utf-8", "replace"), digest_size=KEY_BYTES).digest()


class VectorFile:
    """The vectors of the rows of something, in a folder; ``rows`` is how many have theirs."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        self.folder = folder
        self.dimensions = dimensions

    def has(self, rows: int) -> bool:
        """Whether it was finished with so many rows, and nothing of it was lost since."""
        sizes = {_KEYS: KEY_BYTES * rows, _VECTORS: self._width * rows, _BITS: 8 * self._words * max(1, rows)}
        if any((self.folder / name).exists() for name in (_CODES, _SCALES)):
            sizes |= {_CODES: self.dimensions * rows, _SCALES: 4 * rows}
        try:
            return all((self.folder / name).stat().st_size == size for name, size in sizes.items())
        except OSError:
            return False

    @property
    def rows(self) -> int:
        """How many rows are there, with key and vector."""
        try:
            keys = self._path(_KEYS).stat().st_size // KEY_BYTES
            vectors = self._path(_VECTORS).stat().st_size // self._width
        except OSError:
            return 0
        return min(keys, vectors)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*") if path.is_file())

    @property
    def _width(self) -> int:
        return 2 * self.dimensions

    @property
    def _words(self) -> int:
        """Numbers of 64 bits that the signs of a row take."""
        return -(-self.dimensions // 64)

    def _path(self, name: str) -> Path:
        path = self.folder / name
        return path if path.exists() else path.with_name(f"{name}.part")

    def append(self, keys: list[bytes], vectors: npt.NDArray[np.floating]) -> None:
        """Write more rows, durably; what a killed writer left unfinished is cut off first."""
        make_folder_within(self.folder)
        whole = self.rows
        data = np.ascontiguousarray(vectors, "<f2").tobytes()
        for name, at, raw in ((_VECTORS, whole * self._width, data), (_KEYS, whole * KEY_BYTES, b"".join(keys))):
            with append_bytes(self.folder / f"{name}.part") as file:
                file.truncate(at)
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())

    def discard(self) -> None:
        """Remove what was written and is not finished."""
        for name in (_VECTORS, _KEYS):
            (self.folder / f"{name}.part").unlink(missing_ok=True)

    def finish(self) -> None:
        """All rows are there: make what a search needs, and give the files their names."""
        self._write_bits()
        self._write_codes()
        for name in (_VECTORS, _KEYS, _CODES, _SCALES, _BITS):
            part = self.folder / f"{name}.part"
            if part.exists():
                part.replace(self.folder / name)
        sync_folder(self.folder)

    def vectors(self) -> npt.NDArray[np.float16]:
        """All vectors, rows × dimensions, mapped from the file."""
        rows = self.rows
        if not rows:
            return np.zeros((0, self.dimensions), np.float16)
        return np.memmap(self._path(_VECTORS), "<f2", "r", shape=(rows, self.dimensions))

    def text_keys(self) -> Keys:
        """The hashes of all texts, as 16-byte values."""
        raw = self._path(_KEYS).read_bytes() if self.rows else b""
        return np.frombuffer(raw[: self.rows * KEY_BYTES], f"V{KEY_BYTES}")

    def has_text(self) -> npt.NDArray[np.bool_]:
        """Which rows have a text, and so a vector."""
        raw = self.text_keys().view(np.uint64).reshape(-1, 2)
        found: npt.NDArray[np.bool_] = (raw != 0).any(axis=1)
        return found

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """All vectors in 32 bits, a block at a time, each with the number of its first row."""
        vectors = self.vectors()
        for begin in range(0, len(vectors), BLOCK):
            yield begin, np.asarray(vectors[begin : begin + BLOCK], np.float32)

    def bits(self) -> Bits:
        """The signs of all values, as columns of 64 values × rows, mapped from the file."""
        return np.memmap(self.folder / _BITS, np.uint64, "r", shape=(self._words, max(1, self.rows)))[:, : self.rows]

    def codes(self) -> Codes | None:
        """All vectors in 8 bits, mapped from the file; none where an earlier release made them."""
        rows = self.rows
        if not rows or not (self.folder / _CODES).exists():
            return None
        codes = np.memmap(self.folder / _CODES, np.int8, "r", shape=(rows, self.dimensions))
        return codes, np.memmap(self.folder / _SCALES, "<f4", "r", shape=(rows,))

    def _write_codes(self) -> None:
        with (
            append_bytes(self.folder / f"{_CODES}.part") as codes,
            append_bytes(self.folder / f"{_SCALES}.part") as scales,
        ):
            codes.truncate(0)
            scales.truncate(0)
            for _, block in self.blocks():
                largest = np.abs(block).max(axis=1, initial=0.0) / _LARGEST_CODE
                scaled = block / np.where(largest > 0, largest, 1)[:, None]
                codes.write(np.rint(scaled).astype(np.int8).tobytes())
                scales.write(largest.astype("<f4").tobytes())

    def _write_bits(self) -> None:
        fresh, words = self.folder / f"{_BITS}.part", self._words
        with append_bytes(fresh) as file:
            file.truncate(0)
            file.truncate(words * max(1, self.rows) * 8)
        made = np.memmap(fresh, np.uint64, "r+", shape=(words, max(1, self.rows)))
        for begin, block in self.blocks():
            made[:, begin : begin + len(block)] = signs(block).T
        made.flush()


def signs(vectors: npt.NDArray[np.floating]) -> Bits:
    """The signs of vectors, 64 to a number: vectors × ⌈dimensions / 64⌉."""
    packed = np.packbits(vectors > 0, axis=1)
    padded = np.zeros((len(vectors), -(-packed.shape[1] // 8) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint64)
