"""Student's distribution: its quantiles, for intervals of few cases."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

# From so many degrees of freedom on the expansion has the digits that the search has.
_MANY = 1000


@functools.lru_cache(maxsize=4096)
def t_quantile(share: float, degrees: float) -> float:
    """The value below which this share of Student's distribution lies, for any degrees of freedom above 0.

    Found by halving its distribution function, which is a regularised incomplete beta function (Abramowitz and Stegun,
    "Handbook of Mathematical Functions", 1964, 26.7.1).
    """
    if share == 0.5:
        return 0.0
    if share < 0.5:
        return -t_quantile(1 - share, degrees)
    if degrees >= _MANY:
        return _expanded(NormalDist().inv_cdf(share), degrees)
    low, high = 0.0, 1.0
    while _tail(high, degrees) > 1 - share:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        if _tail(middle, degrees) > 1 - share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _expanded(z: float, degrees: float) -> float:
    """The quantile of many degrees of freedom from the normal one (Abramowitz and Stegun, 26.7.5)."""
    s = z * z
    terms = (
        z * (s + 1) / 4,
        z * ((5 * s + 16) * s + 3) / 96,
        z * (((3 * s + 19) * s + 17) * s - 15) / 384,
        z * ((((79 * s + 776) * s + 1482) * s - 1920) * s - 945) / 92160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, 1))


def _tail(t: float, degrees: float) -> float:
    """The share above ``t``, which is not negative."""
    return _beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, on the side where its continued fraction converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Its continued fraction (Abramowitz and Stegun, 26.5.8) from the front, by the method of Lentz (1976)."""
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    found = d
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + term * d
            c = 1 + term / c
            d = 1 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return found
