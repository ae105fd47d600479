"""Whether traffic changed: what was said in a window beside what was said before, by meaning, length and language."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.profile import is_prose
from llmops_tui.decisions.numbers import Floats
from llmops_tui.decisions.two_samples import discrepancy, kernel_of, tested
from llmops_tui.drift.samples import Sample
from llmops_tui.evaluation.statistics.intervals import wilson

ALPHA = 0.05
"""Of how many comparisons without a change one may be told as one, over all three looks together."""
FEWEST_UNITS = 50
"""Of fewer conversations on either side nothing is said."""
MOST_ROWS = 900
"""Of more rows on a side some stand for all."""
_POWER = 0.8
_SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_PLANTED = 20
_NEIGHBOUR = 5
# A row is new that is further from the reference than all but so few of the reference's own.
_NEW = 0.01
_RESAMPLES = 1000
_TOPICS = 8
# A p of 1 in 100 is enough to tell whether one is below a third of the level.
_FEW = 99

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Looked:
    """One look at the two samples: an effect in its unit with its interval of 95 %, and the p of a permutation test by unit."""

    name: str
    effect: float
    low: float
    high: float
    unit: str
    p: float


@dataclass(frozen=True)
class Traffic:
    """What two samples say. ``changed`` is None where there are too few to say.

    ``rows`` and ``units`` are those of the reference and of the window. ``smallest`` is the least share of the window, taken
    over by one topic, that would have been told as a change in four of five cases; None where even half would not. ``new``
    are the window's rows, by their number, that lie further from the reference than all but 1 % of its own rows do, the
    furthest first. ``languages`` has the share of each on both sides.
    """

    changed: bool | None
    rows: tuple[int, int]
    units: tuple[int, int]
    looks: tuple[Looked, ...] = ()
    smallest: float | None = None
    new: tuple[int, ...] = ()
    languages: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def p(self) -> float:
        """The p of all looks together, by Holm's rule; 1 where there are too few to say."""
        return min(1.0, len(self.looks) * min(look.p for look in self.looks)) if self.looks else 1.0


def compare(
    reference: Sample, window: Sample, vectors: tuple[Floats, Floats], *, seed: int = 0, permutations: int = 999
) -> Traffic:
    """Compare what was said; ``vectors`` (rows × dimensions) are those of the rows of both, of length 1.

    Raises:
        ValueError: there are other than as many vectors as rows, or more rows than can be compared.
    """
    rows = len(reference.rows), len(window.rows)
    if (len(vectors[0]), len(vectors[1])) != rows:
        raise ValueError(f"{len(vectors[0])} and {len(vectors[1])} vectors of {rows[0]} and {rows[1]} rows")
    sides = _numbered(reference.units), _numbered(window.units)
    units = len(set(reference.units)), len(set(window.units))
    if min(units) < FEWEST_UNITS:
        return Traffic(None, rows, units)
    new = _new(vectors)
    told = _languages(reference.texts), _languages(window.texts)
    looks = (
        _meaning(vectors, sides, new, seed, permutations),
        _lengths(reference, window, sides, seed, permutations),
        _of_languages(told, sides, seed, permutations),
    )
    # The least of three decides against a third of the level, so that no more than one comparison in twenty is told wrongly.
    changed = bool(min(look.p for look in looks) <= ALPHA / len(looks))
    smallest = _smallest(vectors[0], len(vectors[1]), seed)
    return Traffic(changed, rows, units, looks, smallest, new, _shares(told))


def _numbered(units: Sequence[str]) -> Numbers:
    return np.unique(np.asarray(units), return_inverse=True)[1]


def _meaning(
    vectors: tuple[Floats, Floats], sides: tuple[Numbers, Numbers], new: tuple[int, ...], seed: int, permutations: int
) -> Looked:
    """The effect is the share of conversations of which some row is unlike what was said before; its p is of the distance."""
    found = discrepancy(*vectors, sides, seed, permutations=permutations)
    units = len(np.unique(sides[1]))
    fresh = len(np.unique(sides[1][list(new)]))
    found_in = wilson(fresh, units)
    return Looked(
        "meaning", found_in.value, found_in.low, found_in.high, "of conversations unlike those before", found.p
    )


def _lengths(reference: Sample, window: Sample, sides: tuple[Numbers, Numbers], seed: int, permutations: int) -> Looked:
    values = [np.log([len(text) for text in sample.texts]) for sample in (reference, window)]
    means = [_by_unit(v, s) for v, s in zip(values, sides, strict=True)]
    random = np.random.default_rng(seed + 1)
    effect, low, high, p = _difference(means[0], means[1], random, permutations)
    return Looked("length", math.exp(effect), math.exp(low), math.exp(high), "times as long", p)


def _by_unit(values: Floats, units: Numbers) -> Floats:
    """The mean of each unit's rows."""
    count = np.bincount(units)
    return np.asarray(np.bincount(units, weights=values) / count)


