"""Search by meaning, by words, and by both; and rows that are like a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

from llmops_tui.datasets.meaning.index import MeaningIndex
from llmops_tui.datasets.search import SearchIndex
from llmops_tui.embeddings.embedder import Vectors
from llmops_tui.embeddings.opened import embed_query
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.catalog import Catalog

By = Literal["meaning", "both"]
# "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods" (Cormack, Clarke, Büttcher, 2009).
RRF_K = 60
# From so many of each ranking the fusion is made.
_FUSED = 200


class HitRecord(TypedDict):
    """A row that was found: its cosine to what was searched for, none where it has no text, and its place in each ranking."""

    row: int
    cosine: float | None
    meaning: int | None
    words: int | None


@dataclass(frozen=True)
class Found:
    """Rows that were found, the best first.

    ``compared`` of how many rows the cosine was taken: of large versions those are candidates.
    """

    hits: tuple[HitRecord, ...]
    compared: int

    @property
    def rows(self) -> list[int]:
        """Their numbers."""
        return [hit["row"] for hit in self.hits]


class MeaningSearch:
    """Searches in one version; ``embed`` gives the vector of a text that is searched for."""

    def __init__(self, index: MeaningIndex, embed: Callable[[str], Vectors], words: Callable[[], SearchIndex]) -> None:
        self._index = index
        self._embed = embed
        self._words = words

    def find(self, text: str, count: int, by: By = "meaning") -> Found:
        """The rows that mean what a text says; with ``both`` the rows that have its words are ranked beside, and fused.

        Raises:
            InputRefusedError: the text is empty.
        """
        if not text.strip():
            raise InputRefusedError("bad_search", "there is nothing to search for", "Say it in your own words.")
        near = self._index.nearest.find(self._embed(text), max(count, _FUSED) if by == "both" else count)
        cosines = dict(zip(near.rows.tolist(), near.cosines.tolist(), strict=True))
        if by == "meaning":
            hits = [_hit(row, cosine, place, None) for place, (row, cosine) in enumerate(cosines.items(), 1)]
            return Found(tuple(hits), near.compared)
        worded = self._words().best(text, max(count, _FUSED))
        fused = list(fuse([list(cosines), worded]))[:count]
        by_meaning = {row: place for place, row in enumerate(cosines, 1)}
        by_words = {row: place for place, row in enumerate(worded, 1)}
        return Found(
            tuple(_hit(row, cosines.get(row), by_meaning.get(row), by_words.get(row)) for row in fused), near.compared
        )

    def like(self, row: int, count: int) -> Found:
        """The rows that are like a row, without it.

        Raises:
            InputRefusedError: there is no such row, or it has no text.
        """
        if not 0 <= row < self._index.version.rows:
            raise InputRefusedError("unknown_row", f"{self._index.version.ref} has no row {row:,}")
        vector = self._index.nearest.of_row(row)
        if vector is None:
            raise InputRefusedError("no_text", f"row {row:,} has no text that was embedded", self._index.text.told)
        near = self._index.nearest.find(np.asarray(vector, np.float32), count, leave_out=row)
        hits = [
            _hit(n, cosine, place, None)
            for place, (n, cosine) in enumerate(zip(near.rows.tolist(), near.cosines.tolist(), strict=True), 1)
        ]
        return Found(tuple(hits), near.compared)


def open_search(catalog: Catalog, index: MeaningIndex) -> MeaningSearch:
    """Search in a version of a workspace; the model is started when a text is searched for."""
    return MeaningSearch(
        index, lambda text: embed_query(catalog, index.spec, text), lambda: SearchIndex(index.version).make()
    )


def fuse(rankings: Sequence[Sequence[int]]) -> dict[int, float]:
    """Rankings as one, the best first, each with its score: Σ 1 / (60 + rank)."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, row in enumerate(ranking, 1):
            scores[row] = scores.get(row, 0.0) + 1 / (RRF_K + place)
    return dict(sorted(scores.items(), key=lambda one: (-one[1], one[0])))


def _hit(row: int, cosine: float | None, meaning: int | None, words: int | None) -> HitRecord:
    return {"row": row, "cosine": None if cosine is None else round(cosine, 4), "meaning": meaning, "words": words}
