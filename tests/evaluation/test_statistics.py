"""Intervals and tests agree with SciPy and statsmodels, and cover what they say they cover."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.evaluation.statistics.bootstrap import bca, mean_of, resampled_sums, rows_of
from llmops_tui.evaluation.statistics.clusters import numbered
from llmops_tui.evaluation.statistics.intervals import (
    difference_interval,
    figure_interval,
    mean_interval,
    tango,
    wilson,
)
from llmops_tui.evaluation.statistics.significance import holm, mcnemar_exact, sign_flip, smallest_effect
from llmops_tui.evaluation.statistics.student import t_quantile
from llmops_tui.evaluation.statistics.studentised import farthest, spread_of, unskewed
from tests.later import Later

stats, multitest = Later("scipy.stats"), Later("statsmodels.stats.multitest")
tables, proportion = Later("statsmodels.stats.contingency_tables"), Later("statsmodels.stats.proportion")


@given(st.integers(1, 2000), st.data())
def test_wilson_is_that_of_statsmodels(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    found = wilson(k, n)
    low, high = proportion.proportion_confint(k, n, method="wilson")
    assert found.low == pytest.approx(low, abs=1e-12)
    assert found.high == pytest.approx(high, abs=1e-12)
    assert found.low <= found.value <= found.high


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_that_of_statsmodels_and_scipy(wins: int, losses: int) -> None:
    found = mcnemar_exact(wins, losses)
    if wins + losses:
        theirs = tables.mcnemar([[5, wins], [losses, 5]], exact=True).pvalue
        assert found == pytest.approx(min(1.0, theirs), rel=1e-9)
        if wins != losses:
            assert found == pytest.approx(stats.binomtest(wins, wins + losses).pvalue, rel=1e-9)
    else:
        assert found == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(list(multitest.multipletests(p_values, method="holm")[1]), abs=1e-12)


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
    assert spread_of(shared, groups).error == pytest.approx(stats.sem(shared[::10]), rel=1e-9)
    assert numbered(["a", "b"]) is None


def test_what_is_all_alike_still_has_an_interval() -> None:
    nothing = difference_interval(np.zeros(300), binary=True)
    assert nothing.low == pytest.approx(-nothing.high)
    assert 0.005 < nothing.high < 0.02
    everything = difference_interval(np.ones(300), binary=True)
    assert 0.95 < everything.low < 1 == everything.high
    grouped = mean_interval(np.ones(300), np.repeat(np.arange(30), 10))
    assert grouped.low == wilson(30, 30).low
    assert math.isnan(difference_interval(np.zeros(300)).low), "by how much scores could differ is not known"
    judged = difference_interval(np.zeros(300), bounds=(1.0, 5.0))
    assert judged.high == pytest.approx(4 * wilson(0, 300).high)
    half = difference_interval(np.full(300, 0.5), bounds=(0.0, 1.0))
    assert half.low < 0.5 < half.high


@given(st.floats(0.001, 0.999), st.one_of(st.integers(1, 2000), st.floats(1, 60)))
@settings(max_examples=60)
def test_students_quantiles_are_those_of_scipy(share: float, degrees: float) -> None:
    assert t_quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), rel=1e-7, abs=1e-7)


@given(st.lists(st.integers(1, 12), min_size=3, max_size=9), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_error_and_freedom_of_clusters_are_those_of_their_matrices(sizes: list[int], seed: int) -> None:
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    values = np.random.default_rng(seed).normal(size=len(clusters))
    found = spread_of(values, clusters)
    n = len(values)
    member = (clusters[:, None] == np.arange(len(sizes))).astype(float)
    centre = np.eye(n) - 1 / n
    # The estimator as matrices: each cluster's residuals, adjusted by the root of the inverse of its part of the projection.
    adjusted = np.zeros((len(sizes), n))
    for g in range(len(sizes)):
        own = np.flatnonzero(member[:, g])
        part = np.eye(len(own)) - 1 / n
        kind, vectors = np.linalg.eigh(part)
        adjusted[g] = (vectors / np.sqrt(kind) @ vectors.T @ centre[own]).sum(axis=0) / n
    assert found.error == pytest.approx(math.sqrt(float(((adjusted @ values) ** 2).sum())), rel=1e-9)
    freedom = []
    for covariance in (np.eye(n), member @ member.T):
        quadratic = adjusted @ covariance @ adjusted.T
        freedom.append(np.trace(quadratic) ** 2 / (quadratic**2).sum())
    assert found.degrees == pytest.approx(max(1.0, min(freedom)), rel=1e-8)


def test_an_interval_without_skew_is_students() -> None:
    values = np.array([-3.0, -2, -1, 1, 2, 3, -4, 4, 0.5, -0.5])
    found = difference_interval(values)
    low, high = stats.t.interval(0.95, 9, 0.0, stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert not found.too_few
    skewed = difference_interval(np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 0, 10]))
    assert skewed.high - skewed.value > 1.5 * (skewed.value - skewed.low)


def test_no_interval_of_scores_with_bounds_leaves_them() -> None:
    shares = np.array([1.0, 1, 1, 1, 1, 1, 1, 1, 1, 0.2])
    assert mean_interval(shares).high > 1
    assert mean_interval(shares, bounds=(0.0, 1.0)).high == 1
    found = figure_interval(rows_of(shares), mean_of, resamples=500, bounds=(0.0, 1.0))
    assert 0 <= found.low < found.value < found.high == 1


@given(st.floats(1.5, 6), st.floats(0.01, 3))
@settings(max_examples=60)
def test_an_end_moves_no_farther_back_where_samples_are_more_skewed(q: float, skew: float) -> None:
    ends = [unskewed(q, share * skew, 10, 1.0) for share in np.linspace(0.02, 1, 50)]
    assert ends == sorted(ends)
    at = skew / math.sqrt(10)
    direct = 3 / at * (1 - math.cbrt(1 - at * q - at * at / 6))
    assert ends[-1] == pytest.approx(direct) if at < farthest(q) else ends[-1] >= direct


def test_what_is_too_few_to_say_is_marked() -> None:
    random = np.random.default_rng(3)
    assert difference_interval(random.normal(size=9)).too_few
    groups = np.repeat(np.arange(9), 50)
    assert difference_interval(random.normal(size=450), groups).too_few
    assert not difference_interval(random.normal(size=500), np.repeat(np.arange(10), 50)).too_few
    # Groups of other sizes are worth fewer of one size, however many they are.
    sizes = np.array([1] * 299 + [900])
    many = difference_interval(random.normal(size=sizes.sum()), np.repeat(np.arange(300), sizes))
    assert many.needed.startswith("about 2,")
    assert many.needed.endswith("groups of such sizes")
    assert difference_interval(random.normal(size=9)).needed == "10 cases"
    assert difference_interval(random.normal(size=450), groups).needed == "10 groups"
    assert math.isnan(mean_interval(np.array([0.3, 0.4]), np.array([0, 0])).low)
    assert mean_interval(np.array([0.3])).too_few


@pytest.mark.slow
def test_the_smallest_effect_is_seen_in_80_of_100() -> None:
    random = np.random.default_rng(9)
    seen = []
    for effect_of in (lambda r: r.normal(0, 1, 300), lambda r: r.choice([1.0, -1.0, 0.0], 300, p=[0.15, 0.15, 0.7])):
        pilot = effect_of(random)
        effect = smallest_effect(pilot)
        found = 0
        for _ in range(1000):
            values = effect_of(random)
            binary = bool(np.isin(values, (-1, 0, 1)).all())
            if binary:
                # A true difference of just that much: losses become wins at the rate it takes.
                losses = np.flatnonzero(values < 0)
                turned = random.random(len(losses)) < effect / 2 / 0.15
                values[losses[turned]] = 1.0
            else:
                values = values + effect
            interval = difference_interval(values, binary=binary)
            found += interval.low > 0
        seen.append(found / 1000)
    assert all(0.75 <= share <= 0.87 for share in seen), seen