def _difference(
    first: Floats, second: Floats, random: np.random.Generator, permutations: int
) -> tuple[float, float, float, float]:
    """The difference of the means of two groups of units, its bootstrap interval, and the p of a permutation test."""
    effect = float(second.mean() - first.mean())
    drawn = [
        random.choice(second, len(second)).mean() - random.choice(first, len(first)).mean() for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    both, n = np.concatenate([first, second]), len(first)
    extreme = 1
    for _ in range(permutations):
        mixed = random.permutation(both)
        extreme += abs(mixed[n:].mean() - mixed[:n].mean()) >= abs(effect) - 1e-12
    return effect, float(low), float(high), extreme / (permutations + 1)


def _languages(texts: Sequence[str]) -> list[str]:
    """The language of each row; of short texts and code none."""
    import py3langid

    found = []
    for text in texts:
        start = text[:2000]
        tellable = sum(c.isalpha() for c in start) >= 20 and is_prose(start)
        found.append(str(py3langid.classify(start)[0]) if tellable else "")
    return found


def _shares(told: tuple[list[str], list[str]]) -> dict[str, tuple[float, float]]:
    counts = [Counter(one for one in side if one) for side in told]
    names = [name for name, _ in (counts[0] + counts[1]).most_common(8)]
    return {
        name: (counts[0][name] / max(1, counts[0].total()), counts[1][name] / max(1, counts[1].total()))
        for name in names
    }


def _of_languages(
    told: tuple[list[str], list[str]], sides: tuple[Numbers, Numbers], seed: int, permutations: int
) -> Looked:
    """How much of the conversations would have to be of another language for both to be alike: the total variation."""
    first, second = (
        [languages[int(np.flatnonzero(side == unit)[0])] for unit in range(int(side.max()) + 1)]
        for languages, side in zip(told, sides, strict=True)
    )
    names = {name: number for number, name in enumerate(sorted({*first, *second}))}
    both = np.array([names[name] for name in (*first, *second)])
    n = len(first)

    def apart(values: Numbers) -> float:
        a, b = (np.bincount(part, minlength=len(names)) / len(part) for part in (values[:n], values[n:]))
        return float(np.abs(a - b).sum() / 2)

    random = np.random.default_rng(seed + 2)
    effect = apart(both)
    extreme = 1 + sum(apart(random.permutation(both)) >= effect - 1e-12 for _ in range(permutations))
    drawn = [
        apart(np.concatenate([random.choice(both[:n], n), random.choice(both[n:], len(both) - n)]))
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Looked("language", effect, float(low), float(high), "share", extreme / (permutations + 1))


def _new(vectors: tuple[Floats, Floats]) -> tuple[int, ...]:
    reference, window = (np.asarray(side, np.float32) for side in vectors)
    within = np.sort(reference @ reference.T, axis=1)[:, ::-1]
    k = min(_NEIGHBOUR, len(reference) - 1)
    # The first is the row itself.
    limit = float(np.quantile(within[:, k], _NEW))
    nearest = np.sort(window @ reference.T, axis=1)[:, ::-1][:, k - 1]
    found = np.flatnonzero(nearest < limit)
    return tuple(int(row) for row in found[np.argsort(nearest[found], kind="stable")])


def _smallest(reference: Floats, rows: int, seed: int) -> float | None:
    """The least share of one topic, planted into a half of the reference, that is told from the other half in four of five cases.

    The half has no row of that topic. Rows count as units here, so that it is the least there is.
    """
    from llmops_tui.datasets.meaning.clustering import fit_clusters, nearest_clusters

    random = np.random.default_rng(seed + 3)
    data = np.asarray(reference, np.float32)
    centres = fit_clusters(data, np.arange(len(data)), _TOPICS)
    topics = nearest_clusters(data, np.arange(len(data)), centres).astype(np.int64)
    kernel = kernel_of(data)
    for share in _SHARES:
        seen = sum(_told(kernel, topics, share, rows, random) for _ in range(_PLANTED))
        if seen >= _POWER * _PLANTED:
            return share
    return None


def _told(
    kernel: npt.NDArray[np.float32], topics: Numbers, share: float, rows: int, random: np.random.Generator
) -> bool:
    topic = random.choice(topics)
    mine, others = np.flatnonzero(topics == topic), random.permutation(np.flatnonzero(topics != topic))
    half = len(others) // 2
    size = min(rows, half)
    planted = round(size * share)
    chosen = np.concatenate([others[: half + size - planted], random.choice(mine, planted)])
    units = np.arange(half), np.arange(size)
    seed = int(random.integers(1 << 30))
    found = tested(kernel[np.ix_(chosen, chosen)], half, units, seed, permutations=_FEW) if half else None
    return found is not None and found.p <= ALPHA / 3
