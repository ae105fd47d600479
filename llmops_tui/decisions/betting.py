"""Means of scores with known bounds, by betting: the evidence against a mean, and the interval of a mean, at every look."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from llmops_tui.decisions.numbers import Floats, log_mean_exp

Side = Literal["above", "below", "either"]
# Shares of the wealth that are bet, from those that find a small difference to those that find a large one at once.
_SHARES = np.geomspace(0.01, 0.95, 16)


def mean_evidence(values: npt.ArrayLike, mean: float, bounds: tuple[float, float], side: Side = "either") -> Floats:
    """The evidence after each score that their mean is above ``mean``, below it, or either; shape of ``values``, (…, n).

    The wealth of gamblers who each bet a fixed share of it on every score, on average over the gamblers: Waudby-Smith and
    Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal Statistical Society B 86, 2024,
    sections 4 and 5.4. Exact for scores of any distribution between the bounds. Against "at most ``mean``" and "at least
    ``mean``", too, for ``above`` and ``below``.

    Assumes that each score's mean, given those before it, is the one in question: one score a conversation.

    Raises:
        ValueError: the mean is not between the bounds, or a score is not.
    """
    given = _checked(values, mean, bounds)
    return log_mean_exp(np.cumsum(np.log1p(bet * (given - mean)), axis=-1) for bet in _bets(mean, bounds, side))


def final_evidence(values: npt.ArrayLike, mean: float, bounds: tuple[float, float], side: Side = "either") -> float:
    """The last of :func:`mean_evidence` of scores of shape (n,), and 0 of none; in less time than all of it."""
    given = _checked(values, mean, bounds)
    return float(log_mean_exp(np.log1p(bet * (given - mean)).sum(axis=-1) for bet in _bets(mean, bounds, side)))


def _checked(values: npt.ArrayLike, mean: float, bounds: tuple[float, float]) -> Floats:
    given = np.asarray(values, np.float64)
    low, high = bounds
    if not low < mean < high:
        raise ValueError(f"the mean {mean} is not between {low} and {high}")
    if given.size and not (low <= given.min() and given.max() <= high):
        raise ValueError(f"a score is not between {low} and {high}")
    return given


def _bets(mean: float, bounds: tuple[float, float], side: Side) -> list[float]:
    """What is bet on each unit above the mean: no more than what is left where the next score is the worst."""
    low, high = bounds
    above = [] if side == "below" else [float(share) / (mean - low) for share in _SHARES]
    return above + ([] if side == "above" else [-float(share) / (high - mean) for share in _SHARES])


def mean_limit(
    values: npt.ArrayLike, bounds: tuple[float, float], side: Literal["above", "below"], alpha: float
) -> float:
    """The end of a one-sided interval of the mean: what it is ``above``, or ``below``, but with probability ``alpha``.

    At all looks together. The wealth of those who bet on ``above`` falls with the mean that they bet against, and of the
    others it grows, so that the end is found by halving.
    """
    given = np.asarray(values, np.float64)
    low, high = bounds
    outside = low if side == "above" else high
    if not given.size:
        return outside
    inside = float(np.clip(given.mean(), low, high))
    for _ in range(50):
        tried = (inside + outside) / 2
        if not low < tried < high or final_evidence(given, tried, bounds, side) >= -math.log(alpha):
            outside = tried
        else:
            inside = tried
    return outside


def bounded_mean_sequence(
    values: npt.ArrayLike, bounds: tuple[float, float], level: float = 0.95
) -> tuple[float, float]:
    """The means that the scores, shape (n,), do not exclude: right at all looks together.

    Each end is a test of its own with half of what the level leaves.
    """
    half = (1 - level) / 2
    return mean_limit(values, bounds, "above", half), mean_limit(values, bounds, "below", half)
