"""Significance tests of paired differences, corrections for several tests, and the detectable effect."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmops_tui.evaluation.statistics.bootstrap import RESAMPLES, Floats, clustered_sums
from llmops_tui.evaluation.statistics.student import t_quantile
from llmops_tui.evaluation.statistics.studentised import spread_of

_AT_ONCE = 64
# Which of eight values are positive in each form of a byte, shape (8, 256).
_SIGNS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).T.astype(np.float64)
POWER = 0.8


def mcnemar_exact(wins: int, losses: int) -> float:
    """The two-sided p-value of McNemar's exact test: a fair coin over the pairs that differ.

    McNemar, "Note on the Sampling Error of the Difference Between Correlated Proportions or Percentages",
    Psychometrika 12, 1947; exact by the binomial distribution.
    """
    n = wins + losses
    if n == 0:
        return 1.0
    logs = [_log_choose(n, k) for k in range(min(wins, losses) + 1)]
    tail = sum(math.exp(value - n * math.log(2)) for value in logs)
    return min(1.0, 2 * tail)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def sign_flip(
    differences: Floats,
    clusters: npt.NDArray[np.int64] | None = None,
    *,
    flips: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """The two-sided p-value of the paired permutation test: how often flipped signs give a sum as far from 0.

    ``differences`` has shape (cases,); clusters are flipped as a whole. Fisher, "The Design of Experiments", 1935,
    section 21; the observed signs count as one of the flips (Phipson and Smyth 2010).
    """
    values = clustered_sums(differences[:, None], clusters)[:, 0]
    values = values[values != 0]
    if not len(values):
        return 1.0
    random = np.random.default_rng(seed)
    total = float(values.sum())
    # Sums of the same numbers in another order differ in their last digits.
    near = abs(total) - 1e-9 * float(np.abs(values).sum())
    eights = np.zeros((-(-len(values) // 8), 8))
    eights.flat[: len(values)] = values
    positive = np.zeros(flips)
    for start in range(0, len(eights), _AT_ONCE):
        # A byte drawn is the signs of eight values; what each of its 256 forms adds up to is looked up.
        sums = eights[start : start + _AT_ONCE] @ _SIGNS
        drawn = np.frombuffer(random.bytes(len(sums) * flips), np.uint8).reshape(len(sums), flips)
        for of, forms in zip(sums, drawn, strict=True):
            positive += of[forms]
    reached = int((np.abs(2 * positive - total) >= near).sum())
    return (reached + 1) / (flips + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being several, in the same order.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian EventLog of Statistics 6, 1979.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def smallest_effect(
    differences: Floats, clusters: npt.NDArray[np.int64] | None = None, *, level: float = 0.95, power: float = POWER
) -> float:
    """The smallest true difference that so many pairs would show in ``power`` of all evaluations.

    (The quantile of the level + that of the power) × the standard error of the mean difference (Miller, arXiv 2411.00640,
    section 5), with Student's quantiles. Where no pair differs, three in n could have been missed.
    """
    n = len(differences)
    units = n if clusters is None else int(clusters.max()) + 1
    if units < 2:
        return math.nan
    spread = spread_of(differences, clusters)
    if not spread.error > 0:
        return 3.0 / units
    return (t_quantile((1 + level) / 2, spread.degrees) + t_quantile(power, spread.degrees)) * spread.error
