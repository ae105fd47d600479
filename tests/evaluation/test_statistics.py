"""Intervals and tests agree with SciPy and statsmodels, and cover what they say they cover."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from llmops_tui.evaluation.statistics.bootstrap import bca, bca_levels, mean_of, resampled_sums, rows_of
from llmops_tui.evaluation.statistics.clusters import numbered
from llmops_tui.evaluation.statistics.intervals import (
    difference_interval,
    mean_interval,
    standard_error,
    tango,
    wilson,
)
from llmops_tui.evaluation.statistics.significance import holm, mcnemar_exact, sign_flip, smallest_effect


@given(st.integers(1, 2000), st.data())
def test_wilson_is_that_of_statsmodels(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    found = wilson(k, n)
    low, high = proportion_confint(k, n, method="wilson")
    assert found.low == pytest.approx(low, abs=1e-12)
    assert found.high == pytest.approx(high, abs=1e-12)
    assert found.low <= found.value <= found.high


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_that_of_statsmodels_and_scipy(wins: int, losses: int) -> None:
    found = mcnemar_exact(wins, losses)
    if wins + losses:
        theirs = mcnemar([[5, wins], [losses, 5]], exact=True).pvalue
        assert found == pytest.approx(min(1.0, theirs), rel=1e-9)
        if wins != losses:
            assert found == pytest.approx(stats.binomtest(wins, wins + losses).pvalue, rel=1e-9)
    else:
        assert found == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)


@pytest.mark.parametrize("draw", [
    lambda r: r.normal(0.3, 1, 80), lambda r: r.exponential(1, 120), lambda r: r.choice([-1.0, 0.0, 1.0], 200, p=[0.2, 0.6, 0.2]),
])  # fmt: skip
def test_bca_is_that_of_scipy(draw: Callable[[Any], Any]) -> None:
    values = draw(np.random.default_rng(3))
    ours = bca(rows_of(values), mean_of, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(4), batch=2000
    ).confidence_interval
    width = theirs.high - theirs.low
    # Both draw; the ends wander by about a hundredth of the width.
    assert ours.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.04 * width)


def test_intervals_of_several_levels_lie_in_each_other() -> None:
    values = np.random.default_rng(1).normal(size=100)
    wide, narrow = bca_levels(rows_of(values), mean_of, (0.95, 0.90))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert bca(rows_of(values), mean_of) == wide


def test_few_different_rows_are_drawn_at_once_with_the_same_distribution() -> None:
    rows = rows_of(np.array([1.0] * 30 + [0.0] * 70))
    found = resampled_sums(rows, 20_000, seed=1)
    assert (found[:, 1] == 100).all()
    assert found[:, 0].mean() == pytest.approx(30, abs=0.2)
    assert found[:, 0].var() == pytest.approx(21, rel=0.05)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60))
@settings(max_examples=60)
def test_tangos_interval_ends_where_the_score_test_does(wins: int, losses: int, ties: int) -> None:
    n = wins + losses + ties
    if n < 2:
        return
    found = tango(wins, losses, n)
    assert -1 <= found.low <= found.value <= found.high <= 1
    mirrored = tango(losses, wins, n)
    assert mirrored.low == pytest.approx(-found.high, abs=1e-9)
    for end in (found.low, found.high):
        if abs(end) < 1 - 1e-6:
            assert abs(_score(wins, losses, n, end)) == pytest.approx(1.959964, abs=1e-3)


def _score(wins: int, losses: int, n: int, d: float) -> float:
    """The score statistic with its restricted estimate found by searching, not by the formula."""

    def likelihood(q: float) -> float:
        parts = ((wins, q + d), (losses, q), (n - wins - losses, 1 - 2 * q - d))
        return sum(k * math.log(p) if k else 0.0 for k, p in parts if k == 0 or p > 0) + (
            -math.inf if any(p < 0 or (k and p <= 0) for k, p in parts) else 0.0
        )

    low, high = max(0.0, -d), (1 - d) / 2
    for _ in range(200):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if likelihood(a) < likelihood(b) else (low, b)
    q = (low + high) / 2
    return (wins - losses - n * d) / math.sqrt(n * (2 * q + d * (1 - d)))


def test_the_permutation_test_is_that_of_scipy() -> None:
    random = np.random.default_rng(5)
    for shift in (0.0, 0.15, 0.4):
        values = random.normal(shift, 1, 60)
        ours = sign_flip(values, flips=20_000)
        theirs = stats.permutation_test(
            (values, np.zeros(60)),
            lambda a, b: np.mean(a - b),
            permutation_type="samples",
            n_resamples=20_000,
            rng=random,
        ).pvalue
        assert ours == pytest.approx(theirs, abs=0.012)


def test_clusters_are_flipped_and_drawn_as_a_whole() -> None:
    random = np.random.default_rng(6)
    shared = np.repeat(random.normal(0.2, 1, 30), 10)
    groups = numbered([f"g{i // 10}" for i in range(300)])
    assert sign_flip(shared) < 0.01
    assert sign_flip(shared, groups) > 0.05
    alone, together = mean_interval(shared), mean_interval(shared, groups)
    assert together.half_width > 2 * alone.half_width
    assert standard_error(shared, groups) == pytest.approx(np.std(shared[::10]) / math.sqrt(30), rel=1e-9)
    assert numbered(["a", "b"]) is None


def test_what_is_all_alike_still_has_an_interval() -> None:
    nothing = difference_interval(np.zeros(300), binary=True)
    assert nothing.low == pytest.approx(-nothing.high)
    assert 0.005 < nothing.high < 0.02
    everything = difference_interval(np.ones(300), binary=True)
    assert 0.95 < everything.low < 1 == everything.high
    grouped = mean_interval(np.ones(300), np.repeat(np.arange(30), 10))
    assert grouped.low == wilson(30, 30).low
    half = difference_interval(np.full(300, 0.5))
    assert half.low < 0.5 < half.high


def coverage(make: Callable[[Any], tuple[Any, float]], suites: int, seed: int, *, binary: bool) -> float:
    random = np.random.default_rng(seed)
    inside = 0
    for number in range(suites):
        values, truth = make(random)
        found = difference_interval(values, binary=binary, resamples=2000, seed=number)
        inside += found.low <= truth <= found.high
    return inside / suites


def paired(n: int, wins: float, losses: float) -> Callable[[Any], tuple[Any, float]]:
    return lambda r: (r.choice([1.0, -1.0, 0.0], size=n, p=[wins, losses, 1 - wins - losses]), wins - losses)


def test_intervals_cover_in_a_few_simulated_suites() -> None:
    assert coverage(paired(200, 0.1, 0.05), 200, 1, binary=True) >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("make", "binary"), [
    (paired(100, 0.15, 0.10), True), (paired(200, 0.10, 0.05), True), (paired(300, 0.05, 0.02), True),
    (paired(300, 0.30, 0.10), True), (lambda r: (r.normal(0.1, 1, 200), 0.1), False),
    (lambda r: (r.beta(2, 5, 300) - r.beta(2, 5, 300) + 0.05, 0.05), False),
], ids=["n100", "n200", "n300", "n300-much", "normal", "scores"])  # fmt: skip
def test_intervals_cover_93_to_97_of_100_in_1000_simulated_suites(make: Any, binary: bool) -> None:
    assert 0.93 <= coverage(make, 1000, 7, binary=binary) <= 0.97


@pytest.mark.slow
def test_wilson_and_clusters_cover_too() -> None:
    random = np.random.default_rng(8)
    inside = sum((i := wilson(random.binomial(200, 0.8), 200)).low <= 0.8 <= i.high for _ in range(1000))
    assert 0.93 <= inside / 1000 <= 0.97
    inside = 0
    groups = np.repeat(np.arange(80), 5)
    for number in range(1000):
        values = np.repeat(random.normal(0, 1, 80), 5) + random.normal(0, 1, 400)
        found = mean_interval(values, groups, resamples=2000, seed=number)
        inside += found.low <= 0 <= found.high
    assert 0.93 <= inside / 1000 <= 0.97


@pytest.mark.slow
def test_the_smallest_effect_is_seen_in_80_of_100() -> None:
    random = np.random.default_rng(9)
    seen = []
    for effect_of in (lambda r: r.normal(0, 1, 300), lambda r: r.choice([1.0, -1.0, 0.0], 300, p=[0.15, 0.15, 0.7])):
        pilot = effect_of(random)
        effect = smallest_effect(pilot)
        found = 0
        for number in range(1000):
            values = effect_of(random)
            binary = bool(np.isin(values, (-1, 0, 1)).all())
            if binary:
                # A true difference of just that much: losses become wins at the rate it takes.
                losses = np.flatnonzero(values < 0)
                turned = random.random(len(losses)) < effect / 2 / 0.15
                values[losses[turned]] = 1.0
            else:
                values = values + effect
            interval = difference_interval(values, binary=binary, resamples=1000, seed=number)
            found += interval.low > 0
        seen.append(found / 1000)
    assert all(0.75 <= share <= 0.87 for share in seen), seen
