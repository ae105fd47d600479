"""Conversations that one of two variants had: scores whose mean is the effect, and whether the traffic was split as it should."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from llmops_tui.decisions.numbers import Floats, log_gamma

# How many conversations the expected shares weigh, in the mixture over the true ones.
_WEIGHT = 100.0


def effects(scores: npt.ArrayLike, in_b: npt.ArrayLike, share: float, factor: float = 1.0) -> Floats:
    """A score of each conversation whose mean is that of B less ``factor`` times that of A; shape of ``scores``, (…, n).

    (Z/p - (1 - Z)/(1 - p)) · (Y - c): Z says whether B had the conversation, ``share`` p of all that it should have, Y is
    its score and c the mean score of those before it, which changes no mean and takes most of the variance away. Horvitz and
    Thompson 1952; Waudby-Smith et al. 2024, section 3.2, without covariates. Scores are in their order.

    Assumes that assignment was by chance with ``share``, whatever the conversation: see :func:`share_evidence`.
    """
    given, second = np.asarray(scores, np.float64), np.asarray(in_b, bool)
    n = np.arange(given.shape[-1])
    before = (np.cumsum(given, axis=-1) - given) / np.maximum(n, 1)
    # Nothing was seen before the first one; what it is taken from has to be known before it.
    centre = np.where(n > 0, before, 0.0)
    centred = given - centre
    return np.where(second, centred / share, -factor * centred / (1 - share)) + (1 - factor) * centre


def effect_bounds(bounds: tuple[float, float], share: float) -> tuple[float, float]:
    """Between what the scores of :func:`effects` lie with a factor of 1, for scores with these bounds that include 0."""
    widest = (bounds[1] - bounds[0]) / min(share, 1 - share)
    return -widest, widest


def share_evidence(counts: npt.ArrayLike, shares: npt.ArrayLike) -> Floats:
    """The evidence that traffic was not split by these shares; counts of shape (…, arms), evidence of shape (…).

    The likelihood of the assignments under a Dirichlet mixture about the shares, against that under the shares themselves:
    Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022. Exact.

    Assumes that each unit is assigned by itself: it counts units, not their requests.
    """
    seen, expected = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
    alphas = _WEIGHT * expected
    n = seen.sum(axis=-1)
    mixture = (
        math.lgamma(_WEIGHT) - log_gamma(n + _WEIGHT) + (log_gamma(seen + alphas) - log_gamma(alphas)).sum(axis=-1)
    )
    return np.asarray(mixture - (seen * np.log(expected)).sum(axis=-1))
