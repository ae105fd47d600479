"""A head: logistic regression on hashed parts of a text's form, trained on labelled traffic; its weights are numbers in JSON."""

from __future__ import annotations

import base64
import itertools
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.guardrails.canonical import canonical
from llmops_tui.inference.guardrails.windows import windows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

COLUMNS = 1 << 14
_WORD = re.compile(r"\w+")
_LETTERS = (3, 4)
_MOST_PARTS = 6000
FEWEST = 20
"""So many labelled texts of each kind are needed."""


class HeadRecord(TypedDict):
    """A head as it is kept: ``weights`` are 32-bit floats in base64, one a column."""

    columns: int
    weights: str
    bias: float
    threshold: float


class Labelled(TypedDict):
    """A labelled text: ``attack`` is what the guard is for."""

    text: str
    attack: bool


@dataclass(frozen=True)
class HeadModel:
    """Scores texts from 0 to 1; from ``threshold`` on one is meant."""

    weights: NDArray[np.float32]
    bias: float
    threshold: float

    def score(self, text: str, most_windows: int) -> float:
        """The highest score of a text's windows."""
        scores = [self._score(part) for part in windows(text, most_windows)]
        return max(scores, default=0.0)

    def _score(self, text: str) -> float:
        columns, values = parts_of(text)
        return float(1.0 / (1.0 + np.exp(-(values @ self.weights[columns] + self.bias))))

    def as_record(self) -> HeadRecord:
        """For JSON."""
        return {
            "columns": len(self.weights),
            "weights": base64.b64encode(self.weights.astype("<f4").tobytes()).decode(),
            "bias": self.bias,
            "threshold": self.threshold,
        }

    @classmethod
    def from_json(cls, text: str) -> HeadModel:
        """A head as it was kept.

        Raises:
            InputRefusedError: ``bad_head``: it was not kept so.
        """
        try:
            told: HeadRecord = json.loads(text)
            weights = np.frombuffer(base64.b64decode(told["weights"], validate=True), dtype="<f4").astype(np.float32)
            made = cls(weights, float(told["bias"]), float(told["threshold"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputRefusedError("bad_head", f"the head is damaged: {error}", "Train it again.") from error
        if len(weights) != COLUMNS or not np.isfinite(weights).all():
            raise InputRefusedError("bad_head", "the head has other columns than this release", "Train it again.")
        return made


def parts_of(text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The columns of a text's parts, and their values, of length 1: words, pairs of words, and runs of letters."""
    form = canonical(text)
    words = _WORD.findall(form)[:_MOST_PARTS]
    parts = [*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))]
    for word in words:
        edged = f"<{word}>"
        parts += [edged[k : k + size] for size in _LETTERS for k in range(max(0, len(edged) - size + 1))]
    hashed = np.fromiter((zlib.crc32(part.encode()) % COLUMNS for part in parts[:_MOST_PARTS]), np.int64)
    columns, counts = np.unique(hashed, return_counts=True)
    values = np.log1p(counts).astype(np.float32)
    length = float(np.linalg.norm(values))
    return columns, values / length if length else values


def matrix(texts: Sequence[str]) -> csr_matrix:
    """Texts by columns, one a row."""
    from scipy.sparse import csr_matrix

    found = [parts_of(text) for text in texts]
    places = np.cumsum([0, *(len(columns) for columns, _ in found)])
    columns = np.concatenate([c for c, _ in found]) if found else np.zeros(0, np.int64)
    values = np.concatenate([v for _, v in found]) if found else np.zeros(0, np.float32)
    return csr_matrix((values, columns, places), shape=(len(texts), COLUMNS))


def fit(rows: Sequence[Labelled]) -> HeadModel:
    """A head for labelled texts; its threshold is chosen afterwards.

    Raises:
        InputRefusedError: ``too_few_labels``.
    """
    from sklearn.linear_model import LogisticRegression

    wanted = [row["attack"] for row in rows]
    for kind, count in ((True, sum(wanted)), (False, len(wanted) - sum(wanted))):
        if count < FEWEST:
            told = f"{count} texts are labelled as {'attack' if kind else 'benign'}, and {FEWEST} are needed"
            raise InputRefusedError("too_few_labels", told, "Label more of them.")
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=500, random_state=0)
    model.fit(matrix([row["text"] for row in rows]), wanted)
    return HeadModel(model.coef_[0].astype(np.float32), float(model.intercept_[0]), 0.5)
