"""A head: logistic regression on labelled traffic, on hashed parts of a text's form and, where asked for, its embedding.

Its weights are numbers in JSON.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, TypeAlias, TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.guardrails.canonical import canonical

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

Floats: TypeAlias = "NDArray[np.float32]"
COLUMNS = 1 << 14
_WORD = re.compile(r"\w+")
_LETTERS = (3, 4)
_MOST_PARTS = 6000
FEWEST = 20
"""So many labelled texts of each kind are needed."""


class HeadRecord(TypedDict):
    """A head as it is kept: ``weights`` are 32-bit floats in base64, one a column, those of the embedding last."""

    columns: int
    weights: str
    bias: float
    threshold: float
    embedder: NotRequired[str]


class Labelled(TypedDict):
    """A labelled text: ``attack`` is what the guard is for."""

    text: str
    attack: bool


@dataclass(frozen=True)
class HeadModel:
    """Scores texts from 0 to 1; from ``threshold`` on one is meant. ``embedder`` is the model whose vectors it needs, too."""

    weights: NDArray[np.float32]
    bias: float
    threshold: float
    embedder: str = ""

    def score(self, parts: Sequence[str], vectors: Sequence[Floats] | None = None) -> float:
        """The highest score of a text's windows, given their embeddings where it has an ``embedder``.

        Raises:
            InputRefusedError: ``bad_vectors``: they are not of the model that it was trained with; or are no numbers.
        """
        wanted = len(self.weights) - COLUMNS
        if vectors is not None and (
            len(vectors) != len(parts) or any(one.shape != (wanted,) or not _finite(one) for one in vectors)
        ):
            told = f"{self.embedder!r} does not give a vector of {wanted} numbers for each text any more"
            raise InputRefusedError("bad_vectors", told, "Train the head again.")
        scores = [self._score(part, vectors[n] if vectors is not None else None) for n, part in enumerate(parts)]
        return max(scores, default=0.0)

    def _score(self, text: str, vector: Floats | None) -> float:
        import numpy as np

        columns, values = parts_of(text)
        total = float(values @ self.weights[columns]) + self.bias
        if vector is not None:
            total += float(vector @ self.weights[COLUMNS:])
        return float(1.0 / (1.0 + np.exp(-total)))

    def as_record(self) -> HeadRecord:
        """For JSON."""
        told: HeadRecord = {
            "columns": len(self.weights),
            "weights": base64.b64encode(self.weights.astype("<f4").tobytes()).decode(),
            "bias": self.bias,
            "threshold": self.threshold,
        }
        return {**told, "embedder": self.embedder} if self.embedder else told

    @classmethod
    def from_json(cls, text: str) -> HeadModel:
        """A head as it was kept.

        Raises:
            InputRefusedError: ``bad_head``: it was not kept so.
        """
        import numpy as np

        try:
            told: HeadRecord = json.loads(text)
            weights = np.frombuffer(base64.b64decode(told["weights"], validate=True), dtype="<f4").astype(np.float32)
            made = cls(weights, float(told["bias"]), float(told["threshold"]), str(told.get("embedder") or ""))
        except (ValueError, KeyError, TypeError) as error:
            raise InputRefusedError("bad_head", f"the head is damaged: {error}", "Train it again.") from error
        if (
            (len(weights) > COLUMNS) is not bool(made.embedder)
            or len(weights) < COLUMNS
            or not np.isfinite(weights).all()
        ):
            raise InputRefusedError("bad_head", "the head has other columns than this release", "Train it again.")
        return made


def _finite(vector: Floats) -> bool:
    import numpy as np

    return bool(np.isfinite(vector).all())


def parts_of(text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The columns of a text's parts, and their values, of length 1: words, pairs of words, and runs of letters."""
    import numpy as np

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
    import numpy as np
    from scipy.sparse import csr_matrix

    found = [parts_of(text) for text in texts]
    places = np.cumsum([0, *(len(columns) for columns, _ in found)])
    columns = np.concatenate([c for c, _ in found]) if found else np.zeros(0, np.int64)
    values = np.concatenate([v for _, v in found]) if found else np.zeros(0, np.float32)
    return csr_matrix((values, columns, places), shape=(len(texts), COLUMNS))


def fit(rows: Sequence[Labelled], vectors: Sequence[Floats] | None = None, embedder: str = "") -> HeadModel:
    """A head for labelled texts, with an embedding of each where it has an ``embedder``; its threshold is chosen afterwards.

    Raises:
        InputRefusedError: ``too_few_labels``.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    wanted = [row["attack"] for row in rows]
    for kind, count in ((True, sum(wanted)), (False, len(wanted) - sum(wanted))):
        if count < FEWEST:
            told = f"{count} texts are labelled as {'attack' if kind else 'benign'}, and {FEWEST} are needed"
            raise InputRefusedError("too_few_labels", told, "Label more of them.")
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=500, random_state=0)
    table = matrix([row["text"] for row in rows])
    if vectors is not None:
        from scipy.sparse import hstack

        table = hstack([table, csr_matrix_of(vectors)], format="csr")
    model.fit(table, wanted)
    return HeadModel(model.coef_[0].astype(np.float32), float(model.intercept_[0]), 0.5, embedder)


def csr_matrix_of(vectors: Sequence[Floats]) -> csr_matrix:
    """Vectors as a table."""
    import numpy as np
    from scipy.sparse import csr_matrix

    return csr_matrix(np.stack(vectors))
