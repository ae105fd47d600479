"""What the modules beside this one share: types of arrays, and logarithms of the gamma and the beta function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

Floats = npt.NDArray[np.float64]
_each = np.vectorize(math.lgamma, otypes=[np.float64])


def log_gamma(values: npt.ArrayLike) -> Floats:
    """The logarithm of the gamma function of each value, in their shape."""
    return cast("Floats", _each(values))


def log_beta(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """The logarithm of the beta function; the shapes of both are broadcast."""
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return log_gamma(one) + log_gamma(other) - log_gamma(one + other)


def log_mean_exp(terms: Iterable[Floats]) -> Floats:
    """The logarithm of the mean of what the terms are logarithms of: one after the other, so that long paths need no room."""
    total: Floats | None = None
    count = 0
    for term in terms:
        total = term if total is None else np.logaddexp(total, term)
        count += 1
    if total is None:
        raise ValueError("a mean of nothing")
    return total - math.log(count)
