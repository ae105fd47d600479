"""Rows that say the same in other words: semantic duplicates, and rows that are like no other: outliers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.meaning.index import MeaningIndex
from llmops_tui.datasets.near_duplicates import Pair, clusters
from llmops_tui.embeddings.nearest import close_pairs, mean_nearest
from llmops_tui.errors import InputRefusedError

THRESHOLD, LEAST_THRESHOLD = 0.95, 0.5
# Up to so many rows each is compared with every other; of more, with those of its part.
ALL_PAIRS_ROWS = 40_000
_PART_ROWS = 4000
NEIGHBOURS = 10
# Outliers lie below the first quartile by this many interquartile ranges (Tukey, "Exploratory Data Analysis", 1977).
_FENCE = 3.0
_MOST_SHARE = 0.02

Told = Callable[[float], None]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SemanticDuplicates:
    """Pairs of rows whose texts differ and whose cosine is at least the threshold.

    ``groups`` are rows that pairs join, each in ascending order. ``same_text`` rows were left aside: they have the text of an
    earlier row, which exact duplicates are about. ``by_parts`` where only rows of the same part were compared.
    """

    pairs: tuple[Pair, ...]
    groups: tuple[tuple[int, ...], ...]
    same_text: int
    by_parts: bool

    def dropped(self, order: Callable[[int], object] = lambda row: row) -> list[int]:
        """The rows that go, each of them like one that stays: of two that are alike the one that is first by ``order`` stays."""
        near: dict[int, list[int]] = {}
        for pair in self.pairs:
            near.setdefault(pair.left, []).append(pair.right)
            near.setdefault(pair.right, []).append(pair.left)
        going: set[int] = set()
        kept: set[int] = set()
        for row in sorted(near, key=order):  # type: ignore[arg-type]  # what is given can be ordered
            if any(other in kept for other in near[row]):
                going.add(row)
            else:
                kept.add(row)
        return sorted(going)


def find_semantic_duplicates(
    index: MeaningIndex, threshold: float = THRESHOLD, told: Told = lambda _: None
) -> SemanticDuplicates:
    """The pairs of rows of a version that mean the same: a cosine of at least ``threshold``.

    Raises:
        InputRefusedError: ``bad_threshold``: below it nearly all rows would be pairs, or above it none can be.
    """
    if not LEAST_THRESHOLD <= threshold <= 1:
        raise InputRefusedError(
            "bad_threshold", f"{threshold:g} is no such cosine", f"Give one from {LEAST_THRESHOLD:g} to 1."
        )
    file = index.file
    keys = file.text_keys()
    has_text = file.has_text()
    _, first = np.unique(keys, return_index=True)
    rows = np.sort(first[has_text[first]])
    vectors = file.vectors()
    by_parts = len(rows) > ALL_PAIRS_ROWS
    pairs: list[Pair] = []
    parts = _parts(vectors, rows) if by_parts else [rows]
    done = 0
    for part in parts:
        chosen = np.asarray(vectors[part], np.float32)
        for left, right, cosine in close_pairs(chosen, threshold, _within(told, done, len(part), len(rows))):
            pairs.append(Pair(int(part[left]), int(part[right]), cosine))
        done += len(part)
    pairs.sort(key=lambda pair: (-pair.similarity, pair.left, pair.right))
    groups = tuple(tuple(group) for group in clusters(pairs))
    return SemanticDuplicates(tuple(pairs), groups, int(has_text.sum()) - len(rows), by_parts)


def rows_to_drop(index: MeaningIndex, found: SemanticDuplicates, keep: str) -> list[int]:
    """The rows that go where of two that are alike the ``first`` is kept, or the ``longest``.

    Raises:
        InputRefusedError: ``bad_keep``: ``keep`` is neither.
    """
    if keep == "first":
        return found.dropped()
    if keep != "longest":
        raise InputRefusedError("bad_keep", f"{keep!r} is not a choice", "Use first or longest.")
    members = {row for group in found.groups for row in group}
    lengths: dict[int, int] = {}
    for batch in index.version.read():
        lengths.update((n, len(index.text.text(row))) for n, row in batch if n in members)
    return found.dropped(lambda row: (-lengths[row], row))


def _within(told: Told, done: int, part: int, total: int) -> Told:
    """What is told of a part as what is told of all rows."""
    return lambda share: told((done + share * part) / max(1, total))


def _parts(vectors: npt.NDArray[np.floating], rows: Numbers) -> Iterator[Numbers]:
    """Rows in parts of rows that are near each other (Abbas and others, "SemDeDup", 2023), in the order of their numbers."""
    from llmops_tui.datasets.meaning.clustering import fit_clusters, nearest_clusters

    centres = fit_clusters(vectors, rows, max(2, len(rows) // _PART_ROWS))
    of = nearest_clusters(vectors, rows, centres)
    for number in range(len(centres)):
        found = rows[of == number]
        # A part that is large all the same is cut, so that memory and time stay bounded.
        for begin in range(0, len(found), ALL_PAIRS_ROWS):
            yield found[begin : begin + ALL_PAIRS_ROWS]


@dataclass(frozen=True)
class Outliers:
    """Rows that are far from all others: each with its mean cosine to its 10 nearest, the farthest first.

    ``median`` is that of all rows, ``limit`` what an outlier lies below. ``by_parts`` where the nearest were looked for
    among the rows of the same part.
    """

    rows: tuple[tuple[int, float], ...]
    median: float
    limit: float
    by_parts: bool


def find_outliers(index: MeaningIndex, told: Told = lambda _: None) -> Outliers:
    """Rows whose mean cosine to their nearest rows lies far below that of the others; at most 2 % of all."""
    file = index.file
    keys = file.text_keys()
    has_text = file.has_text()
    _, first = np.unique(keys, return_index=True)
    rows = np.sort(first[has_text[first]])
    by_parts = len(rows) > ALL_PAIRS_ROWS
    vectors = file.vectors()
    means = np.zeros(len(rows), np.float32)
    done = 0
    for part in _parts(vectors, rows) if by_parts else [rows]:
        chosen = np.asarray(vectors[part], np.float32)
        means[np.searchsorted(rows, part)] = mean_nearest(chosen, NEIGHBOURS, _within(told, done, len(part), len(rows)))
        done += len(part)
    if len(rows) <= NEIGHBOURS:
        return Outliers((), float(np.median(means)) if len(means) else 0.0, 0.0, by_parts)
    low, median, high = np.quantile(means, [0.25, 0.5, 0.75])
    limit = float(low - _FENCE * (high - low))
    order = np.argsort(means, kind="stable")[: max(1, int(len(rows) * _MOST_SHARE))]
    found = tuple((int(rows[i]), round(float(means[i]), 4)) for i in order if means[i] < limit)
    return Outliers(found, float(median), limit, by_parts)
