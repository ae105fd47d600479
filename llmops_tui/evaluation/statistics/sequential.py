"""Intervals that hold at every look: confidence sequences, by which a run may stop as soon as it knows enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from llmops_tui.decisions.means import half_width
from llmops_tui.evaluation.statistics.bootstrap import Interval
from llmops_tui.evaluation.statistics.student import t_quantile
from llmops_tui.evaluation.statistics.studentised import FEWEST, needed, spread_of, unskewed

_LEVEL = 0.95
# Both parameters of the mixture over rates: Jeffreys' prior, which is narrow for rates near 0 and 1.
_PRIOR = 0.5
# Farther out no quantile has the digits that it needs: of so few scores nothing is known yet.
_SURE = 1 - 1e-12


def log_evidence(total: float, n: int, rate: float) -> float:
    """The logarithm of the evidence against a mean, from n scores between 0 and 1 with this sum.

    The mixture of likelihood ratios over a beta distribution: under the true mean it is a supermartingale that begins at 1,
    so that it ever passes 20 in at most one of twenty runs (Ville's inequality). Robbins, "Statistical Methods Related to
    the Law of the Iterated Logarithm", 1970. For scores between 0 and 1, and not 0 or 1 alone, it holds since each factor is
    convex in the score.
    """
    rest = n - total
    mixture = _log_beta(total + _PRIOR, rest + _PRIOR) - _log_beta(_PRIOR, _PRIOR)
    return mixture - (total * math.log(rate) if total else 0.0) - (rest * math.log1p(-rate) if rest else 0.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def rate_sequence(total: float, n: int, level: float = _LEVEL) -> Interval:
    """The interval of a mean of scores between 0 and 1, from their sum: right at all looks together, whatever n is."""
    name = "confidence sequence, beta mixture"
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, level, name)
    mean, limit = total / n, -math.log(1 - level)

    def end(outer: float) -> float:
        inside, outside = mean, outer
        for _ in range(60):
            middle = (inside + outside) / 2
            if 0 < middle < 1 and log_evidence(total, n, middle) <= limit:
                inside = middle
            else:
                outside = middle
        return outside

    return Interval(mean, 0.0 if total <= 0 else end(0.0), 1.0 if total >= n else end(1.0), level, name)


def mean_sequence(
    values: Sequence[float], bounds: tuple[float, float] | None, first: int, level: float = _LEVEL
) -> Interval:
    """The interval of a mean at every look.

    Where scores have bounds it is exact. Where they have none it is that of
    :func:`llmops_tui.decisions.means.half_width`, the narrowest at ``first`` scores, from which on it holds in simulations: with
    Student's quantile in the place of the normal one, and on the side of the longer tail moved outwards as intervals of
    means are. Without an end where there are too few to say anything.
    """
    n = len(values)
    if bounds is not None and n and bounds[0] <= min(values) and max(values) <= bounds[1]:
        low, high = bounds
        found = rate_sequence(sum((v - low) / (high - low) for v in values), n, level)
        value, left, right = (low + part * (high - low) for part in (found.value, found.low, found.high))
        return Interval(value, left, right, level, found.method)
    name = "confidence sequence, asymptotic"
    if n < FEWEST:
        few = needed(n, n - 1, clustered=False)
        return Interval(float(np.mean(values)) if n else math.nan, -math.inf, math.inf, level, name, needed=few)
    spread = spread_of(np.array(values, np.float64))
    errors = float(half_width(n, math.sqrt(n), 1 - level, first))
    share = NormalDist().cdf(errors)
    if share > _SURE:
        return Interval(spread.value, -math.inf, math.inf, level, name)
    q = t_quantile(share, spread.degrees)
    far = unskewed(q, spread.skew, n)
    low = spread.value - spread.error * (far if spread.skew < 0 else q)
    high = spread.value + spread.error * (far if spread.skew > 0 else q)
    return Interval(spread.value, low, high, level, f"{name}, skew-corrected")
