"""Labelling with help: a small classifier on the embeddings proposes labels, and chooses which row comes next.

It learns from what the person said, and from nothing else. What it proposes is kept beside what the person then said, so that
their agreement can be told; it is never a label.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmops_tui.datasets.labelling import Labelling
from llmops_tui.datasets.meaning.active_learning import (
    RANDOM_SHARE,
    Proposal,
    Proposer,
    agreement,
    first_rows,
    learning_curve,
    may_stop,
    next_rows,
)
from llmops_tui.datasets.meaning.index import MeaningIndex
from llmops_tui.errors import InputRefusedError

# After so many labels it learns again and chooses the next rows.
BATCH = 20
Item = tuple[int, int]


@dataclass(frozen=True)
class Helped:
    """How the help does: labels given, κ of what it proposed and what the person said, over how many rows, and the curve.

    ``random_right`` of ``random_rows`` proposals were right among the rows that were drawn at random: that share is unbiased.
    """

    labels: int
    kappa: float | None
    compared: int
    random_right: int
    random_rows: int
    curve: tuple[tuple[int, float], ...]
    may_stop: bool


class LabelAssistant:
    """Help for one person's labelling of a version that is embedded."""

    def __init__(self, work: Labelling, index: MeaningIndex) -> None:
        if work.task.kind != "classify":
            raise InputRefusedError(
                "not_proposed", "only labels of a classification are proposed", "Label without help, or classify."
            )
        self._work = work
        self._vectors = index.file.vectors()
        self._there = index.file.has_text()
        self._proposer = Proposer(self._vectors, {})
        self._learned = -1
        self._batch: list[int] = []
        self._random = random.Random(f"{work.version.sha256}:{work.task.name}:{work.annotator}:random")  # noqa: S311  a sample, no secret
        self._drawn: set[int] = set()

    def order(self, queue: Sequence[Item]) -> list[Item]:
        """The queue with the rows in front that are worth most, one in ten of them drawn at random."""
        waiting = [row for row, turn in queue if turn == 0 and self._there[row]]
        labels = self._work.own_labels()
        if len(labels) - self._learned >= BATCH or self._learned < 0 or not set(self._batch) & set(waiting):
            self._learn(labels, waiting)
        places = {row: place for place, row in enumerate(self._batch)}
        return sorted(queue, key=lambda item: places.get(item[0], len(places)) if item[1] == 0 else len(places))

    def _learn(self, labels: dict[int, str], waiting: list[int]) -> None:
        self._learned = len(labels)
        self._proposer = Proposer(self._vectors, {row: label for row, label in labels.items() if self._there[row]})
        drawn = self._random.sample(waiting, min(len(waiting), round(BATCH * RANDOM_SHARE)))
        rest = np.setdiff1d(np.asarray(waiting, np.int64), drawn)
        count = min(BATCH - len(drawn), len(rest))
        chosen: list[int] = []
        if count > 0 and self._proposer.ready:
            chosen = next_rows(self._proposer, self._vectors, rest, count)
        elif count > 0:
            chosen = first_rows(self._vectors, rest, count)
        self._drawn |= set(drawn)
        self._batch = [*chosen, *drawn]
        self._random.shuffle(self._batch)

    def propose(self, row: int) -> Proposal | None:
        """What the classifier would say of a row; none while it cannot tell labels apart."""
        found = self._proposer.propose([row]) if self._there[row] else []
        return found[0] if found else None

    def helped(self, *, curve: bool = False) -> Helped:
        """How it does so far; the learning ``curve`` takes seconds."""
        said = [a for a in self._work.own() if a.turn == 0]
        pairs = [(a.value, a.proposed) for a in said if a.proposed]
        drawn = [a for a in said if a.proposed and a.row in self._drawn]
        found: list[tuple[int, float]] = []
        if curve:
            found = learning_curve(self._vectors, [(a.row, a.value) for a in said if self._there[a.row]])
        return Helped(
            len(said),
            agreement([v for v, _ in pairs], [p for _, p in pairs]),
            len(pairs),
            sum(a.value == a.proposed for a in drawn),
            len(drawn),
            tuple(found),
            may_stop(found),
        )
