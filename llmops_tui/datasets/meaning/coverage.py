"""How far an evaluation set is covered by a training set: how near each of its rows is to any row of the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import numpy as np

from llmops_tui.datasets.meaning.clustering import nearest_clusters
from llmops_tui.datasets.meaning.index import MeaningIndex
from llmops_tui.datasets.meaning.topics import TopicMap
from llmops_tui.embeddings.embedder import Vectors
from llmops_tui.embeddings.vector_file import BLOCK
from llmops_tui.errors import InputRefusedError

LEVELS = (0.5, 0.7, 0.9)
FARTHEST = 20
_CELLS = 2048


class LevelRecord(TypedDict):
    """How many evaluated rows have a row at least so near."""

    cosine: float
    rows: int


class FarRecord(TypedDict):
    """An evaluated row, the row that is nearest to it, and their cosine."""

    row: int
    nearest: int
    cosine: float


class TopicCoverage(TypedDict):
    """A cluster of the training set, and how many rows of each set lie in it."""

    cluster: int
    words: list[str]
    evaluated: int
    trained: int


class CoverageRecord(TypedDict):
    """The coverage of ``evaluated`` by ``trained``; ``topics`` where the training set has a map."""

    evaluated: str
    trained: str
    model: str
    rows: int
    mean: float
    levels: list[LevelRecord]
    farthest: list[FarRecord]
    topics: list[TopicCoverage]


def measure_coverage(
    evaluated: MeaningIndex,
    trained: MeaningIndex,
    topic_map: TopicMap | None = None,
    told: Callable[[float], None] = lambda _: None,
    *,
    farthest: int = FARTHEST,
) -> CoverageRecord:
    """Compare each row of one version with all of another, and list the ``farthest`` rows.

    Raises:
        InputRefusedError: ``other_embedder``: their vectors cannot be compared; ``no_text``: one has none.
    """
    if evaluated.spec.key != trained.spec.key:
        raise InputRefusedError(
            "other_embedder",
            f"{evaluated.version.ref} was embedded by {evaluated.spec.model} and {trained.version.ref} by "
            f"{trained.spec.model}, or in another way: their vectors cannot be compared",
            f"llmops data embed {evaluated.version.ref} --model {trained.spec.model}",
        )
    asked = np.flatnonzero(evaluated.file.has_text())
    known = np.flatnonzero(trained.file.has_text())
    for index, rows in ((evaluated, asked), (trained, known)):
        if not len(rows):
            raise InputRefusedError("no_text", f"no row of {index.version.ref} has a text that was embedded")
    best, where = _nearest(evaluated, asked, trained, told)
    order = np.argsort(best, kind="stable")[:farthest]
    return {
        "evaluated": evaluated.version.ref,
        "trained": trained.version.ref,
        "model": trained.spec.model,
        "rows": len(asked),
        "mean": round(float(best.mean()), 4),
        "levels": [{"cosine": level, "rows": int((best >= level).sum())} for level in LEVELS],
        "farthest": [
            {"row": int(asked[i]), "nearest": int(where[i]), "cosine": round(float(best[i]), 4)} for i in order
        ],
        "topics": _by_topic(evaluated, asked, topic_map) if topic_map is not None else [],
    }


def _nearest(
    evaluated: MeaningIndex,
    asked: np.ndarray[tuple[int], np.dtype[np.int64]],
    trained: MeaningIndex,
    told: Callable[[float], None],
) -> tuple[Vectors, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Of each evaluated row the largest cosine, and whose it is; a row without a text has zeros, and is never it."""
    questions = evaluated.file.vectors()
    there = trained.file.has_text()
    best = np.full(len(asked), -2.0, np.float32)
    where = np.zeros(len(asked), np.int64)
    for begin, block in trained.file.blocks():
        missing = ~there[begin : begin + len(block)]
        for first in range(0, len(asked), _CELLS):
            part = slice(first, first + _CELLS)
            cosines = np.asarray(questions[asked[part]], np.float32) @ block.T
            cosines[:, missing] = -2.0
            places = cosines.argmax(axis=1)
            values = np.minimum(cosines[np.arange(len(places)), places], 1.0)
            better = values > best[part]
            best[part] = np.where(better, values, best[part])
            where[part] = np.where(better, places + begin, where[part])
        told(min(1.0, (begin + BLOCK) / max(1, len(there))))
    return best, where


def _by_topic(
    evaluated: MeaningIndex, asked: np.ndarray[tuple[int], np.dtype[np.int64]], topic_map: TopicMap
) -> list[TopicCoverage]:
    of = nearest_clusters(evaluated.file.vectors(), asked, topic_map.centres)
    counts = np.bincount(of, minlength=len(topic_map.centres))
    return [
        {"cluster": t["cluster"], "words": t["words"], "evaluated": int(counts[t["cluster"]]), "trained": t["rows"]}
        for t in topic_map.record["topics"]
    ]
