"""Topics that became more common in a window, as clusters with words that name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmops_tui.datasets.meaning.clustering import fit_clusters, nearest_clusters, usual_count
from llmops_tui.datasets.meaning.topics import name_clusters, words_of
from llmops_tui.decisions.numbers import Floats
from llmops_tui.drift.samples import Sample

_PERMUTATIONS = 1999
_FEWEST = 3


@dataclass(frozen=True)
class Topic:
    """Rows that are alike: the words that name them, the share of conversations that had them before and has them now.

    ``p`` is that of a permutation test of whether it became more common, corrected for the number of topics; ``rows`` are the
    window's, by number.
    """

    words: tuple[str, ...]
    before: float
    now: float
    p: float
    rows: tuple[int, ...]


def grown_topics(
    samples: tuple[Sample, Sample], vectors: tuple[Floats, Floats], seed: int = 0, level: float = 0.05
) -> list[Topic]:
    """The topics that are more common in the second sample than in the first, those that grew most first.

    Both samples are clustered together; whole conversations change places in the test.
    """
    both = np.concatenate(vectors)
    everything = np.arange(len(both))
    centres = fit_clusters(both, everything, usual_count(len(both)))
    of = nearest_clusters(both, everything, centres)
    first = len(vectors[0])
    held = [_held(of[:first], samples[0].units, len(centres)), _held(of[first:], samples[1].units, len(centres))]
    found = _grown(held[0], held[1], np.random.default_rng(seed))
    texts = [*samples[0].texts, *samples[1].texts]
    named = name_clusters([_words([texts[int(row)] for row in np.flatnonzero(of == c)]) for c in range(len(centres))])
    topics = [
        Topic(
            tuple(named[cluster]), float(held[0][:, cluster].mean()), float(held[1][:, cluster].mean()), p,
            tuple(int(row) - first for row in np.flatnonzero(of == cluster) if row >= first),
        )
        for cluster, p in enumerate(found)
        if p <= level and held[1][:, cluster].sum() >= _FEWEST
    ]  # fmt: skip
    return sorted(topics, key=lambda topic: topic.before - topic.now)


def _held(of: npt.NDArray[np.int32], units: Sequence[str], count: int) -> npt.NDArray[np.bool_]:
    """Which conversation (rows) has which topic (columns)."""
    numbers = np.unique(np.asarray(units), return_inverse=True)[1]
    found = np.zeros((int(numbers.max()) + 1, count), bool)
    found[numbers, of] = True
    return found


def _grown(before: npt.NDArray[np.bool_], now: npt.NDArray[np.bool_], random: np.random.Generator) -> list[float]:
    """For each topic the p that it did not grow: the share of permutations in which *any* grew as much, in units of its error.

    Westfall and Young, "Resampling-Based Multiple Testing", 1993: right however topics go together.
    """
    both = np.concatenate([before, now]).astype(np.float32)
    n, total = len(now), both.sum(axis=0)
    share = total / len(both)
    error = np.sqrt(np.maximum(share * (1 - share) * (1 / n + 1 / len(before)), 1e-12))

    def grown(inside: Floats) -> Floats:
        return np.asarray((inside / n - (total - inside) / len(before)) / error)

    seen = grown(now.sum(axis=0).astype(np.float64))
    highest = np.array([grown(both[random.permutation(len(both))[:n]].sum(axis=0)).max() for _ in range(_PERMUTATIONS)])
    return [float((1 + np.sum(highest >= one - 1e-9)) / (_PERMUTATIONS + 1)) for one in seen]


def _words(texts: Sequence[str]) -> Counter[str]:
    return Counter(word for text in texts for word in set(words_of(text)))
