"""Overlap of a dataset with another, such as an evaluation set: exact, n-gram and near-duplicate matches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from llmops_tui.datasets.identity import media_of, normal
from llmops_tui.datasets.near_duplicates import Shingler, Sketches
from llmops_tui.datasets.records import question_text
from llmops_tui.datasets.reports import OverlapRecord
from llmops_tui.datasets.version import DatasetVersion

# The length that published decontamination uses (Brown et al., "Language Models are Few-Shot Learners", 2020, app. C).
NGRAM_WORDS = 13


@dataclass
class Overlap:
    """Rows of ``left`` that are in ``right`` too, by how they were found, as pairs of row numbers.

    A row stands in one list alone: exact before n-gram before near.
    """

    left: str
    right: str
    left_rows: int
    right_rows: int
    exact: list[tuple[int, int]] = field(default_factory=list)
    ngram: list[tuple[int, int]] = field(default_factory=list)
    near: list[tuple[int, int]] = field(default_factory=list)

    @property
    def rows(self) -> list[int]:
        """All rows of ``left`` that overlap."""
        return sorted({a for pairs in (self.exact, self.ngram, self.near) for a, _ in pairs})

    def as_dict(self) -> OverlapRecord:
        """The overlap as JSON."""
        return {
            "left": self.left,
            "right": self.right,
            "left_rows": self.left_rows,
            "right_rows": self.right_rows,
            "exact": len(self.exact),
            "ngram": len(self.ngram),
            "near": len(self.near),
            "rows": len(self.rows),
            "clean_right_rows": self.right_rows - len({b for p in (self.exact, self.ngram, self.near) for _, b in p}),
            "examples": [
                {"kind": k, "left": a, "right": b}
                for k, pairs in (("exact", self.exact), ("ngram", self.ngram), ("near", self.near))
                for a, b in pairs[:5]
            ],
        }


def find_overlap(left: DatasetVersion, right: DatasetVersion, threshold: float = 0.8) -> Overlap:
    """Compare what the rows ask, without their answers: exactly, by 13-word sequences, and by MinHash at a threshold."""
    return compare_texts((left.ref, asked_texts(left)), (right.ref, asked_texts(right)), threshold)


def compare_texts(left: tuple[str, list[str]], right: tuple[str, list[str]], threshold: float = 0.8) -> Overlap:
    """The overlap of two named lists of texts."""
    found = Overlap(left[0], right[0], len(left[1]), len(right[1]))
    asked = [left[1], right[1]]
    known: dict[str, int] = {}
    for number, text in enumerate(asked[1]):
        if text.strip():
            known.setdefault(normal(text), number)
    taken = set()
    for number, text in enumerate(asked[0]):
        other = known.get(normal(text))
        if other is not None:
            found.exact.append((number, other))
            taken.add(number)
    for number, other in _shared_ngrams(asked[0], asked[1]):
        if number not in taken:
            found.ngram.append((number, other))
            taken.add(number)
    sketches = Sketches()
    sketches.add(asked[0])
    sketches.add(asked[1])
    for pair in sketches.pairs(threshold, split_at=len(asked[0])):
        if pair.left not in taken:
            found.near.append((pair.left, pair.right - len(asked[0])))
            taken.add(pair.left)
    return found


def asked_texts(version: DatasetVersion) -> list[str]:
    """What each row asks, with the media that it asks about: another image makes another question."""
    columns = tuple(
        c.name for c in version.columns if c.type == "text" and c.name not in {"id", "label", "category", "answer"}
    )
    return [
        "\n".join([question_text(version.kind, row, columns), *media_of(row)])
        for batch in version.read()
        for _, row in batch
    ]


def _shared_ngrams(left: list[str], right: list[str]) -> list[tuple[int, int]]:
    """Pairs of texts that share 13 words in a row; sequences that stand in more than ten texts on a side are left out."""
    shingler = Shingler(NGRAM_WORDS)
    (a, starts_a), (b, starts_b) = shingler.shingles(left), shingler.shingles(right)
    rows_a = np.repeat(np.arange(len(left)), np.diff(starts_a))
    rows_b = np.repeat(np.arange(len(right)), np.diff(starts_b))
    both = np.intersect1d(a, b)
    pairs: dict[int, int] = {}
    in_a, in_b = np.isin(a, both), np.isin(b, both)
    where_b: dict[int, set[int]] = {}
    for key, row in zip(b[in_b].tolist(), rows_b[in_b].tolist(), strict=True):
        where_b.setdefault(key, set()).add(row)
    where_a: dict[int, set[int]] = {}
    for key, row in zip(a[in_a].tolist(), rows_a[in_a].tolist(), strict=True):
        where_a.setdefault(key, set()).add(row)
    for key, rows in where_a.items():
        if len(rows) <= 10 and len(where_b[key]) <= 10:
            for row in rows:
                if len(left[row].split()) >= NGRAM_WORDS:
                    pairs.setdefault(row, min(where_b[key]))
    return sorted(pairs.items())
