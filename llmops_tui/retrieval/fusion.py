"""Two rankings as one: by their ranks or by their scores, with a weight that may be learnt on queries whose answers are known.

By ranks: Σ 2 · weight / (60 + rank), which with equal weights is reciprocal rank fusion (Cormack, Clarke, Büttcher, "Reciprocal
rank fusion outperforms Condorcet and individual rank learning methods", 2009). By scores: the weighted sum of standard scores,
each ranking's less its mean by its standard deviation; what a ranking does not have counts as its last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.meaning.search import RRF_K
from llmops_tui.retrieval.records import FusionRecord

Method = Literal["ranks", "scores"]
METHODS: tuple[Method, ...] = ("ranks", "scores")
Ranked = Mapping[int, tuple[int, float]]
"""Chunks with their rank, from 1 on, and their score."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fusion:
    """How two rankings are fused: ``weight`` from 0 to 1 is that of meaning, and words have the rest."""

    method: Method = "ranks"
    weight: float = 0.5


EQUAL = Fusion()


def fusion_of(record: FusionRecord | None) -> Fusion:
    """That of an index; equal weights where none was learnt."""
    return EQUAL if record is None else Fusion(cast("Method", record["method"]), record["weight"])


class Candidates:
    """What either of two rankings has; they can be fused in several ways."""

    def __init__(self, words: Ranked, vectors: Ranked) -> None:
        self.chunks = np.array(sorted({*words, *vectors}), np.int64)
        self._rankings = (words, vectors)
        # By method: what each ranking adds, of shape (2, candidates).
        self._parts: dict[Method, Floats] = {}

    def first(self, fusion: Fusion, count: int) -> list[tuple[int, float]]:
        """The best chunks with their scores; of equal ones the first in the text comes first."""
        words, vectors = self._of(fusion.method)
        scores = 2 * (1 - fusion.weight) * words + 2 * fusion.weight * vectors
        order = np.argsort(-scores, kind="stable")[:count]
        return list(zip(self.chunks[order].tolist(), scores[order].tolist(), strict=True))

    def _of(self, method: Method) -> Floats:
        if method not in self._parts:
            add = _by_rank if method == "ranks" else _by_score
            self._parts[method] = np.stack([add(self.chunks, ranking) for ranking in self._rankings])
        return self._parts[method]


def _by_rank(chunks: npt.NDArray[np.int64], ranking: Ranked) -> Floats:
    return np.array([1 / (RRF_K + ranking[n][0]) if n in ranking else 0.0 for n in chunks.tolist()])


def _by_score(chunks: npt.NDArray[np.int64], ranking: Ranked) -> Floats:
    if not ranking:
        return np.zeros(len(chunks))
    given = np.array([score for _, score in ranking.values()])
    spread = float(given.std())
    last = float(given.min())
    found = np.array([ranking[n][1] if n in ranking else last for n in chunks.tolist()])
    return (found - given.mean()) / spread if spread > 0 else np.zeros(len(chunks))
