"""A small classifier on embeddings: it proposes labels, and says which rows are worth a person's next look.

Its proposals are never labels: only what a person said is learned from, and counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.agreement import cohen_kappa
from llmops_tui.datasets.meaning.clustering import fit_clusters, nearest_clusters, one_thread
from llmops_tui.embeddings.embedder import Vectors, unit
from llmops_tui.embeddings.vector_file import BLOCK

# Of the rows that are least sure so many times as many as are asked for are spread over their clusters.
_SPREAD = 5
_SEED = 0
# Of rows that a person labels so many are drawn at random: only on these is the model's accuracy measured without bias.
RANDOM_SHARE = 0.1
_SHARPNESS = 10.0
_FOLDS = 5
# A hint to stop: the last so many labels brought less than this share of rows that are told right.
STOP_LABELS, STOP_GAIN = 200, 0.01

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Proposal:
    """What the classifier would say of a row: its probability, and the margin before its second choice."""

    row: int
    label: str
    probability: float
    margin: float


class Proposer:
    """A logistic regression on vectors of length 1; ``labels`` are what a person said, by row."""

    def __init__(self, vectors: npt.NDArray[np.floating], labels: dict[int, str]) -> None:
        self._vectors = vectors
        self.labels = dict(labels)
        self.values = tuple(sorted(set(labels.values())))
        self._weights: Vectors | None = None
        self._fit()

    @property
    def ready(self) -> bool:
        """Whether there are two labels at the least to tell apart."""
        return self._weights is not None

    def _fit(self) -> None:
        if len(self.values) < 2:
            return
        rows = sorted(self.labels)
        fitted = fit_logistic(np.asarray(self._vectors[rows], np.float32), [self.labels[row] for row in rows])
        self._weights = fitted

    def probabilities(self, rows: Numbers) -> Vectors:
        """Of some rows the probability of each of :attr:`values`, rows × values."""
        assert self._weights is not None
        found = np.empty((len(rows), len(self.values)), np.float32)
        # A block at a time: of a large version all rows are asked for, and their vectors lie in a file.
        for begin in range(0, len(rows), BLOCK):
            part = np.asarray(self._vectors[rows[begin : begin + BLOCK]], np.float32)
            found[begin : begin + BLOCK] = predict_logistic(self._weights, part)
        return found

    def propose(self, rows: Sequence[int]) -> list[Proposal]:
        """What it would say of some rows; nothing while it cannot tell labels apart."""
        if not self.ready or not rows:
            return []
        found = self.probabilities(np.asarray(rows, np.int64))
        order = np.argsort(-found, axis=1, kind="stable")
        best = np.take_along_axis(found, order[:, :2], axis=1)
        return [
            Proposal(row, self.values[int(o[0])], float(p[0]), float(p[0] - p[1]))
            for row, o, p in zip(rows, order, best, strict=True)
        ]


def fit_logistic(data: Vectors, labels: Sequence[str]) -> Vectors:
    """The weights of a multinomial logistic regression, classes × (dimensions + 1), the classes in alphabetical order."""
    from sklearn.linear_model import LogisticRegression

    with one_thread(), warnings.catch_warnings():
        # Few labels of many classes are how it begins.
        warnings.simplefilter("ignore")
        fitted = LogisticRegression(C=_SHARPNESS, max_iter=300).fit(np.asarray(data, np.float64), list(labels))
    weights = np.concatenate([fitted.coef_, fitted.intercept_[:, None]], axis=1)
    if len(weights) == 1:
        # Of two classes only the second has weights.
        weights = np.concatenate([np.zeros_like(weights), weights])
    return np.asarray(weights, np.float32)


def predict_logistic(weights: Vectors, data: Vectors) -> Vectors:
    """The probabilities of classes, rows × classes."""
    scores = data @ weights[:, :-1].T + weights[:, -1]
    scores -= scores.max(axis=1, keepdims=True)
    found = np.exp(scores)
    return np.asarray(found / found.sum(axis=1, keepdims=True), np.float32)


def first_rows(vectors: npt.NDArray[np.floating], rows: Numbers, count: int) -> list[int]:
    """The rows to label first: of each of ``count`` clusters the one that is nearest to its middle."""
    centres = fit_clusters(vectors, rows, min(count, len(rows)))
    return _middles(vectors, rows, centres)


def next_rows(proposer: Proposer, vectors: npt.NDArray[np.floating], rows: Numbers, count: int) -> list[int]:
    """The rows to label next: of those with the smallest margin, one of each of ``count`` clusters.

    Margin sampling: Scheffer and others, "Active hidden Markov models", 2001; spread by clusters: Zhdanov, "Diverse
    mini-batch active learning", 2019.
    """
    if not proposer.ready or len(rows) <= count:
        return first_rows(vectors, rows, count)
    ordered = -np.sort(-proposer.probabilities(rows), axis=1)
    margins = ordered[:, 0] - ordered[:, 1]
    unsure = rows[np.argsort(margins, kind="stable")[: _SPREAD * count]]
    return _middles(vectors, unsure, fit_clusters(vectors, unsure, count))[:count]


def _middles(vectors: npt.NDArray[np.floating], rows: Numbers, centres: Vectors) -> list[int]:
    of = nearest_clusters(vectors, rows, centres)
    near = np.empty(len(rows), np.float32)
    for begin in range(0, len(rows), BLOCK):
        part = slice(begin, begin + BLOCK)
        near[part] = np.einsum("rd,rd->r", unit(np.asarray(vectors[rows[part]], np.float32)), centres[of[part]])
    found = []
    for cluster in range(len(centres)):
        members = np.flatnonzero(of == cluster)
        if len(members):
            found.append(int(rows[members[np.argmax(near[members])]]))
    return found


def agreement(said: Sequence[str], proposed: Sequence[str]) -> float | None:
    """Cohen's κ of what a person said and what was proposed before; none where it cannot be told."""
    return cohen_kappa(list(said), list(proposed)) if said else None


def learning_curve(vectors: npt.NDArray[np.floating], labels: Sequence[tuple[int, str]]) -> list[tuple[int, float]]:
    """Accuracy by number of labels, in the order in which they were given: five-fold cross-validation of each fifth."""
    rows = np.array([row for row, _ in labels], np.int64)
    values = np.array([value for _, value in labels])
    points = sorted({max(20, round(len(rows) * part / 5)) for part in range(1, 6)})
    return [(n, _cross_validated(vectors, rows[:n], values[:n])) for n in points if n <= len(rows)]


def _cross_validated(vectors: npt.NDArray[np.floating], rows: Numbers, values: npt.NDArray[np.str_]) -> float:
    folds = np.random.default_rng(_SEED).permutation(len(rows)) % _FOLDS
    right = 0
    for fold in range(_FOLDS):
        train = folds != fold
        known = sorted(set(values[train].tolist()))
        if len(known) < 2:
            continue
        weights = fit_logistic(np.asarray(vectors[rows[train]], np.float32), values[train].tolist())
        best = predict_logistic(weights, np.asarray(vectors[rows[~train]], np.float32)).argmax(axis=1)
        right += int((np.array(known)[best] == values[~train]).sum())
    return right / max(1, len(rows))


def may_stop(curve: Sequence[tuple[int, float]]) -> bool:
    """Whether the last 200 labels brought less than one more right row in a hundred."""
    if not curve or curve[-1][0] <= STOP_LABELS:
        return False
    before = [share for count, share in curve if count <= curve[-1][0] - STOP_LABELS]
    return bool(before) and curve[-1][1] - before[-1] < STOP_GAIN
