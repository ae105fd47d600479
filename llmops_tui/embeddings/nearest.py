"""What is near to what, by the cosine: the nearest rows of a vector, and all pairs that are near.

Few rows are compared one and all. Of many the candidates are those whose signs differ least from the vector's, by the
Hamming distance (Charikar, "Similarity estimation techniques from rounding algorithms", 2002); of these the vectors in 8 bits
tell the best, whose cosines decide.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmops_tui.embeddings.embedder import Vectors
from llmops_tui.embeddings.vector_file import VectorFile, signs

# Up to so many rows all cosines are taken.
EXACT_ROWS = 40_000
# Of more, those of so many candidates; of fewer where there are no vectors in 8 bits.
CANDIDATES = 60_000
_WHOLE_CANDIDATES = 20_000
# Of the candidates so many have their cosines taken, or so many times as many as are asked for.
_RESCORED, _TIMES = 200, 4
_BITS_BLOCK = 32_768
_COSINES_BLOCK = 4096
# Rows whose vectors in 32 bits stay in the processor's cache.
_ROWS_AT_ONCE = 512
_THREADS = 4
_PAIR_BLOCK = 2048

Numbers = npt.NDArray[np.int64]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Threads that share a search: numpy lets go of the interpreter in the loops that matter here."""
    return ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), thread_name_prefix="nearest")


@dataclass(frozen=True)
class Near:
    """Rows with their cosines, the nearest first; ``compared`` with how many rows, of many at first in 8 bits."""

    rows: Numbers
    cosines: Vectors
    compared: int


class Nearest:
    """The nearest rows of vectors among those of a file. Rows without a text are never found."""

    def __init__(self, file: VectorFile, exact_rows: int = EXACT_ROWS, candidates: int = CANDIDATES) -> None:
        self._file = file
        self._vectors: npt.NDArray[np.floating] = file.vectors()
        self._there = file.has_text()
        self._exact = len(self._vectors) <= exact_rows
        if self._exact:
            # So few are read once; the others stay in their file.
            self._vectors = np.asarray(self._vectors, np.float32)
        self._codes = None if self._exact else file.codes()
        self._candidates = candidates if self._codes is not None else min(candidates, _WHOLE_CANDIDATES)
        self._bits = None if self._exact else file.bits()

    def find(self, vector: Vectors, count: int, *, leave_out: int | None = None) -> Near:
        """The ``count`` nearest rows of a vector of length 1; ``leave_out`` is a row that is not to be among them."""
        count = min(count, len(self._vectors))
        rows = (
            np.flatnonzero(self._there)
            if self._exact
            else self._by_signs(vector, max(self._candidates, _TIMES * count))
        )
        if leave_out is not None:
            rows = rows[rows != leave_out]
        compared = len(rows)
        if self._codes is not None:
            codes, scales = self._codes
            rough = self._products(codes, rows, vector) * scales[rows]
            rows = np.sort(rows[_largest(rough, max(_RESCORED, _TIMES * count))])
        cosines = self._products(self._vectors, rows, vector)
        best = _largest(cosines, count)
        return Near(rows[best], cosines[best], compared)

    def of_row(self, row: int) -> Vectors | None:
        """A row's vector; none where it has no text."""
        return np.asarray(self._vectors[row], np.float32) if self._there[row] else None

    def _products(self, vectors: npt.NDArray[Any], rows: Numbers, vector: Vectors) -> Vectors:
        """The products of some rows of vectors with a vector, in 32 bits."""
        found = np.empty(len(rows), np.float32)

        def take(begin: int) -> None:
            whole = np.empty((_ROWS_AT_ONCE, len(vector)), np.float32)
            for at in range(begin, min(begin + _COSINES_BLOCK, len(rows)), _ROWS_AT_ONCE):
                part = rows[at : min(at + _ROWS_AT_ONCE, begin + _COSINES_BLOCK)]
                np.copyto(whole[: len(part)], vectors[part], casting="unsafe")
                # A product a row: a product of a matrix would have threads of its own, which wait by turning.
                np.vecdot(whole[: len(part)], vector, out=found[at : at + len(part)])

        list(_pool().map(take, range(0, len(rows), _COSINES_BLOCK)))
        return found

    def _by_signs(self, vector: Vectors, wanted: int) -> Numbers:
        """Rows with a text whose signs differ least, at least ``wanted`` of them where there are so many."""
        assert self._bits is not None
        words, rows = self._bits.shape
        query = signs(vector[None])[0]
        distances = np.zeros(rows, np.uint16)
        bits = self._bits

        def take(begin: int) -> None:
            # A block at a time, so that what is in between stays in the processor's cache.
            sums = distances[begin : begin + _BITS_BLOCK]
            differing, counts = np.empty(len(sums), np.uint64), np.empty(len(sums), np.uint8)
            for word in range(words):
                np.bitwise_xor(bits[word, begin : begin + len(sums)], query[word], out=differing)
                np.bitwise_count(differing, out=counts)
                sums += counts

        list(_pool().map(take, range(0, rows, _BITS_BLOCK)))
        # Those without a text have zeros, which are near to many: they take no candidate's place.
        reached = np.cumsum(np.bincount(distances[self._there], minlength=64 * words + 1))
        return np.flatnonzero(self._there & (distances <= int(np.searchsorted(reached, wanted))))


