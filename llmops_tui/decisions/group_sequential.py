"""Boundaries for a few looks at known shares of a planned end: more power than evidence at every look, where the end is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np

from llmops_tui.decisions.numbers import Floats

Spending = Literal["obrien-fleming", "pocock"]
_NORMAL = NormalDist()
_STEP = 0.02
_WIDEST = 8.0


def boundaries(shares: Sequence[float], alpha: float = 0.05, spending: Spending = "obrien-fleming") -> list[float]:
    """The |z| at which a difference is decided at each look, taken when these shares of the planned conversations are in.

    What may go wrong is spent as Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70, 1983,
    say: like O'Brien and Fleming's boundary, which is high at first, or like Pocock's, which is nearly level. The
    probability of having come so far is integrated from look to look: Armitage, McPherson and Rowe 1969.

    Assumes z of means of many independent conversations; nothing is promised of looks that were not planned.

    Raises:
        ValueError: the shares do not grow, or are not above 0 and at most 1.
    """
    if not shares or any(b <= a for a, b in zip([0.0, *shares], shares, strict=False)) or shares[-1] > 1:
        raise ValueError("shares of the planned end must grow, above 0 and at most to 1")
    spent = _SPENDING[spending]
    # Of the sum of what came in, whose variance is the share: where it stands between the boundaries, and how likely.
    places: Floats = np.zeros(1)
    weights: Floats = np.ones(1)
    found: list[float] = []
    before = gone = 0.0
    for share in shares:
        due = spent(share, alpha) - gone
        deviation = math.sqrt(share - before)
        root = math.sqrt(share)

        low, high = 0.0, _WIDEST
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _beyond(middle * root, places, weights, deviation) > due else (low, middle)
        found.append(high)
        gone += due
        limit = high * root
        count = max(3, int(2 * limit / (_STEP * deviation)) | 1)
        next_places = np.linspace(-limit, limit, count)
        # Simpson's rule.
        simpson = np.full(count, 2.0)
        simpson[1::2] = 4.0
        simpson[[0, -1]] = 1.0
        step = (next_places[1] - next_places[0]) / 3
        apart = (next_places[:, None] - places[None, :]) / deviation
        density = (np.exp(-apart * apart / 2) * weights[None, :]).sum(axis=1) / (deviation * math.sqrt(2 * math.pi))
        places, weights, before = next_places, density * simpson * step, share
    return found


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _beyond(limit: float, places: Floats, weights: Floats, deviation: float) -> float:
    """How likely it is that the next sum lies beyond the limit, on either side."""
    outside = _upper_tail((limit - places) / deviation) + _upper_tail((limit + places) / deviation)
    return float((weights * outside).sum())


def _upper_tail(z: Floats) -> Floats:
    return np.asarray(_erfc(z / math.sqrt(2)) / 2)


def _obrien_fleming(share: float, alpha: float) -> float:
    # Each side spends half; of both together.
    return 4 * (1 - _NORMAL.cdf(_NORMAL.inv_cdf(1 - alpha / 4) / math.sqrt(share)))


def _pocock(share: float, alpha: float) -> float:
    return alpha * math.log(1 + (math.e - 1) * share)


_SPENDING: dict[str, Callable[[float, float], float]] = {"obrien-fleming": _obrien_fleming, "pocock": _pocock}
