"""Annotator agreement beyond chance: Cohen's kappa, plain and weighted, and Krippendorff's alpha with missing values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal


def cohen_kappa(left: Sequence[Hashable], right: Sequence[Hashable]) -> float | None:
    """Cohen's kappa of two annotators who judged the same items; none where there is nothing to agree on.

    Cohen, "A Coefficient of Agreement for Nominal Scales", Educational and Psychological Measurement 20, 1960.
    """
    n = len(left)
    if n == 0 or n != len(right):
        return None
    agreed = sum(a == b for a, b in zip(left, right, strict=True)) / n
    a, b = Counter(left), Counter(right)
    chance = sum(a[value] * b[value] for value in a) / n**2
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def quadratic_kappa(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Kappa with quadratic weights: of grades on a scale, where to be one point off is less than to be four.

    Grades need not be whole: of whole ones it is the weighted kappa of Cohen, "Weighted Kappa", Psychological Bulletin 70,
    1968; of others the same quotient of squared differences, those of each pair over those of all pairs. None where there is
    nothing to agree on.
    """
    n = len(left)
    if n == 0 or n != len(right):
        return None
    seen = sum((a - b) ** 2 for a, b in zip(left, right, strict=True)) / n
    # The mean over all pairs of (a - b)², from the means and the mean squares.
    squares = (sum(a * a for a in left) + sum(b * b for b in right)) / n
    chance = squares - 2 * (sum(left) / n) * (sum(right) / n)
    return None if chance <= 1e-12 else 1 - seen / chance


Level = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(items: Sequence[Mapping[str, Hashable]], level: Level = "nominal") -> float | None:
    """Krippendorff's alpha: for each item, what each annotator said; none where nothing compares.

    Values are names (``nominal``), or numbers of which only the order counts (``ordinal``) or the distance too (``interval``).
    Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C; the differences are those of section D.
    """
    weights: dict[tuple[Any, Any], float] = {}
    for item in items:
        counts = Counter(item.values())
        total = counts.total()
        if total < 2:
            continue
        for a, n in counts.items():
            for b, m in counts.items():
                together = n * (m - (a == b)) / (total - 1)
                weights[a, b] = weights.get((a, b), 0.0) + together
    marginal: dict[Any, float] = {}
    for (a, _), weight in weights.items():
        marginal[a] = marginal.get(a, 0.0) + weight
    total_weight = sum(marginal.values())
    if total_weight < 2:
        return None
    apart = _differences(marginal, level)
    observed = sum(w * apart(a, b) for (a, b), w in weights.items())
    expected = sum(x * y * apart(a, b) for a, x in marginal.items() for b, y in marginal.items()) / (total_weight - 1)
    return None if expected == 0 else 1 - observed / expected


def _differences(marginal: Mapping[Any, float], level: Level) -> Callable[[Any, Any], float]:
    """How far two values are apart, squared."""
    if level == "nominal":
        return lambda a, b: float(a != b)
    if level == "interval":
        return lambda a, b: float(a - b) ** 2
    # The place of each value in the middle of those that are like it.
    place, below = {}, 0.0
    for value in sorted(marginal):
        place[value] = below + marginal[value] / 2
        below += marginal[value]
    return lambda a, b: (place[a] - place[b]) ** 2