def _largest(values: Vectors, count: int) -> Numbers:
    """The places of the largest values, the largest first; of equal ones the first."""
    if count < len(values):
        limit = np.partition(values, len(values) - count)[len(values) - count]
        places = np.flatnonzero(values >= limit)
    else:
        places = np.arange(len(values))
    return np.asarray(places[np.argsort(-values[places], kind="stable")][:count], np.int64)


def close_pairs(
    vectors: npt.NDArray[np.floating], threshold: float, told: Callable[[float], None] = lambda _: None
) -> Iterator[tuple[int, int, float]]:
    """All pairs of vectors of length 1 with a cosine of at least ``threshold``, as (earlier, later, cosine)."""
    total = len(vectors)
    for begin in range(0, total, _PAIR_BLOCK):
        left = np.asarray(vectors[begin : begin + _PAIR_BLOCK], np.float32)
        for other in range(begin, total, _PAIR_BLOCK):
            cosines = left @ np.asarray(vectors[other : other + _PAIR_BLOCK], np.float32).T
            for a, b in np.argwhere(cosines >= threshold).tolist():
                if begin + a < other + b:
                    yield begin + a, other + b, min(1.0, float(cosines[a, b]))
        told(min(1.0, (begin + _PAIR_BLOCK) / total))


def mean_nearest(
    vectors: npt.NDArray[np.floating], count: int, told: Callable[[float], None] = lambda _: None
) -> Vectors:
    """Of each vector the mean cosine to its ``count`` nearest others, among all."""
    total = len(vectors)
    found = np.zeros(total, np.float32)
    if total < 2:
        return found
    count = min(count, total - 1)
    for begin in range(0, total, _PAIR_BLOCK // 2):
        left = np.asarray(vectors[begin : begin + _PAIR_BLOCK // 2], np.float32)
        best = np.full((len(left), count), -2.0, np.float32)
        for other in range(0, total, _PAIR_BLOCK):
            cosines = left @ np.asarray(vectors[other : other + _PAIR_BLOCK], np.float32).T
            own = np.arange(len(left)) + begin - other
            inside = (own >= 0) & (own < cosines.shape[1])
            cosines[np.flatnonzero(inside), own[inside]] = -2.0
            both = np.concatenate([best, cosines], axis=1)
            best = np.partition(both, both.shape[1] - count, axis=1)[:, -count:]
        found[begin : begin + len(left)] = best.mean(axis=1)
        told(min(1.0, (begin + len(left)) / total))
    return found
