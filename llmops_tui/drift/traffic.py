"""Whether traffic changed: what was said in a window beside what was said before, by meaning, length and language."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from llmops_tui.datasets.profile import is_prose
from llmops_tui.decisions.numbers import Floats
from llmops_tui.decisions.two_samples import Discrepancy, discrepancy
from llmops_tui.drift.samples import Sample

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

    ``smallest`` is the least share of conversations, taken over by one topic, that this window would have shown in four of five
    cases; None where even half would not have been seen. ``new`` are the window's rows, by their number, that lie further
    from the reference than all but 1 % of its own rows do, the furthest first; ``expected_new`` is how many there would be
    without a change.
    """

    changed: bool | None
    looks: tuple[Looked, ...] = ()
    rows: tuple[int, int] = (0, 0)
    units: tuple[int, int] = (0, 0)
    smallest: float | None = None
    new: tuple[int, ...] = ()
    expected_new: float = 0.0
    languages: dict[str, tuple[float, float]] = field(default_factory=dict)


def compare(
    reference: Sample, window: Sample, vectors: tuple[Floats, Floats], *, seed: int = 0, permutations: int = 999
) -> Traffic:
    """Compare what was said; ``vectors`` are those of the rows of both, of length 1."""
    rows, units = _counts(reference, window)
    if min(units) < FEWEST_UNITS:
        return Traffic(None, (), rows, units)
    sides = _named(reference.units), _named(window.units)
    meaning = discrepancy(*vectors, sides, seed, permutations=permutations)
    looks = [
        _meaning(meaning, vectors, sides, seed),
        _lengths(reference, window, sides, seed, permutations),
    ]
    told = _languages(reference), _languages(window)
    looks.append(_of_languages(told, sides, seed, permutations))
    # Holm's rule: the least of three p-values decides against a third of the level.
    changed = min(look.p for look in looks) <= ALPHA / len(looks)
    new, expected = _new(vectors)
    return Traffic(
        changed, tuple(looks), rows, units, _smallest(vectors[0], sides[0], len(vectors[1]), seed), new, expected,
        _shares(told),
    )  # fmt: skip


def _counts(reference: Sample, window: Sample) -> tuple[tuple[int, int], tuple[int, int]]:
    return (len(reference.rows), len(window.rows)), (len(set(reference.units)), len(set(window.units)))


def _named(units: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.unique(np.asarray(units), return_inverse=True)[1]


def _meaning(found: Discrepancy, vectors: tuple[Floats, Floats], sides: tuple[Floats, Floats], seed: int) -> Looked:
    """The effect is the distance of the middles of both, in units of how far rows lie from the reference's middle."""
    del seed
    effect = math.sqrt(found.squared)
    return Looked("meaning", effect, math.nan, math.nan, "MMD", found.p)


def _lengths(reference: Sample, window: Sample, sides: tuple[Floats, Floats], seed: int, permutations: int) -> Looked:
    values = [np.log([len(text) for text in sample.texts]) for sample in (reference, window)]
    means = [_by_unit(v, s) for v, s in zip(values, sides, strict=True)]
    random = np.random.default_rng(seed + 1)
    effect, low, high, p = _difference(means[0], means[1], random, permutations)
    return Looked("length", math.exp(effect), math.exp(low), math.exp(high), "times as long", p)


def _by_unit(values: Floats, units: Floats) -> Floats:
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


def _languages(sample: Sample) -> list[str]:
    """The language of each row; of short texts and code none."""
    import py3langid

    found = []
    for text in sample.texts:
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
    told: tuple[list[str], list[str]], sides: tuple[Floats, Floats], seed: int, permutations: int
) -> Looked:
    """How much of the conversations would have to be of another language for both to be alike: the total variation."""
    first, second = (
        [languages[int(np.flatnonzero(side == unit)[0])] for unit in range(int(side.max()) + 1)]
        for languages, side in zip(told, sides, strict=True)
    )
    names = {name: number for number, name in enumerate(sorted({*first, *second}))}
    both = np.array([names[name] for name in (*first, *second)])
    n = len(first)

    def apart(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
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


def _new(vectors: tuple[Floats, Floats]) -> tuple[tuple[int, ...], float]:
    reference, window = (np.asarray(side, np.float32) for side in vectors)
    within = np.sort(reference @ reference.T, axis=1)[:, ::-1]
    k = min(_NEIGHBOUR, len(reference) - 1)
    # The first is the row itself.
    limit = float(np.quantile(within[:, k], _NEW))
    nearest = np.sort(window @ reference.T, axis=1)[:, ::-1][:, k - 1]
    found = np.flatnonzero(nearest < limit)
    return tuple(int(row) for row in found[np.argsort(nearest[found], kind="stable")]), _NEW * len(window)


def _smallest(reference: Floats, units: Floats, rows: int, seed: int) -> float | None:
    """The least share of one topic planted into a part of the reference that is told from the rest in four of five cases."""
    from llmops_tui.datasets.meaning.clustering import fit_clusters, nearest_clusters

    random = np.random.default_rng(seed + 3)
    data = np.asarray(reference, np.float32)
    everything = np.arange(len(data))
    centres = fit_clusters(data, everything, 8)
    topics = nearest_clusters(data, everything, centres)
    for share in _SHARES:
        seen = 0
        for _ in range(_PLANTED):
            topic = int(random.integers(len(centres)))
            mine, others = np.flatnonzero(topics == topic), np.flatnonzero(topics != topic)
            if not len(mine) or len(others) < FEWEST_UNITS:
                continue
            order = random.permutation(others)
            half = len(order) // 2
            size = min(rows, half)
            planted = round(size * share)
            window = np.concatenate([order[half : half + size - planted], random.choice(mine, planted)])
            found = discrepancy(
                data[order[:half]], data[window], (order[:half], np.arange(len(window))),
                int(random.integers(1 << 30)), permutations=99,
            )  # fmt: skip
            seen += found.p <= ALPHA / 3 + 1e-9
        if seen >= _POWER * _PLANTED:
            return share
    return None
