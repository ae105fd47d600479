"""Intervals of means of few cases or clusters: by Student's distribution, and wider on the side that skew hides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmops_tui.evaluation.statistics.bootstrap import Floats, Interval
from llmops_tui.evaluation.statistics.student import t_quantile

# With fewer cases or clusters no interval of scores that are not right or wrong keeps its promise if they are skewed.
FEWEST = 10
# With more clusters the degrees of freedom no longer matter.
_MANY = 200


@dataclass(frozen=True)
class Spread:
    """How sure a mean is.

    Attributes:
        error: its standard error, as measured with few clusters (CR2).
        degrees: of freedom, of Student's distribution of the mean over its error.
        skew: the skewness of what is averaged.
        units: the cases or clusters that it is measured by.
    """

    value: float
    error: float
    degrees: float
    skew: float
    units: int


def spread_of(values: Floats, clusters: npt.NDArray[np.int64] | None = None) -> Spread:
    """The mean of values, shape (cases,), at least two cases or clusters, with how sure it is.

    For clusters the error is CR2 and the degrees of freedom are Satterthwaite's (Bell and McCaffrey, "Bias Reduction in
    Standard Errors for Linear Regression with Multi-Stage Samples", Survey Methodology 28, 2002), the fewer of those for
    cases of a cluster that have nothing and that have everything in common; for cases, and clusters of one size, they are
    the units less one.
    """
    n = len(values)
    value = float(values.mean())
    centred = values - value
    if clusters is None:
        sizes, residuals = np.ones(n), centred / math.sqrt(1 - 1 / n)
        degrees = float(n - 1)
    else:
        sizes = np.bincount(clusters).astype(np.float64)
        residuals = np.bincount(clusters, weights=centred) / np.sqrt(1 - sizes / n)
        degrees = _degrees(sizes)
    squares = float((residuals**2).mean())
    error = math.sqrt(squares * len(sizes)) / n
    # Of what cannot vary, rounding leaves something.
    if error <= 1e-14 * float(np.abs(values).max(initial=0.0)):
        return Spread(value, 0.0, degrees, 0.0, len(sizes))
    skew = float((residuals**3).mean()) / squares**1.5
    return Spread(value, error, degrees, skew, len(sizes))


def _degrees(sizes: Floats) -> float:
    """Satterthwaite's degrees of freedom of a mean of clusters of these sizes."""
    count, n = len(sizes), float(sizes.sum())
    if count > _MANY or sizes.min() == sizes.max():
        return float(count - 1)
    weights = 1 / (n * np.sqrt(1 - sizes / n))
    found = []
    for sums in (sizes, sizes**2):
        # The covariances of the clusters' residuals, from the variances of their sums.
        shared = np.outer(sizes, sums) / n
        covariance = np.diag(sums) - shared - shared.T + np.outer(sizes, sizes) * sums.sum() / n**2
        weighted = covariance * np.outer(weights, weights)
        found.append(float(np.trace(weighted)) ** 2 / float((weighted**2).sum()))
    return max(1.0, min(found))


def studentised(spread: Spread, level: float, *, clustered: bool) -> Interval:
    """The interval of a mean: Student's, each end moved outwards to that of Hall's transformation where that is farther.

    Student's leaves out too often the mean of skewed scores on one side, the transformation that of scores with heavy tails;
    the wider of both ends keeps its promise for both. Hall, "On the Removal of Skewness by Transformation", Journal of the
    Royal Statistical Society B 54, 1992, the monotone transformation, with Student's quantiles.
    """
    q = t_quantile((1 + level) / 2, spread.degrees)
    upper, lower = _unskewed(q, spread), _unskewed(-q, spread)
    low = spread.value - spread.error * max(q, upper)
    high = spread.value + spread.error * max(q, -lower)
    name = "cluster t (CR2), skew-corrected" if clustered else "t, skew-corrected"
    return Interval(spread.value, low, high, level, name, too_few=spread.units < FEWEST)


def _unskewed(q: float, spread: Spread) -> float:
    """The quantile of a skewed mean over its error that belongs to one of a mean without skew."""
    if abs(spread.skew) < 1e-6:
        return q
    root = math.sqrt(spread.units)
    moved = q / root - spread.skew / (6 * spread.units)
    return root * 3 / spread.skew * (float(np.cbrt(1 + spread.skew * moved)) - 1)
