"""Means of figures without bounds, such as seconds: asymptotic confidence sequences."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from llmops_tui.decisions.numbers import Floats

# The number of conversations at which the interval is the narrowest, where nobody says another.
TUNED = 500
_FEWEST = 0.1


def half_width(n: npt.ArrayLike, deviation: npt.ArrayLike, alpha: float, tuned: float = TUNED) -> Floats:
    """Half of the width of an interval of a mean that holds at every look, from how many figures there are and how they vary.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences",
    Annals of Statistics 52, 2024, eq. 4 with its appendix on the choice of rho: the narrowest at ``tuned`` figures. In the
    unit of the figures.

    Assumes figures of finite variance, and many of them: see :func:`fewest`.
    """
    count, spread = np.asarray(n, np.float64), np.asarray(deviation, np.float64)
    twice = -2 * math.log(alpha)
    rho = (twice + math.log(twice + 1)) / tuned
    grown = count * rho + 1
    return np.asarray(spread * np.sqrt(2 * grown / (count * count * rho) * np.log(np.sqrt(grown) / alpha)))


def fewest(tuned: float = TUNED) -> int:
    """Of fewer figures than so many nothing is said: the limit theorem that the interval rests on needs some."""
    return max(2, math.ceil(_FEWEST * tuned))


def running_means(values: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The mean and the standard deviation of the first 1, 2, … n figures, each of shape (…, n)."""
    given = np.asarray(values, np.float64)
    n = np.arange(1, given.shape[-1] + 1)
    # About the first, so that large figures that hardly differ lose no digits.
    apart = given - given[..., :1]
    mean = np.cumsum(apart, axis=-1) / n
    square = np.cumsum(apart * apart, axis=-1) / n - mean * mean
    return given[..., :1] + mean, np.sqrt(np.maximum(square, 0.0) * n / np.maximum(n - 1, 1))


def mean_sequences(values: npt.ArrayLike, alpha: float = 0.05, tuned: float = TUNED) -> tuple[Floats, Floats]:
    """The lower and upper end of the interval of the mean after each figure, shapes (…, n); the first few say nothing."""
    mean, deviation = running_means(values)
    n = np.arange(1, mean.shape[-1] + 1)
    half = half_width(n, deviation, alpha, tuned)
    half[..., : fewest(tuned) - 1] = np.inf
    return mean - half, mean + half
