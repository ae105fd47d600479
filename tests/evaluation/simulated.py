"""Made-up evaluations of known truth, and how often an interval leaves it out or a gate raises a false alarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmops_tui.evaluation.statistics.intervals import difference_interval

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def _flipped(random: np.random.Generator, shape: tuple[int, ...], wins: float, losses: float) -> Floats:
    return random.choice([1.0, -1.0, 0.0], size=shape, p=[wins, losses, 1 - wins - losses])


# Differences of the scores of single cases, of mean 0 or, of binary ones, the mean beside them.
DIFFERENCES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda r, shape: r.normal(size=shape), 0.0),
    "heavy-tailed (t3)": (lambda r, shape: r.standard_t(3, size=shape), 0.0),
    "of lognormal scores": (lambda r, shape: r.lognormal(size=shape) - r.lognormal(size=shape), 0.0),
    "exponential": (lambda r, shape: r.exponential(size=shape) - 1, 0.0),
    "lognormal, sigma 0.5": (lambda r, shape: r.lognormal(sigma=0.5, size=shape) - np.exp(0.125), 0.0),
    "lognormal, sigma 1": (lambda r, shape: r.lognormal(size=shape) - np.exp(0.5), 0.0),
    "shares (beta 5, 1)": (lambda r, shape: r.beta(5, 1, size=shape) - 5 / 6, 0.0),
    "flat": (lambda r, shape: r.random(size=shape) - 0.5, 0.0),
    "mostly none (70 %), else exponential": (lambda r, shape: (r.random(shape) < 0.3) * r.exponential(size=shape) - 0.3, 0.0),
    "mostly none (70 %), else up or down": (lambda r, shape: (r.random(shape) < 0.3) * r.uniform(-1, 1, shape), 0.0),
    "binary, 10 and 10 %": (lambda r, shape: _flipped(r, shape, 0.1, 0.1), 0.0),
    "binary, 30 and 10 %": (lambda r, shape: _flipped(r, shape, 0.3, 0.1), 0.2),
    "binary, 5 and 15 %": (lambda r, shape: _flipped(r, shape, 0.05, 0.15), -0.1),
}  # fmt: skip
BINARY = frozenset(name for name in DIFFERENCES if name.startswith("binary"))
# What is held more often than promised while there are few: results that can only be a few, and scores that crowd nowhere.
HELD_MORE = BINARY | {name for name in DIFFERENCES if name.startswith(("flat", "mostly"))}


def clustered(within: Draw, sizes: tuple[int, ...], shared: float) -> Callable[[np.random.Generator], Floats]:
    """Cases of clusters of these sizes: each is its cluster's value, by ``shared``, and its own."""
    clusters = np.repeat(np.arange(len(sizes)), sizes)

    def drawn(random: np.random.Generator) -> Floats:
        common = within(random, (len(sizes),))[clusters]
        return shared * common + within(random, (len(clusters),))

    return drawn


def clustered_flips(sizes: tuple[int, ...]) -> Callable[[np.random.Generator], Floats]:
    """Right or wrong before and after, each cluster with a rate of its own."""
    clusters = np.repeat(np.arange(len(sizes)), sizes)

    def drawn(random: np.random.Generator) -> Floats:
        before, after = (random.beta(3, 1.5, len(sizes))[clusters] for _ in range(2))
        return (random.random(len(clusters)) < after).astype(float) - (random.random(len(clusters)) < before)

    return drawn


@dataclass(frozen=True)
class Rates:
    """Of simulated suites: the share whose interval holds the truth, and of those whose interval lies below and above it.

    ``below`` is what a gate calls worse though it is just at the margin; ``few`` those that are too few to say.
    """

    inside: float
    below: float
    above: float
    few: float


def rates(
    draw: Callable[[np.random.Generator], Floats],
    truth: float,
    suites: int,
    seed: int,
    *,
    clusters: npt.NDArray[np.int64] | None = None,
    binary: bool = False,
) -> Rates:
    """Of so many suites."""
    random = np.random.default_rng(seed)
    drawn = [draw(random) for _ in range(suites)]
    if binary and clusters is None:
        # Few results are possible: each is computed once.
        known = {(v.sum(), np.abs(v).sum()): v for v in drawn}
        of = {key: difference_interval(v, binary=True) for key, v in known.items()}
        found = [of[v.sum(), np.abs(v).sum()] for v in drawn]
    else:
        found = [difference_interval(v, clusters, binary=binary) for v in drawn]
    low, high = np.array([i.low for i in found]), np.array([i.high for i in found])
    below, above = float((high < truth - 1e-9).mean()), float((low > truth + 1e-9).mean())
    return Rates(1 - below - above, below, above, float(np.mean([i.too_few for i in found])))
