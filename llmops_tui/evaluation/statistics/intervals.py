"""Intervals of single proportions, of paired differences, and of means where cases come in clusters."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from llmops_tui.evaluation.statistics.bootstrap import Figure, Floats, Interval, bca, without_each
from llmops_tui.evaluation.statistics.studentised import (
    FEWEST,
    Bounds,
    degrees_of,
    needed,
    of_figure,
    spread_of,
    studentised,
)


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


def ends(interval: Interval) -> tuple[float | None, float | None]:
    """The ends of an interval, none where they are not known."""
    low, high = (end if math.isfinite(end) else None for end in (interval.low, interval.high))
    return low, high


def mean_interval(
    values: Floats,
    clusters: npt.NDArray[np.int64] | None = None,
    *,
    level: float = 0.95,
    bounds: Bounds | None = None,
) -> Interval:
    """A mean with its interval: Wilson's for right or wrong, else by Student's distribution, of clusters if there are any.

    ``values`` has shape (cases,); ``clusters`` numbers the cluster of each case from 0; ``bounds`` are what no score leaves.
    """
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    if binary and clusters is None:
        return wilson(float(values.sum()), len(values), level)
    if clusters is not None and binary and values.min() == values.max():
        # All right or all wrong: no cluster differs, and each counts as one case.
        count = int(clusters.max()) + 1
        return replace(wilson(float(values[0]) * count, count, level), needed=_needed(values, clusters))
    return _of_mean(values, clusters, level, (0.0, 1.0) if binary else bounds)


def _needed(values: Floats, clusters: npt.NDArray[np.int64] | None) -> str:
    """How many cases or clusters are needed, of a mean that has no error; empty where there are enough."""
    if clusters is None:
        return needed(len(values), len(values) - 1, clustered=False)
    sizes = np.bincount(clusters).astype(np.float64)
    return needed(len(sizes), degrees_of(sizes) if len(sizes) > 1 else 0.0, clustered=True)


def _of_mean(values: Floats, clusters: npt.NDArray[np.int64] | None, level: float, bounds: Bounds | None) -> Interval:
    """By Student's distribution, within ``bounds``."""
    units = len(values) if clusters is None else int(clusters.max()) + 1
    if units < 2:
        what = "two cases" if clusters is None else "two groups"
        why = f"none: fewer than {what}"
        return Interval(float(values.mean()), math.nan, math.nan, level, why, needed=_needed(values, clusters))
    spread = spread_of(values, clusters)
    if not spread.error:
        why = "none: all cases are identical"
        return Interval(spread.value, math.nan, math.nan, level, why, needed=spread.needed)
    found = studentised(spread, level)
    if bounds is None:
        return found
    # A score that another version of a metric left outside must not put the mean itself outside.
    low, high = min(found.value, max(bounds[0], found.low)), max(found.value, min(bounds[1], found.high))
    return replace(found, low=low, high=high)


def difference_interval(
    differences: Floats,
    clusters: npt.NDArray[np.int64] | None = None,
    *,
    binary: bool = False,
    level: float = 0.95,
    bounds: Bounds | None = None,
) -> Interval:
    """The mean of paired differences, shape (cases,), with its interval.

    Tango's score interval where cases are right or wrong, else by Student's distribution, of clusters if there are any.
    ``bounds`` are what no score leaves, none where they have no limit: then nothing is known of what differences that are all
    alike might be otherwise.
    """
    if binary and clusters is None:
        wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
        return tango(wins, losses, len(differences), level)
    most = None if bounds is None else bounds[1] - bounds[0]
    if binary:
        most = 1.0
    if most is not None and float(np.ptp(differences)) == 0:
        # All alike: a share as large as Wilson's bound of none in n may still be otherwise, by all that scores allow.
        value = float(differences[0])
        units = len(differences) if clusters is None else int(clusters.max()) + 1
        unseen = wilson(0, units, level).high * most
        ends = max(-most, value - unseen), min(most, value + unseen)
        return Interval(value, *ends, level, "Wilson, all alike", needed=_needed(differences, clusters))
    return _of_mean(differences, clusters, level, None if most is None else (-most, most))


def figure_interval(
    rows: Floats,
    figure: Figure,
    *,
    level: float = 0.95,
    resamples: int,
    bounds: Bounds | None = None,
    enough: str = f"{FEWEST} cases",
) -> Interval:
    """A figure of sums over cases or clusters, such as BLEU or F1: ``rows`` has shape (cases or clusters, columns).

    BCa; since a bootstrap takes few rows for all there are, each end is moved outwards to that of the jackknife where that is
    farther, within ``bounds``. ``enough`` is what ``FEWEST`` rows are, in words.
    """
    without = without_each(rows, figure) if len(rows) > 1 else None
    found = bca(rows, figure, level=level, resamples=resamples, without=without)
    found = replace(found, needed=enough if len(rows) < FEWEST else "")
    if without is None or not math.isfinite(found.low) or not np.isfinite(without).all():
        return found
    other = of_figure(found.value, without, level)
    low, high = min(found.low, other.low), max(found.high, other.high)
    if bounds is not None:
        low, high = max(bounds[0], low), min(bounds[1], high)
    return replace(found, low=low, high=high, method=f"{found.method}, {other.method}")
