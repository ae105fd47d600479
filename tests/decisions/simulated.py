"""Made-up traffic of known truth, and what each way of deciding makes of it; ``python -m tests.decisions.simulated`` tells all."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmops_tui.decisions.betting import mean_evidence
from llmops_tui.decisions.canaries import failure_evidence
from llmops_tui.decisions.group_sequential import boundaries
from llmops_tui.decisions.means import mean_sequences, running_means
from llmops_tui.decisions.pairs import discordant_evidence
from llmops_tui.decisions.splits import effect_bounds, effects, share_evidence

Floats = npt.NDArray[np.float64]
RUNS = 1000
LONG = 2000
BASE = 0.7
LIMIT = math.log(20)
LOOKS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Decided:
    """Over runs: the share that was decided at all, and after how many conversations in the mean; undecided ones count whole."""

    share: float
    mean_n: float


def decided(beyond: npt.NDArray[np.bool_]) -> Decided:
    """What came of looks, shape (runs, n)."""
    ever = beyond.any(axis=1)
    first = np.where(ever, beyond.argmax(axis=1) + 1, beyond.shape[1])
    return Decided(float(ever.mean()), float(first.mean()))


def pairs(random: np.random.Generator, gain: float, correlation: float) -> tuple[Floats, Floats]:
    """Right or wrong of both answers to the same question, each of shape (RUNS, LONG); ``gain`` is how much more B is right."""
    from statistics import NormalDist

    shared = random.normal(size=(RUNS, LONG))
    found = []
    for rate in (BASE, BASE + gain):
        own = random.normal(size=(RUNS, LONG))
        latent = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
        found.append((latent < NormalDist().inv_cdf(rate)).astype(np.float64))
    return found[0], found[1]


def by_looks(values: Floats) -> Decided:
    """Means that are decided at five planned looks."""
    mean, deviation = running_means(values)
    n = values.shape[1]
    ever = np.zeros(len(values), bool)
    first = np.full(len(values), float(n))
    for share, limit in zip(LOOKS, boundaries(LOOKS), strict=True):
        at = round(share * n) - 1
        now = ~ever & (np.abs(mean[:, at]) * math.sqrt(at + 1) > limit * np.maximum(deviation[:, at], 1e-12))
        first[now] = at + 1
        ever |= now
    return Decided(float(ever.mean()), float(first.mean()))


def paired(gain: float, correlation: float, seed: int) -> Iterator[tuple[str, Decided]]:
    """Each way of deciding, on pairs of answers to the same questions."""
    before, after = pairs(np.random.default_rng(seed), gain, correlation)
    apart = after - before
    mean, deviation = running_means(apart)
    n = np.arange(1, LONG + 1)
    peeked = (np.abs(mean) * np.sqrt(n) > 1.96 * deviation) & (n >= 30) & (deviation > 0)
    yield "z looked at after each", decided(peeked)
    yield "group-sequential", by_looks(apart)
    low, high = mean_sequences(apart)
    yield "asymptotic sequence", decided((low > 0) | (high < 0))
    wins, losses = np.cumsum(apart > 0, axis=1), np.cumsum(apart < 0, axis=1)
    yield "discordant pairs", decided(discordant_evidence(wins, losses) >= LIMIT)
    yield "betting", decided(mean_evidence(apart, 0.0, (-1.0, 1.0)) >= LIMIT)


def split(gain: float, seed: int) -> Iterator[tuple[str, Decided]]:
    """Each way of deciding, on conversations of which each had one of the variants."""
    random = np.random.default_rng(seed)
    in_b = random.random((RUNS, LONG)) < 0.5
    scores = (random.random((RUNS, LONG)) < BASE + gain * in_b).astype(np.float64)
    found = effects(scores, in_b, 0.5)
    yield "group-sequential", by_looks(found)
    low, high = mean_sequences(found)
    yield "asymptotic sequence", decided((low > 0) | (high < 0))
    yield "betting", decided(mean_evidence(found, 0.0, effect_bounds((0.0, 1.0), 0.5)) >= LIMIT)


def canary(rate: float, seed: int, budget: float = 0.02, long: int = 5000) -> tuple[float, float]:
    """The share of canaries that stop within ``long`` conversations, and after how many at the median."""
    random = np.random.default_rng(seed)
    bad = np.cumsum(random.random((RUNS, long)) < rate, axis=1)
    beyond = failure_evidence(np.arange(1, long + 1), bad, budget) >= math.log(100)
    ever = beyond.any(axis=1)
    return float(ever.mean()), float(np.median(beyond.argmax(axis=1)[ever] + 1)) if ever.any() else math.nan


def leaking(share: float, expected: float, seed: int, runs: int, long: int = 3000) -> tuple[float, float]:
    """The share of splits found to be otherwise than expected within ``long`` units, and after how many at the median."""
    random = np.random.default_rng(seed)
    second = np.cumsum(random.random((runs, long)) < share, axis=1)
    counts = np.stack([np.arange(1, long + 1) - second, second], axis=-1)
    beyond = share_evidence(counts, (1 - expected, expected)) >= math.log(1000)
    ever = beyond.any(axis=1)
    return float(ever.mean()), float(np.median(beyond.argmax(axis=1)[ever] + 1)) if ever.any() else math.nan


def turns(tendency: float, seed: int) -> tuple[float, float]:
    """False alarms of the evidence on pairs where turns count, and where conversations do: 300 of six turns each."""
    random = np.random.default_rng(seed)
    lean = random.beta(tendency, tendency, (RUNS, 300, 1))
    differs = random.random((RUNS, 300, 6)) < 0.3
    signs = np.where(differs, np.where(random.random((RUNS, 300, 6)) < lean, 1, -1), 0)

    def alarms(each: npt.NDArray[np.int64]) -> float:
        wins, losses = np.cumsum(each > 0, axis=1), np.cumsum(each < 0, axis=1)
        return decided(discordant_evidence(wins, losses) >= LIMIT).share

    return alarms(signs.reshape(RUNS, -1)), alarms(np.sign(signs.sum(axis=2)))


def figures() -> Iterator[str]:
    """The figures of docs/benchmarks.md, a line each."""
    for gain in (0.0, 0.05, 0.1):
        for correlation in (0.0, 0.6):
            for name, found in paired(gain, correlation, 1):
                yield f"paired +{gain:.2f} rho {correlation}: {name:24} {found.share:6.1%} {found.mean_n:7.0f}"
        for name, found in split(gain, 2):
            yield f"split  +{gain:.2f}        : {name:24} {found.share:6.1%} {found.mean_n:7.0f}"
    for rate in (0.02, 0.03, 0.05, 0.1, 0.3):
        share, median = canary(rate, 3)
        yield f"canary {rate:.0%}: stops {share:.1%}, median {median:.0f}"
    for share, expected in ((0.5, 0.5), (0.45, 0.5), (0.4, 0.5), (0.1, 0.05)):
        yield f"shares {share} of {expected}: {leaking(share, expected, 4, RUNS)}"
    for tendency in (1e6, 5.0, 1.0, 0.3):
        yield f"turns, tendency {tendency}: {turns(tendency, 5)}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in figures())
