"""Stopping early: the interval by which a run stops holds at every look, and is never of no width."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.statistics.sequential import log_evidence, mean_sequence, rate_sequence
from tests.later import Later

special = Later("scipy.special")
LIMIT = math.log(20)


def missed(scores: np.ndarray, mean: float) -> float:
    """The share of runs, shape (runs, cases), whose interval leaves out the mean at any look."""
    n = np.arange(1, scores.shape[1] + 1)
    total = scores.cumsum(axis=1)
    evidence = special.betaln(total + 0.5, n - total + 0.5) - special.betaln(0.5, 0.5) - total * math.log(mean)
    evidence -= (n - total) * math.log1p(-mean)
    return float((evidence > LIMIT).any(axis=1).mean())


def test_a_row_of_right_answers_is_no_certainty() -> None:
    found = rate_sequence(25, 25)
    assert found.high == 1
    assert 0.7 < found.low < 0.9
    assert found.half_width > 0.05
    assert rate_sequence(0, 25).high == pytest.approx(1 - found.low)


def test_the_ends_are_where_the_evidence_reaches_twenty() -> None:
    rng = random.Random(1)
    for _ in range(50):
        n = rng.randint(1, 2000)
        total = rng.uniform(0, n)
        found = rate_sequence(total, n)
        assert 0 <= found.low <= total / n <= found.high <= 1
        for end in (found.low, found.high):
            assert log_evidence(total, n, end) == pytest.approx(LIMIT, abs=1e-4)


def test_scores_with_other_bounds_are_scaled_and_without_bounds_are_taken_as_they_are() -> None:
    grades = [1.0, 5.0, 3.0, 4.0] * 30
    scaled, plain = mean_sequence(grades, (1.0, 5.0), 100), rate_sequence(sum((g - 1) / 4 for g in grades), len(grades))
    assert (scaled.low, scaled.high) == pytest.approx((1 + 4 * plain.low, 1 + 4 * plain.high))
    free = mean_sequence(grades, None, 100)
    assert free.low < 3.25 < free.high
    assert free.method.endswith("asymptotic")
    # What leaves its bounds has none.
    assert mean_sequence([*grades, 9.0], (1.0, 5.0), 100).method.endswith("asymptotic")
    assert mean_sequence([1.0], None, 100).half_width == math.inf


def test_metrics_know_their_bounds() -> None:
    assert make_metric("exact").bounds == make_metric("token-f1").bounds == (0.0, 1.0)
    assert make_metric({"type": "judge", "model": "m", "rubric": "r"}).bounds == (1.0, 5.0)
    assert make_metric("length").bounds is None


@pytest.mark.parametrize("rate", [0.5, 0.97])
def test_at_most_one_run_in_twenty_is_ever_wrong(rate: float) -> None:
    rng = np.random.default_rng(7)
    assert missed((rng.random((1000, 500)) < rate).astype(float), rate) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.5, 0.8, 0.9, 0.97, 0.99])
def test_thousands_of_runs_are_hardly_ever_wrong_at_any_look(rate: float, record_property: Any) -> None:
    rng = np.random.default_rng(11)
    wrong = [missed((rng.random((1000, 2000)) < rate).astype(float), rate) for _ in range(10)]
    record_property("wrong at any of 2,000 looks", float(np.mean(wrong)))
    assert np.mean(wrong) <= 0.05
    # Scores between 0 and 1 with the same mean vary less, and are wrong less often.
    between = rng.beta(4 * rate, 4 * (1 - rate), (2000, 2000))
    assert missed(between, rate) <= 0.05


def without_bounds(scores: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean and half the width at each look from ``first`` on: shape (runs, looks), as :func:`mean_sequence` has them."""
    n = np.arange(1, scores.shape[1] + 1)
    mean, squares = scores.cumsum(axis=1) / n, (scores**2).cumsum(axis=1)
    spread = np.sqrt(np.maximum(squares - n * mean**2, 0) / np.maximum(n - 1, 1))
    twice = 2 * LIMIT
    rho = (twice + math.log(twice + 1)) / first
    wide = n * rho + 1
    half = spread * np.sqrt(2 * wide / (n * n * rho) * np.log(np.sqrt(wide) * 20))
    return mean[:, first - 1 :], half[:, first - 1 :]


def test_many_runs_at_once_have_the_intervals_of_one() -> None:
    scores = np.random.default_rng(2).exponential(1, (2, 130))
    mean, half = without_bounds(scores, 100)
    for run, look in ((0, 0), (0, 30), (1, 17)):
        found = mean_sequence(scores[run, : 100 + look].tolist(), None, 100)
        assert (found.value, found.half_width) == (pytest.approx(mean[run, look]), pytest.approx(half[run, look]))


# Of differences and lengths: mean 0. Lognormal scores with sigma 1 are skewed beyond what a hundred cases show.
UNBOUND: dict[str, tuple[Any, float]] = {
    "normal": (lambda r, shape: r.normal(size=shape), 0.05),
    "heavy-tailed (t3)": (lambda r, shape: r.standard_t(3, size=shape), 0.05),
    "exponential": (lambda r, shape: r.exponential(size=shape) - 1, 0.05),
    "lognormal, sigma 0.5": (lambda r, shape: r.lognormal(sigma=0.5, size=shape) - math.exp(0.125), 0.05),
    "lognormal, sigma 1": (lambda r, shape: r.lognormal(size=shape) - math.exp(0.5), 0.09),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNBOUND)
def test_scores_without_bounds_are_hardly_ever_left_out_from_the_first_look_on(kind: str, record_property: Any) -> None:
    draw, most = UNBOUND[kind]
    mean, half = without_bounds(draw(np.random.default_rng(5), (2000, 2000)), 100)
    wrong = float((np.abs(mean) > half).any(axis=1).mean())
    record_property("wrong at any of 1,901 looks", wrong)
    # Three standard errors of 2,000 runs.
    assert wrong <= most + 3 * math.sqrt(most * (1 - most) / 2000)
