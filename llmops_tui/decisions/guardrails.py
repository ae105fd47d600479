"""Metrics that a better variant must not worsen: one-sided non-inferiority by a margin, at every look."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from llmops_tui.decisions.betting import mean_limit
from llmops_tui.decisions.means import TUNED, fewest, half_width

State = Literal["not worse", "worse", "open"]


@dataclass(frozen=True)
class Guarded:
    """What is known of a guardrail.

    ``worst`` is the end of a one-sided interval of how much worse B is, in the metric's unit: it is at most so much with the
    level that was asked for, at all looks together.
    """

    state: State
    worst: float
    least: float


def bounded_guardrail(harms: npt.ArrayLike, margin: float, bounds: tuple[float, float], alpha: float = 0.05) -> Guarded:
    """Whether B is worse by more than ``margin``, from scores of harm, shape (n,), whose mean is how much worse it is.

    Two tests, each one-sided with ``alpha``, of "at least the margin" and "at most the margin": both can be wrong only on
    one side of the margin. Exact, see :func:`~llmops_tui.decisions.betting.mean_limit`; the unit is the conversation.
    """
    worst, least = mean_limit(harms, bounds, "below", alpha), mean_limit(harms, bounds, "above", alpha)
    return Guarded(_state(least, worst, margin), worst, least)


def mean_guardrail(harms: npt.ArrayLike, margin: float, alpha: float = 0.05, tuned: float = TUNED) -> Guarded:
    """The same of harms without bounds, such as seconds, by an asymptotic confidence sequence."""
    given = np.asarray(harms, np.float64)
    if given.size < fewest(tuned):
        return Guarded("open", math.inf, -math.inf)
    # An end of an interval with twice the error is wrong on its side half as often.
    half = float(half_width(given.size, given.std(ddof=1), 2 * alpha, tuned))
    mean = float(given.mean())
    return Guarded(_state(mean - half, mean + half, margin), mean + half, mean - half)


def _state(least: float, worst: float, margin: float) -> State:
    return "not worse" if worst <= margin else "worse" if least > margin else "open"
