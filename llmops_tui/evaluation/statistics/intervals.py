"""Intervals of single proportions, of paired differences, and of means where cases come in clusters."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from llmops_tui.evaluation.statistics.bootstrap import Figure, Floats, Interval, bca
from llmops_tui.evaluation.statistics.student import t_quantile
from llmops_tui.evaluation.statistics.studentised import FEWEST, spread_of, studentised

# With so many cases a bootstrap needs no help.
_MANY = 100


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


def mean_interval(values: Floats, clusters: npt.NDArray[np.int64] | None = None, *, level: float = 0.95) -> Interval:
    """A mean with its interval: Wilson's for right or wrong, else by Student's distribution, of clusters if there are any.

    ``values`` has shape (cases,); ``clusters`` numbers the cluster of each case from 0.
    """
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    if binary and clusters is None:
        return wilson(float(values.sum()), len(values), level)
    if clusters is not None and binary and values.min() == values.max():
        # All right or all wrong: no cluster differs, and each counts as one case.
        count = int(clusters.max()) + 1
        return replace(wilson(float(values[0]) * count, count, level), too_few=count < FEWEST)
    return _of_mean(values, clusters, level, (0.0, 1.0) if binary else None)


def _of_mean(
    values: Floats, clusters: npt.NDArray[np.int64] | None, level: float, bounds: tuple[float, float] | None
) -> Interval:
    """By Student's distribution, within ``bounds``."""
    units = len(values) if clusters is None else int(clusters.max()) + 1
    if units < 2:
        what = "two cases" if clusters is None else "two groups"
        return Interval(float(values.mean()), math.nan, math.nan, level, f"none: fewer than {what}", too_few=True)
    spread = spread_of(values, clusters)
    if not spread.error:
        few = units < FEWEST
        return Interval(spread.value, math.nan, math.nan, level, "none: all cases are identical", too_few=few)
    found = studentised(spread, level, clustered=clusters is not None)
    if bounds is None:
        return found
    return replace(found, low=max(bounds[0], found.low), high=min(bounds[1], found.high))


def difference_interval(
    differences: Floats,
    clusters: npt.NDArray[np.int64] | None = None,
    *,
    binary: bool = False,
    level: float = 0.95,
) -> Interval:
    """The mean of paired differences, shape (cases,), with its interval.

    Tango's score interval where cases are right or wrong, else by Student's distribution, of clusters if there are any.
    """
    if binary and clusters is None:
        wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
        return tango(wins, losses, len(differences), level)
    if float(np.ptp(differences)) == 0 and abs(differences[0]) <= 1:
        # All alike: a share as large as Wilson's bound of none in n may still be otherwise.
        value = float(differences[0])
        units = len(differences) if clusters is None else int(clusters.max()) + 1
        unseen = wilson(0, units, level).high
        few = units < FEWEST
        ends = max(-1.0, value - unseen), min(1.0, value + unseen)
        return Interval(value, *ends, level, "Wilson, all alike", too_few=few)
    return _of_mean(differences, clusters, level, (-1.0, 1.0) if binary else None)


def figure_interval(rows: Floats, figure: Figure, *, level: float = 0.95, resamples: int) -> Interval:
    """A figure of sums over cases or clusters, such as BLEU or F1: ``rows`` has shape (cases or clusters, columns).

    BCa; of few rows, which a bootstrap takes for all there are, each end is moved outwards to that of the jackknife with
    Student's quantile where that is farther (Tukey 1958).
    """
    found = bca(rows, figure, level=level, resamples=resamples)
    few = len(rows) < FEWEST
    n = len(rows)
    if n >= _MANY or not math.isfinite(found.low):
        return replace(found, too_few=few)
    without = figure(rows.sum(axis=0) - rows)
    if not np.isfinite(without).all():
        return replace(found, too_few=few)
    half = t_quantile((1 + level) / 2, n - 1) * math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    low, high = min(found.low, found.value - half), max(found.high, found.value + half)
    return replace(found, low=low, high=high, method=f"{found.method}, jackknife t", too_few=few)
