"""Intervals of means of few cases or clusters: by Student's distribution, and wider on the side that skew hides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmops_tui.evaluation.statistics.bootstrap import Floats, Interval
from llmops_tui.evaluation.statistics.student import t_quantile

Bounds = tuple[float, float]
"""The lowest and the highest score that there can be."""
# With fewer cases, or what clusters of different sizes are worth, no interval keeps its promise if scores are skewed.
FEWEST = 10
# Few scores hide their tail: their skewness is taken for as much more as simulated samples of lognormal scores need.
_HIDDEN = 12


@dataclass(frozen=True)
class Spread:
    """How sure a mean is.

    Attributes:
        error: its standard error, as measured with few clusters (CR2).
        degrees: of freedom, of Student's distribution of the mean over its error.
        skew: the skewness of what is averaged.
        units: the cases or clusters that it is measured by.
        clustered: whether those are clusters.
    """

    value: float
    error: float
    degrees: float
    skew: float
    units: int
    clustered: bool

    @property
    def worth(self) -> float:
        """How many cases or clusters of one size would measure it as well: fewer than there are where few have most cases."""
        return self.degrees + 1

    @property
    def needed(self) -> str:
        """Where there are too few to say anything, how many would be enough; else empty."""
        return needed(self.units, self.degrees, clustered=self.clustered)


def needed(units: int, degrees: float, *, clustered: bool) -> str:
    """How many cases or clusters would be enough, in words; empty where there are as many.

    Of clusters of different sizes the degrees of freedom count, which grow with their number.
    """
    if degrees > FEWEST - 1 - 1e-9:
        return ""
    if not clustered:
        return f"{FEWEST} cases"
    if degrees > units - 1 - 1e-9:
        return f"{FEWEST} groups"
    return f"about {math.ceil(units * (FEWEST - 1) / degrees):,} groups of such sizes"


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
        degrees = degrees_of(sizes)
    squares = float((residuals**2).mean())
    error = math.sqrt(squares * len(sizes)) / n
    # Of what cannot vary, rounding leaves something.
    if error <= 1e-14 * float(np.abs(values).max(initial=0.0)):
        return Spread(value, 0.0, degrees, 0.0, len(sizes), clusters is not None)
    skew = float((residuals**3).mean()) / squares**1.5
    return Spread(value, error, degrees, skew, len(sizes), clusters is not None)


def degrees_of(sizes: Floats) -> float:
    """Satterthwaite's degrees of freedom of a mean of clusters of these sizes."""
    count, n = len(sizes), float(sizes.sum())
    if sizes.min() == sizes.max():
        return float(count - 1)
    weights = 1 / (n * np.sqrt(1 - sizes / n))
    found = []
    for sums in (sizes, sizes**2):
        # The covariances of the clusters' residuals, from the variances of their sums: a diagonal, and products of two vectors.
        # Only their traces are needed, so that there is no matrix of many clusters.
        own, one, two = sums * weights**2, sizes * weights, sums * weights
        scale = float(sums.sum()) / n**2
        ones, twos, both = float(one @ one), float(two @ two), float(one @ two)
        products = scale * one**2 - 2 * one * two / n
        square = (2 * ones * twos + 2 * both**2) / n**2 - 4 * scale * ones * both / n + (scale * ones) ** 2
        trace = float((own + products).sum())
        found.append(trace**2 / float((own**2 + 2 * own * products).sum() + square))
    return max(1.0, min(found))


def studentised(spread: Spread, level: float) -> Interval:
    """The interval of a mean: Student's, its end on the side of the longer tail moved outwards by Hall's transformation.

    Student's leaves out too often the mean of skewed scores on one side, the transformation that of scores with heavy tails;
    the wider of both keeps its promise for both. Hall, "On the Removal of Skewness by Transformation", Journal of the
    Royal Statistical Society B 54, 1992, the monotone transformation, with Student's quantiles. A sample of few does not show
    its tail, so that its skewness counts for more than it is: what is simulated in docs/benchmarks.md decides how much more.
    """
    q = t_quantile((1 + level) / 2, spread.degrees)
    far = unskewed(q, spread.skew, spread.worth)
    low = spread.value - spread.error * (far if spread.skew < 0 else q)
    high = spread.value + spread.error * (far if spread.skew > 0 else q)
    name = "cluster t (CR2), skew-corrected" if spread.clustered else "t, skew-corrected"
    return Interval(spread.value, low, high, level, name, needed=spread.needed)


def unskewed(q: float, skew: float, units: float, hidden: float | None = None) -> float:
    """How many errors from a skewed mean the end of its interval is, on the side of its longer tail: ``q`` or more.

    ``q`` is the quantile of a mean without skew, ``hidden`` by how much more the skewness of so many units counts. The
    transformation moves the end back again where samples are very skewed; the farthest of all up to this skewness is taken.
    """
    at = abs(skew) * (1 + _HIDDEN / units if hidden is None else hidden) / math.sqrt(units)
    if at < 1e-6:
        return q
    at = min(at, farthest(q))
    return max(q, 3 / at * (1 - math.cbrt(1 - at * q - at * at / 6)))


def farthest(q: float) -> float:
    """The skewness, over the root of the units, at which the transformation moves an end the farthest.

    With u the cube root in it, the slope is that of (1 - u)² (1 + 2 u) + skewness² / 6, which changes its sign once.
    """
    low, high = 0.0, 1.5 / q
    for _ in range(50):
        at = (low + high) / 2
        root = math.cbrt(1 - at * q - at * at / 6)
        if (1 - root) ** 2 * (1 + 2 * root) + at * at / 6 > 0:
            low = at
        else:
            high = at
    return low


def of_figure(value: float, without: Floats, level: float) -> Interval:
    """The interval of any figure by its jackknife: ``without`` are the figures without each of its rows.

    Student's, of the figure and of the one that is corrected for its bias, both skew-corrected by what a bootstrap of few
    rows does not see; of many rows it is Tukey's (1958).
    """
    n = len(without)
    pseudo = n * value - (n - 1) * without
    spread = spread_of(np.asarray(pseudo, np.float64))
    q = t_quantile((1 + level) / 2, spread.degrees)
    far = unskewed(q, spread.skew, n, _HIDDEN / n)
    low = min(value, spread.value) - spread.error * (far if spread.skew < 0 else q)
    high = max(value, spread.value) + spread.error * (far if spread.skew > 0 else q)
    return Interval(value, low, high, level, "jackknife t, skew-corrected", needed=spread.needed)
