"""Intervals of single proportions, of paired differences, and of means where cases come in clusters."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from llmops_tui.evaluation.statistics.bootstrap import (
    RESAMPLES,
    Floats,
    Interval,
    bca,
    bca_levels,
    clustered_sums,
    mean_of,
    rows_of,
)

# Below so many pairs that are not like most, the bootstrap of a difference of two rates is too narrow.
_FEW = 15


def z_of(level: float) -> float:
    """The two-sided quantile of the normal distribution: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", EventLog of the American Statistical
    Association 22, 1927.
    """
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, level, "Wilson")
    z = z_of(level)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding must not put the share itself outside.
    return Interval(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)), level, "Wilson")


def tango(wins: int, losses: int, n: int, level: float = 0.95) -> Interval:
    """Tango's score interval of the difference of two paired proportions; right also where hardly any pair differs.

    ``wins`` and ``losses`` are the pairs right in the second or in the first alone. Tango, "Equivalence Test and
    Confidence Interval for the Difference in Proportions for the Paired-Sample Design", Statistics in Medicine 17, 1998.
    """
    z = z_of(level)
    value = (wins - losses) / n

    def score(difference: float) -> float:
        """The score statistic at a difference, whose root is an end of the interval."""
        b = -wins - losses + (2 * n - wins + losses) * difference
        c = -losses * difference * (1 - difference)
        share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        top = wins - losses - n * difference
        return top / math.sqrt(variance) if variance > 1e-12 else math.copysign(math.inf, top) if top else 0.0

    def root(inside: float, outside: float, target: float) -> float:
        for _ in range(80):
            middle = (inside + outside) / 2
            if (score(middle) < target) == (target > 0):
                inside = middle
            else:
                outside = middle
        return (inside + outside) / 2

    return Interval(value, root(value, -1.0, z), root(value, 1.0, -z), level, "Tango score")


def mean_interval(
    values: Floats,
    clusters: npt.NDArray[np.int64] | None = None,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A mean with its interval: Wilson for right or wrong, else the BCa bootstrap, of clusters where there are any.

    ``values`` has shape (cases,); ``clusters`` numbers the cluster of each case from 0.
    """
    binary = clusters is None and bool(np.isin(values, (0.0, 1.0)).all())
    if binary:
        return wilson(float(values.sum()), len(values), level)
    if clusters is not None and values.min() == values.max() and values[0] in {0.0, 1.0}:
        # All right or all wrong: no resample differs, and a cluster counts as one case.
        count = int(clusters.max()) + 1
        return wilson(float(values[0]) * count, count, level)
    return bca(clustered_sums(rows_of(values), clusters), mean_of, level=level, resamples=resamples, seed=seed)


def difference_interval(
    differences: Floats,
    clusters: npt.NDArray[np.int64] | None = None,
    *,
    binary: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean of paired differences with its 95 % interval; see :func:`difference_intervals`."""
    return difference_intervals(differences, clusters, (0.95,), binary=binary, resamples=resamples, seed=seed)[0]


def difference_intervals(
    differences: Floats,
    clusters: npt.NDArray[np.int64] | None,
    levels: tuple[float, ...],
    *,
    binary: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """The mean of paired differences, shape (cases,), with its interval at each level.

    BCa over cases or clusters. Where cases are right or wrong and nearly all pairs have the same difference, Tango's score
    interval: a bootstrap can only draw from what was seen, and is too narrow there, down to no width.
    """
    n = len(differences)
    _, counts = np.unique(differences, return_counts=True)
    if binary and clusters is None and n - counts.max() < _FEW:
        wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
        return [tango(wins, losses, n, level) for level in levels]
    if len(counts) == 1 and abs(differences[0]) <= 1:
        # All alike: a share as large as Wilson's bound of none in n may still be otherwise.
        value = float(differences[0])
        unseen = [wilson(0, n if clusters is None else int(clusters.max()) + 1, level).high for level in levels]
        return [
            Interval(value, max(-1.0, value - u), min(1.0, value + u), level, "Wilson, all alike")
            for u, level in zip(unseen, levels, strict=True)
        ]
    return bca_levels(clustered_sums(rows_of(differences), clusters), mean_of, levels, resamples=resamples, seed=seed)


def standard_error(values: Floats, clusters: npt.NDArray[np.int64] | None = None) -> float:
    """The standard error of a mean; of clusters, the sandwich estimate without small-sample correction.

    Miller, "Adding Error Bars to Evals", arXiv 2411.00640, eq. 4.
    """
    n = len(values)
    if n < 2:
        return math.nan
    centred = values - values.mean()
    if clusters is None:
        return float(math.sqrt((centred**2).sum() / (n - 1) / n))
    sums = np.bincount(clusters, weights=centred)
    return float(math.sqrt((sums**2).sum()) / n)
