"""Log-probabilities from logits: natural logarithm of the softmax over the whole vocabulary, before any sampler."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def log_normalizers(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """log(sum(exp(row))) of each row of logits, shape (rows,); the greatest is taken out first, so nothing overflows."""
    top = rows.max(axis=1, keepdims=True)
    sums = np.exp(rows - top).sum(axis=1, dtype=np.float64)
    return np.asarray(np.log(sums) + top[:, 0])


def top_logprobs(row: npt.NDArray[np.float32], normalizer: float, count: int) -> list[tuple[int, float]]:
    """The ``count`` likeliest tokens of one row of logits with their log-probabilities, likeliest first."""
    count = min(count, len(row))
    if count == 0:
        return []
    best = np.argpartition(row, len(row) - count)[len(row) - count :]
    best = best[np.lexsort((best, -row[best]))]
    # In double precision, as that of a chosen token: NumPy takes a Python number from a single in single precision.
    return [(int(token), float(row[token]) - normalizer) for token in best]
