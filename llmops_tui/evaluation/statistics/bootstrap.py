"""The bootstrap of any figure that is a function of sums over cases: means, rates, BLEU, F1, perplexity.

A case, or a cluster of cases, is a row of numbers. A figure is a function of the sums of these rows, so that one set of
resamples serves all figures at once, and the jackknife is a subtraction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Sums of shape (resamples, columns) in, figures of shape (resamples,) out.
Figure = Callable[[Floats], Floats]

RESAMPLES = 10_000
METHOD = "BCa bootstrap"
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, and how that was made.

    ``needed`` says how many cases or clusters would be enough where they are so few that the interval cannot be relied on,
    whatever it is.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    needed: str = ""

    @property
    def too_few(self) -> bool:
        """Whether nothing can be said with so few."""
        return bool(self.needed)

    @property
    def half_width(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2


def clustered_sums(rows: Floats, clusters: npt.NDArray[np.int64] | None) -> Floats:
    """Rows of cases, shape (cases, columns), added up by cluster, shape (clusters, columns); unchanged without clusters."""
    if clusters is None:
        return rows
    found = np.zeros((int(clusters.max()) + 1, rows.shape[1]))
    np.add.at(found, clusters, rows)
    return found


def resampled_sums(rows: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Sums of ``resamples`` samples of rows, drawn with replacement: shape (resamples, columns).

    Where few rows are different, the numbers of each are drawn at once, which has the same distribution.
    """
    random = np.random.default_rng(seed)
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    n = len(rows)
    if len(distinct) <= 64:
        return np.asarray(random.multinomial(n, counts / n, size=resamples) @ distinct)
    found = np.empty((resamples, rows.shape[1]))
    for i in range(resamples):
        found[i] = np.bincount(random.integers(0, n, n, dtype=np.int32), minlength=n) @ rows
    return found


def without_each(rows: Floats, figure: Figure) -> Floats:
    """The figure without each row: what a jackknife goes by, shape (rows,)."""
    return figure(rows.sum(axis=0) - rows)


def bca(
    rows: Floats,
    figure: Figure,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    without: Floats | None = None,
) -> Interval:
    """The bias-corrected and accelerated bootstrap interval of a figure.

    ``rows`` has shape (cases or clusters, columns); ``without`` are the figures of :func:`without_each`, where they are known.
    Efron, "Better Bootstrap Confidence Intervals", EventLog of the
    American Statistical Association 82, 1987; the acceleration is the jackknife's (Efron and Tibshirani, "An Introduction
    to the Bootstrap", 1993, eq. 14.15). Ties with the estimate count half, as in SciPy.
    """
    value = float(figure(rows.sum(axis=0, keepdims=True))[0])
    if len(rows) < 2 or not math.isfinite(value):
        return Interval(value, math.nan, math.nan, level, "none: fewer than two cases")
    drawn = figure(resampled_sums(rows, resamples, seed))
    drawn = np.sort(drawn[np.isfinite(drawn)])
    if not len(drawn) or drawn[0] == drawn[-1]:
        # Nothing varies: a bootstrap can only say that it has seen no other case.
        return Interval(value, math.nan, math.nan, level, "none: all cases are identical")
    below = (np.searchsorted(drawn, value, "left") + np.searchsorted(drawn, value, "right")) / (2 * len(drawn))
    bias = _NORMAL.inv_cdf(min(max(below, 0.5 / len(drawn)), 1 - 0.5 / len(drawn)))
    without = without_each(rows, figure) if without is None else without
    centred = without[np.isfinite(without)].mean() - without[np.isfinite(without)]
    spread = float((centred**2).sum())
    acceleration = float((centred**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0

    def end(share: float) -> float:
        z = bias + _NORMAL.inv_cdf(share)
        at = _NORMAL.cdf(bias + z / (1 - acceleration * z))
        return float(np.quantile(drawn, min(max(at, 0.0), 1.0)))

    return Interval(value, end((1 - level) / 2), end((1 + level) / 2), level, METHOD)


def mean_of(sums: Floats) -> Floats:
    """A mean from sums of (values, counts)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])


def rows_of(values: Floats) -> Floats:
    """Values as rows for :func:`mean_of`: shape (cases, 2)."""
    return np.column_stack([values, np.ones(len(values))])
