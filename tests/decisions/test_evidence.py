"""Evidence is what its formula says, by other ways to compute it; and is no more than its bound where nothing differs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from llmops_tui.decisions.betting import bounded_mean_sequence, mean_evidence
from llmops_tui.decisions.canaries import failure_evidence
from llmops_tui.decisions.group_sequential import boundaries
from llmops_tui.decisions.guardrails import bounded_guardrail, mean_guardrail
from llmops_tui.decisions.means import fewest, half_width, mean_sequences, running_means
from llmops_tui.decisions.pairs import discordant_evidence, win_rate_sequence
from llmops_tui.decisions.splits import effect_bounds, effects, share_evidence


def test_the_evidence_on_pairs_is_the_mixture_integral() -> None:
    rates = (np.arange(200_000) + 0.5) / 200_000
    prior = np.exp(9 * np.log(rates * (1 - rates)))
    prior /= prior.sum()
    for wins, losses in ((0, 0), (3, 1), (12, 40), (200, 150)):
        likelihood = np.exp(wins * np.log(2 * rates) + losses * np.log(2 * (1 - rates)))
        assert float(discordant_evidence(wins, losses)) == pytest.approx(math.log((prior * likelihood).sum()), abs=1e-6)
    # Of an array of counts, what each alone has.
    assert discordant_evidence([3, 12], [1, 40])[1] == pytest.approx(float(discordant_evidence(12, 40)))


def expected(evidence: dict[tuple[int, ...], float], probabilities: tuple[float, ...]) -> float:
    """The mean of what evidence says of each sequence."""
    return sum(math.exp(e) * math.prod(probabilities[k] for k in seen) for seen, e in evidence.items())


def test_evidence_is_worth_one_in_the_mean_where_nothing_differs() -> None:
    """Over all sequences of eight, each by how likely it is: exactly, and no more than that, where less than allowed fails."""
    long = 8
    both = list(itertools.product((0, 1), repeat=long))
    found = {seen: float(discordant_evidence(sum(seen), long - sum(seen))) for seen in both}
    assert expected(found, (0.5, 0.5)) == pytest.approx(1)
    found = {seen: float(share_evidence((long - sum(seen), sum(seen)), (0.9, 0.1))) for seen in both}
    assert expected(found, (0.9, 0.1)) == pytest.approx(1)
    found = {seen: float(failure_evidence(long, sum(seen), 0.1)) for seen in both}
    assert expected(found, (0.9, 0.1)) == pytest.approx(1)
    assert expected(found, (0.95, 0.05)) < 1
    assert expected(found, (0.7, 0.3)) > 1.5
    three = list(itertools.product((0, 1, 2), repeat=5))
    for side, shares in (("either", (0.3, 0.2, 0.5)), ("above", (0.3, 0.2, 0.5))):
        # Scores of -1, 0 and 0.6, whose mean is 0 with these shares.
        found = {s: float(mean_evidence([(-1, 0, 0.6)[k] for k in s], 0.0, (-1, 1), side)[-1]) for s in three}  # type: ignore[arg-type]
        assert expected(found, shares) == pytest.approx(1)
    assert expected(found, (0.5, 0.2, 0.3)) < 1
    assert expected(found, (0.1, 0.2, 0.7)) > 1


def test_the_effect_has_the_difference_for_its_mean_and_stays_within_its_bounds() -> None:
    random = np.random.default_rng(5)
    in_b = random.random((400, 500)) < 0.2
    scores = (random.random((400, 500)) < 0.6 + 0.1 * in_b).astype(float)
    found = effects(scores, in_b, 0.2)
    assert found.mean() == pytest.approx(0.1, abs=4 * found.std() / math.sqrt(found.size))
    low, high = effect_bounds((0.0, 1.0), 0.2)
    assert low <= found.min() <= found.max() <= high
    # What most scores have in common is taken out: their variance is that of the scores about their mean.
    assert found.std() < 1.1 * scores.std() / math.sqrt(0.2 * 0.8)


def test_intervals_end_where_the_evidence_reaches_its_bound() -> None:
    scores = np.random.default_rng(3).beta(2, 1, 300)
    low, high = bounded_mean_sequence(scores, (0.0, 1.0))
    assert 0.5 < low < scores.mean() < high < 0.8
    for end, side in ((low, "above"), (high, "below")):
        assert float(mean_evidence(scores, end, (0, 1), side)[-1]) == pytest.approx(math.log(40), abs=1e-6)  # type: ignore[arg-type]
    assert bounded_mean_sequence([], (0.0, 1.0)) == (0.0, 1.0)
    assert bounded_mean_sequence([1.0] * 100, (0.0, 1.0))[1] == 1.0
    left, right = win_rate_sequence(60, 20)
    assert left < 0.75 < right
    assert left > 0.5
    assert win_rate_sequence(0, 0) == (0.0, 1.0)
    assert win_rate_sequence(5, 0)[1] == 1.0


def test_means_without_bounds_are_those_of_the_whole_and_say_nothing_of_few() -> None:
    values = np.random.default_rng(2).lognormal(size=300)
    mean, deviation = running_means(values)
    assert (mean[-1], deviation[-1]) == pytest.approx((values.mean(), values.std(ddof=1)))
    low, high = mean_sequences(values)
    assert np.isinf(low[: fewest() - 1]).all()
    assert np.isfinite(low[fewest() - 1])
    assert high[-1] - mean[-1] == pytest.approx(float(half_width(300, values.std(ddof=1), 0.05)))


def test_boundaries_are_those_that_are_published() -> None:
    """Lan and DeMets' for five looks at 5 %, as tables of group-sequential designs have them."""
    five = [0.2, 0.4, 0.6, 0.8, 1.0]
    assert boundaries(five) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=0.002)
    assert boundaries(five, spending="pocock") == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=0.002)
    assert boundaries([1.0]) == pytest.approx([1.960], abs=0.001)
    for wrong in ([], [0.5, 0.5], [0.0, 1.0], [0.5, 1.2]):
        with pytest.raises(ValueError, match="must grow"):
            boundaries(wrong)


def test_a_guardrail_says_worse_or_not_worse_and_nothing_of_few() -> None:
    random = np.random.default_rng(7)
    alike, worse = random.normal(0.0, 0.3, 4000).clip(-1, 1), random.normal(0.2, 0.3, 400).clip(-1, 1)
    assert bounded_guardrail(alike, 0.05, (-1, 1)).state == "not worse"
    assert bounded_guardrail(worse, 0.05, (-1, 1)).state == "worse"
    assert bounded_guardrail(alike[:20], 0.05, (-1, 1)).state == "open"
    assert bounded_guardrail([], 0.05, (-1, 1)).state == "open"
    assert mean_guardrail(alike * 50, 5).state == "not worse"
    assert mean_guardrail(worse * 50, 5).state == "worse"
    assert mean_guardrail(worse[:20] * 50, 5).state == "open"
    found = bounded_guardrail(alike, 0.05, (-1, 1))
    assert found.least < alike.mean() < found.worst < 0.05


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="score"):
        mean_evidence([0.0, 2.0], 0.5, (0.0, 1.0))
    with pytest.raises(ValueError, match="not between"):
        mean_evidence([0.5], 1.0, (0.0, 1.0))
    with pytest.raises(ValueError, match="budget"):
        failure_evidence(10, 1, 0.0)
