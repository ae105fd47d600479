"""A share of all traffic from a check that may be wrong and the labels of a person: prediction-powered estimates.

Angelopoulos, Duchi and Zrnic, "PPI++: Efficient Prediction-Powered Inference", 2023: what the check says of everything, corrected
by how it differs from the labels where there are labels. The weight of the check follows from the data, so a check that is
worth nothing costs nothing. Labels must be of what was drawn by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from llmops_tui.decisions.numbers import Floats

FEWEST = 10
"""Fewer labels than this of either kind say too little of how the check errs: then the labels speak alone."""
_LEAST = 2


@dataclass(frozen=True)
class Stratum:
    """A part of the traffic.

    Attributes:
        size: how much of the traffic it is, as a count.
        judged: what the check says of units without a label, drawn by chance, shape (N,), from 0 to 1.
        checked: what it says of the labelled units, shape (n,).
        labels: what a person says of them, shape (n,).
    """

    size: float
    judged: Floats
    checked: Floats
    labels: Floats


@dataclass(frozen=True)
class Estimate:
    """A share of the traffic with its interval.

    ``method`` is ``labels and check``, ``labels`` or ``check``; ``weight`` is how much the check counted. What rests on the
    check alone is no estimate of the truth, but of what the check says.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    labels: int
    judged: int
    weight: float = 0.0


def estimate(strata: Sequence[Stratum], level: float = 0.95) -> Estimate:
    """The share of all traffic, each stratum counted by its size.

    Where labels of both kinds are many enough (:data:`FEWEST`) they correct the check; where they are fewer they speak alone, and
    where there are none the check does, which the estimate says.
    """
    total = sum(one.size for one in strata)
    labels = sum(len(one.labels) for one in strata)
    judged = sum(len(one.judged) for one in strata) + labels
    if not total or not judged:
        return Estimate(math.nan, 0.0, 1.0, level, "nothing", 0, 0)
    if not labels:
        everything = [
            Stratum(one.size, one.judged, one.checked, np.concatenate([one.judged, one.checked])) for one in strata
        ]
        value, low, high = _of_labels(everything, level)
        return Estimate(value, low, high, level, "check", 0, judged)
    usable = _with_labels(strata)
    said = np.concatenate([one.labels for one in usable])
    if min(float(said.sum()), float((1 - said).sum())) < FEWEST or not any(len(one.judged) for one in usable):
        value, low, high = _of_labels(usable, level)
        return Estimate(value, low, high, level, "labels", labels, judged)
    weight = _weight(usable)
    parts = [_corrected(one, weight) for one in usable]
    shares = [one.size / total for one in usable]
    value = sum(share * part[0] for share, part in zip(shares, parts, strict=True))
    variance = sum(share**2 * part[1] for share, part in zip(shares, parts, strict=True))
    half = _student(level, labels - len(usable)) * math.sqrt(variance)
    return Estimate(
        min(1.0, max(0.0, value)),
        max(0.0, value - half),
        min(1.0, value + half),
        level,
        "labels and check",
        labels,
        judged,
        weight,
    )


def _with_labels(strata: Sequence[Stratum]) -> list[Stratum]:
    """The strata, or all of them as one where one has too few labels to speak for itself.

    Labels are drawn from all traffic by chance, so together they are a simple sample of it.
    """
    if all(len(one.labels) >= _LEAST for one in strata):
        return list(strata)
    total = sum(one.size for one in strata)
    return [
        Stratum(
            total,
            # Those without a label were drawn by stratum: each counts as often as it stands for others.
            _resampled(strata),
            np.concatenate([one.checked for one in strata]),
            np.concatenate([one.labels for one in strata]),
        )
    ]


def _resampled(strata: Sequence[Stratum]) -> Floats:
    """What the check says of unlabelled units, as a simple sample would have it: of each stratum by its size."""
    there = [one for one in strata if len(one.judged)]
    if not there:
        return np.zeros(0)
    fewest = min(len(one.judged) / one.size for one in there)
    return np.concatenate([one.judged[: max(1, round(fewest * one.size))] for one in there])


def _weight(strata: Sequence[Stratum]) -> float:
    """The weight of the check that makes the variance least, from 0 to 1."""
    above = below = 0.0
    for one in strata:
        if not len(one.judged) or len(one.labels) < _LEAST:
            continue
        covariance = float(np.cov(one.labels, one.checked)[0, 1])
        variance = float(np.var(np.concatenate([one.judged, one.checked]), ddof=1))
        share = one.size**2 / len(one.labels)
        above += share * covariance
        below += share * variance * (1 + len(one.labels) / len(one.judged))
    return min(1.0, max(0.0, above / below)) if below > 0 else 0.0


def _corrected(one: Stratum, weight: float) -> tuple[float, float]:
    """The estimate of a stratum, and its variance."""
    rest = one.labels - weight * one.checked
    variance = float(np.var(rest, ddof=1)) / len(rest)
    if not len(one.judged):
        return float(one.labels.mean()), float(np.var(one.labels, ddof=1)) / len(rest)
    if len(one.judged) > 1:
        variance += weight**2 * float(np.var(one.judged, ddof=1)) / len(one.judged)
    return weight * float(one.judged.mean()) + float(rest.mean()), variance


def _of_labels(strata: Sequence[Stratum], level: float) -> tuple[float, float, float]:
    """The weighted share of what is labelled, with Wilson's interval for as many units as it is as exact as.

    Korn and Graubard, "Confidence Intervals for Proportions with Small Expected Number of Positive Counts", 1998.
    """
    there = [one for one in strata if len(one.labels)]
    total = sum(one.size for one in there)
    value = sum(one.size / total * float(one.labels.mean()) for one in there)
    variance = sum(
        (one.size / total) ** 2 * float(np.var(one.labels, ddof=1)) / len(one.labels)
        for one in there
        if len(one.labels) > 1
    )
    n = float(sum(len(one.labels) for one in there))
    if variance > 0 and 0 < value < 1:
        n = min(n, value * (1 - value) / variance)
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return value, max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half))


def _student(level: float, degrees: int) -> float:
    """The two-sided quantile of Student's distribution, expanded from the normal one (Abramowitz and Stegun, 26.7.5)."""
    z, k = NormalDist().inv_cdf((1 + level) / 2), max(1, degrees)
    return z + (z**3 + z) / (4 * k) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * k**2)
