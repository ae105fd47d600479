"""Figures of one run, of whole sets, of votes and of several metrics keep what they promise, counted through or simulated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from llmops_tui.evaluation.perplexity import Perplexity
from llmops_tui.evaluation.statistics.bootstrap import Floats, Interval
from llmops_tui.evaluation.statistics.bradley_terry import Contest, bradley_terry
from llmops_tui.evaluation.statistics.intervals import difference_interval, figure_interval, mean_interval, wilson
from llmops_tui.evaluation.statistics.power import scores_needed
from llmops_tui.evaluation.statistics.significance import holm, sign_flip

# Three standard errors of a share of 5 % in 1,000 simulated evaluations.
ERROR = 0.0207
SUITES = 1000
RATES = np.linspace(0.05, 0.95, 181)


def chances(n: int, rate: float) -> Floats:
    """The probability of each number of right answers among n: shape (n + 1,)."""
    k = np.arange(n + 1)
    ways = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    return np.asarray(np.exp(ways + k * math.log(rate) + (n - k) * math.log1p(-rate)))


def ends(found: Sequence[Interval]) -> tuple[Floats, Floats]:
    return np.array([one.low for one in found]), np.array([one.high for one in found])


def inside(found: Sequence[Interval], truth: float) -> float:
    """The share whose interval holds the truth."""
    low, high = ends(found)
    return float(((low <= truth) & (truth <= high)).mean())


# ── single rates, counted through without chance ──


@pytest.mark.parametrize("n", [10, 20, 30, 50, 100])
def test_rates_of_right_answers_are_held_in_95_of_100_on_average(n: int) -> None:
    low, high = ends([wilson(k, n) for k in range(n + 1)])
    held = [float(chances(n, rate)[(low <= rate) & (rate <= high)].sum()) for rate in RATES]
    # Few results are possible: of single rates it is more or less, over all of them what is promised.
    assert 0.94 <= np.mean(held) <= 0.96
    # From five right and five wrong answers that are to be expected on.
    enough = (RATES * n >= 5) & ((1 - RATES) * n >= 5)
    assert min(np.array(held)[enough], default=1.0) >= 0.92


def test_a_rule_that_asks_for_surely_is_passed_by_one_in_twenty_at_most_that_do_not_reach_it() -> None:
    for n in (*range(10, 60), 75, 100, 200, 500):
        low = np.array([wilson(k, n).low for k in range(n + 1)])
        for limit in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99):
            # Just at the limit: any lower rate passes more rarely.
            assert float(chances(n, limit)[low >= limit].sum()) <= 0.05, (n, limit)


# ── rates in groups ──


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3.0, 1.5), (1.0, 1.0), (9.0, 1.0)], ids=["apart", "anything", "mostly right"])
@pytest.mark.parametrize("groups", [5, 10, 30])
def test_rates_of_cases_in_groups(shape: tuple[float, float], groups: int, record_property: Any) -> None:
    random = np.random.default_rng(groups)
    number = np.repeat(np.arange(groups), 10)
    found = [
        mean_interval((random.random(len(number)) < random.beta(*shape, groups)[number]).astype(float), number)
        for _ in range(SUITES)
    ]
    if groups < 10:
        assert all(one.too_few for one in found), "nothing is said of them"
        return
    truth = shape[0] / sum(shape)
    record_property("simulated", inside(found, truth))
    assert 0.93 - ERROR <= inside(found, truth) <= 0.98 + ERROR


# ── figures of a whole set ──


def f1_macro(sums: Floats) -> Floats:
    """From sums of (right, predicted, expected) for each of three classes."""
    right, predicted, expected = sums[:, 0:3], sums[:, 3:6], sums[:, 6:9]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.nan_to_num(2 * right / (predicted + expected)).mean(axis=1))


def share(sums: Floats) -> Floats:
    return np.asarray(sums[:, 0] / sums[:, 1])


CONFUSED = np.array([[0.30, 0.05, 0.05], [0.03, 0.22, 0.05], [0.02, 0.08, 0.20]])
OF_CLASSES = np.array(
    [[float(i == j == c) for c in range(3)] + [float(j == c) for c in range(3)] + [float(i == c) for c in range(3)]
     for i in range(3) for j in range(3)]
)  # fmt: skip


def drawn_classes(random: np.random.Generator, n: int) -> Floats:
    return np.asarray(OF_CLASSES[random.choice(9, n, p=CONFUSED.ravel())])


def drawn_errors(random: np.random.Generator, n: int) -> Floats:
    """Wrong words of all words, a fifth on average, in texts of different lengths and quality."""
    words = random.poisson(12, n) + 3
    return np.column_stack([random.binomial(words, random.beta(1, 4, n)), words]).astype(float)


F1 = float(f1_macro((CONFUSED.ravel() @ OF_CLASSES)[None])[0])


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "figure", "truth"), [(drawn_classes, f1_macro, F1), (drawn_errors, share, 0.2)],
    ids=["F1", "share of errors"])  # fmt: skip
@pytest.mark.parametrize("n", [10, 20, 30, 100])
def test_figures_of_a_whole_set(
    draw: Callable[[np.random.Generator, int], Floats],
    figure: Callable[[Floats], Floats],
    truth: float,
    n: int,
    record_property: Any,
) -> None:
    random = np.random.default_rng(n)
    found = [figure_interval(draw(random, n), figure, resamples=1000) for _ in range(SUITES)]
    low, high = ends(found)
    record_property("simulated", (inside(found, truth), float((high < truth).mean()), float((low > truth).mean())))
    # Of ten cases of three classes some class may have one or none; those have no interval, or a wide one.
    assert 0.93 - ERROR <= np.mean(~((low > truth) | (high < truth))) <= 0.98 + ERROR
    assert max((high < truth).mean(), (low > truth).mean()) <= 0.05 + ERROR


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [320, 640, 1280, 3200])
def test_perplexity_whose_tokens_depend_on_their_neighbours(tokens: int, record_property: Any) -> None:
    random = np.random.default_rng(tokens)
    found = []
    for _ in range(SUITES // 2):
        values = np.empty(tokens)
        last = 0.0
        for i, step in enumerate(random.exponential(1, tokens) - 1):
            values[i] = last = 0.3 * last + step
        surprise = 3 + values * math.sqrt(1 - 0.3**2)
        found.append(Perplexity([("t", -float(v)) for v in surprise], tokens, tokens, tokens, 64, 64).interval())
    assert all(one.too_few for one in found) == (tokens < 640)
    record_property("simulated", inside(found, math.exp(3)))
    if tokens >= 640:
        # Twice the error, of half as many.
        assert inside(found, math.exp(3)) >= 0.93 - 1.5 * ERROR


# ── votes ──


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cases", [10, 30, 100])
@pytest.mark.parametrize("players", [2, 3])
def test_strengths_by_votes(players: int, cases: int, record_property: Any) -> None:
    """Two people vote on each case, and half of the time the second says what the first did."""
    random = np.random.default_rng(cases)
    strength = np.linspace(0.6, -0.6, players)
    pairs = [(i, j) for i in range(players) for j in range(i + 1, players)]
    first, between, told = [], [], 0
    for _ in range(300):
        contests = []
        for case in range(cases):
            for i, j in pairs:
                chance = 1 / (1 + math.exp(strength[j] - strength[i]))
                votes = random.random(2) < chance
                if random.random() < 0.5:
                    votes[1] = votes[0]
                contests += [Contest(i, j, float(vote), case) for vote in votes]
        found = bradley_terry(contests, players)
        if found.reason:
            continue
        told += 1
        low, high = found.interval(0)
        first.append(low <= strength[0] <= high)
        _, low, high = found.chance(0, players - 1)
        between.append(low <= 1 / (1 + math.exp(strength[-1] - strength[0])) <= high)
    record_property("simulated", (float(np.mean(first)), float(np.mean(between))))
    assert told >= 270
    # Three standard errors of so many.
    error = 3 * math.sqrt(0.05 * 0.95 / told)
    assert np.mean(first) >= 0.93 - error
    assert np.mean(between) >= 0.93 - error


# ── verdicts ──


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "exponential"])
@pytest.mark.parametrize("n", [10, 30, 100])
@pytest.mark.parametrize("metrics", [1, 4])
def test_one_comparison_in_twenty_finds_a_difference_where_there_is_none(
    n: int, kind: str, metrics: int, record_property: Any
) -> None:
    """Of several metrics, which depend on each other, at most one in twenty finds any."""
    random = np.random.default_rng(n)

    def draw(*shape: int) -> Any:
        return random.normal(size=shape) if kind == "normal" else random.exponential(size=shape) - 1

    found = 0
    for _ in range(SUITES // 2):
        differences = draw(n, 1) + draw(n, metrics)
        p_values = holm([sign_flip(column, flips=2000, seed=i) for i, column in enumerate(differences.T)])
        # As a verdict: both the corrected test and the interval have to say so.
        intervals = [difference_interval(column) for column in differences.T]
        found += any(p < 0.05 and not i.low <= 0 <= i.high for p, i in zip(p_values, intervals, strict=True))
    record_property("simulated", found / (SUITES // 2))
    # Twice the error, of half as many.
    assert found / (SUITES // 2) <= 0.05 + 1.5 * ERROR


@pytest.mark.slow
@pytest.mark.parametrize(("effect", "spread"), [(0.5, 1.0), (0.1, 0.3)])
def test_as_many_cases_as_a_plan_says_show_the_difference_in_80_of_100(effect: float, spread: float) -> None:
    n = scores_needed(effect, spread)
    assert n is not None
    random = np.random.default_rng(n)
    found = [difference_interval(random.normal(effect, spread, n)) for _ in range(SUITES)]
    low, _ = ends(found)
    # The interval is wider where scores are skewed, as samples by chance are.
    assert 0.8 - 0.05 <= float((low > 0).mean()) <= 0.85
