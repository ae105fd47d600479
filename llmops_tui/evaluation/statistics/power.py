"""Power of paired comparisons before they are made: how many cases an effect needs, and the smallest effect of so many."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from llmops_tui.evaluation.statistics.student import t_quantile

LEVEL, POWER = 0.95, 0.8
MOST = 1_000_000
# Up to so many cases the exact test is counted through; beyond, its power is that of the normal approximation.
_EXACT = 1500


def pairs_needed(effect: float, differing: float, *, level: float = LEVEL, power: float = POWER) -> int | None:
    """The cases that McNemar's exact test needs to show a difference of two shares; none where so few pairs differ.

    ``effect`` is the difference of the shares, ``differing`` the share of pairs of which one is right and the other wrong.
    Counted through with the exact test where they are few: the first number from which on the power stays. Else by the
    normal approximation with its correction (Connor, "Sample Size for Testing Differences in Proportions for the
    Paired-Sample Design", Biometrics 43, 1987, with the continuity correction 1 / effect).
    """
    effect = abs(effect)
    if not 0 < effect <= differing <= 1:
        return None
    about = _connor(effect, differing, level, power) + 1 / effect
    if about > MOST:
        return None
    if about > _EXACT * 0.8:
        return math.ceil(about)
    most = min(_EXACT, math.ceil(about * 1.3) + 20)
    found = None
    for n in range(most, 0, -1):
        if mcnemar_power(n, effect, differing, level=level) < power:
            break
        found = n
    return found if found is not None else math.ceil(about)


def _connor(effect: float, differing: float, level: float, power: float) -> float:
    normal = NormalDist()
    a, b = normal.inv_cdf((1 + level) / 2), normal.inv_cdf(power)
    return (a * math.sqrt(differing) + b * math.sqrt(max(0.0, differing - effect * effect))) ** 2 / effect**2


def mcnemar_power(n: int, effect: float, differing: float, *, level: float = LEVEL) -> float:
    """The probability that McNemar's exact test of ``n`` pairs is significant, over all tables that can come."""
    share = (differing + effect) / (2 * differing)
    weights = _binomial(n, differing)
    found = 0.0
    # Numbers of differing pairs that hardly ever come add nothing.
    for m in np.flatnonzero(weights > 1e-12).tolist():
        limit = _most_losses(m, level)
        if limit >= 0:
            chances = _binomial(m, share)
            found += float(weights[m] * (chances[: limit + 1].sum() + chances[m - limit :].sum()))
    return found


@functools.lru_cache(maxsize=8192)
def _most_losses(m: int, level: float) -> int:
    """The most losses, and by symmetry wins, of ``m`` differing pairs that are significant; -1 where none are."""
    fair = np.cumsum(_binomial(m, 0.5))[: m // 2 + 1]
    # A half of an even number is no loss more than wins: its two tails have the middle in common.
    limit = int(np.searchsorted(2 * fair, (1 - level) * (1 + 1e-9), side="right")) - 1
    return min(limit, (m - 1) // 2)


def _binomial(n: int, share: float) -> npt.NDArray[np.float64]:
    """The probabilities of 0 to n."""
    if share in (0.0, 1.0):
        sure = np.zeros(n + 1)
        sure[n if share else 0] = 1.0
        return sure
    k = np.arange(n + 1)
    logs = _log_factorials(n)
    found: npt.NDArray[np.float64] = np.exp(
        logs[n] - logs[k] - logs[n - k] + k * math.log(share) + (n - k) * math.log1p(-share)
    )
    return found


def _log_factorials(n: int) -> npt.NDArray[np.float64]:
    # A table of such a size serves many numbers.
    return _all_log_factorials(1 << max(6, n.bit_length()))


@functools.lru_cache(maxsize=16)
def _all_log_factorials(most: int) -> npt.NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])


def smallest_difference(n: int, differing: float, *, level: float = LEVEL, power: float = POWER) -> float | None:
    """The smallest difference of two shares that ``n`` pairs show with this power; none where even the largest is not seen."""
    if n < 1 or not 0 < differing <= 1:
        return None

    def enough(effect: float) -> bool:
        if n <= _EXACT:
            return mcnemar_power(n, effect, differing, level=level) >= power
        return _connor(effect, differing, level, power) + 1 / effect <= n

    if not enough(differing):
        return None
    low, high = 0.0, differing
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def scores_needed(effect: float, spread: float, *, level: float = LEVEL, power: float = POWER) -> int | None:
    """The cases that a paired test of means needs to show a difference of ``effect``.

    ``spread`` is the standard deviation of the paired differences. (The quantiles of the level and of the power × the
    spread / the effect) squared, with Student's quantiles (Miller, arXiv 2411.00640, section 5); none beyond a million.
    """
    if not effect or not spread > 0:
        return None
    n = 2
    for _ in range(100):
        factor = t_quantile((1 + level) / 2, n - 1) + t_quantile(power, n - 1)
        wanted = max(2, math.ceil((factor * spread / abs(effect)) ** 2))
        if wanted > MOST:
            return None
        if wanted == n:
            break
        # From below it may leap; half the way keeps it from going round in circles.
        n = wanted if wanted > n else (n + wanted + 1) // 2 if n - wanted > 1 else wanted
    return n


def spread_of_differences(first: float, second: float, correlation: float) -> float:
    """The standard deviation of differences from those of both sides and their correlation."""
    return math.sqrt(max(0.0, first * first + second * second - 2 * correlation * first * second))
