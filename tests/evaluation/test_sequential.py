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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_scores_without_bounds_are_hardly_ever_left_out_from_the_first_look_on(kind: str, record_property: Any) -> None:
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        scores = (rng.normal(0, 1, 1000) if kind == "normal" else rng.exponential(1, 1000) - 1).tolist()
        looks = (mean_sequence(scores[:n], None, 100) for n in range(100, 1001, 25))
        wrong += any(not look.low <= 0 <= look.high for look in looks)
    record_property("wrong at any of 37 looks", wrong / 400)
    # Three standard errors of 400 runs beside 5 %.
    assert wrong / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
