"""Stopping early: the interval by which a run stops holds at every look, and is never of no width."""

from __future__ import annotations

import math
import random
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from llmops_tui.decisions.means import half_width
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.statistics.sequential import log_evidence, mean_sequence, rate_sequence
from llmops_tui.evaluation.statistics.student import t_quantile
from llmops_tui.evaluation.statistics.studentised import farthest
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
    assert "asymptotic" in free.method
    # What leaves its bounds has none.
    assert mean_sequence([*grades, 9.0], (1.0, 5.0), 100).method.startswith("confidence sequence, asymptotic")
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
    """The ends at each look from ``first`` on: shape (runs, looks), as :func:`mean_sequence` has them."""
    n = np.arange(1, scores.shape[1] + 1)
    mean = scores.cumsum(axis=1) / n
    centred = scores - scores.mean(axis=1, keepdims=True)
    one, two, three = (np.cumsum(centred**power, axis=1) / n for power in (1, 2, 3))
    variance = np.maximum(two - one**2, 1e-30)
    skew = (three - 3 * one * two + 2 * one**3) / variance**1.5
    mean, variance, skew, n = mean[:, first - 1 :], variance[:, first - 1 :], skew[:, first - 1 :], n[first - 1 :]
    errors = half_width(n, np.sqrt(n), 0.05, first)
    q = np.array([t_quantile(NormalDist().cdf(one), k - 1) for one, k in zip(errors, n.tolist(), strict=True)])
    at = np.minimum(np.abs(skew) * (1 + 12 / n) / np.sqrt(n), [farthest(one) for one in q])
    at = np.maximum(at, 1e-6)
    far = np.maximum(q, 3 / at * (1 - np.cbrt(1 - at * q - at**2 / 6)))
    error = np.sqrt(variance / (n - 1))
    return mean - error * np.where(skew < 0, far, q), mean + error * np.where(skew > 0, far, q)


def test_many_runs_at_once_have_the_intervals_of_one() -> None:
    scores = np.random.default_rng(2).exponential(1, (2, 130))
    low, high = without_bounds(scores, 100)
    for run, look in ((0, 0), (0, 30), (1, 17)):
        found = mean_sequence(scores[run, : 100 + look].tolist(), None, 100)
        assert (found.low, found.high) == (pytest.approx(low[run, look]), pytest.approx(high[run, look]))


def test_of_too_few_scores_without_bounds_nothing_is_said() -> None:
    scores = np.random.default_rng(2).normal(size=12).tolist()
    few = mean_sequence(scores[:9], None, 10)
    assert (few.half_width, few.needed) == (math.inf, "10 cases")
    assert mean_sequence(scores, None, 10).half_width < math.inf
    # So far before the first look a quantile has no digits left.
    assert mean_sequence(scores, None, 100_000).half_width == math.inf


# Of differences and lengths: mean 0.
UNBOUND: dict[str, Any] = {
    "normal": lambda r, shape: r.normal(size=shape),
    "heavy-tailed (t3)": lambda r, shape: r.standard_t(3, size=shape),
    "of lognormal scores": lambda r, shape: r.lognormal(size=shape) - r.lognormal(size=shape),
    "exponential": lambda r, shape: r.exponential(size=shape) - 1,
    "lognormal, sigma 0.5": lambda r, shape: r.lognormal(sigma=0.5, size=shape) - math.exp(0.125),
    "lognormal, sigma 1": lambda r, shape: r.lognormal(size=shape) - math.exp(0.5),
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", [10, 25, 100])
@pytest.mark.parametrize("kind", UNBOUND)
def test_scores_without_bounds_are_hardly_ever_left_out_from_the_first_look_on(
    kind: str, first: int, record_property: Any
) -> None:
    random = np.random.default_rng(5)
    wrong = []
    for _ in range(10):
        low, high = without_bounds(UNBOUND[kind](random, (200, 2000)), first)
        wrong.append(float(((low > 0) | (high < 0)).any(axis=1).mean()))
    record_property("wrong at any look", float(np.mean(wrong)))
    # Three standard errors of 2,000 runs.
    assert np.mean(wrong) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
