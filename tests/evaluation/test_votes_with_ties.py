"""Rankings of votes that are ties, all or nearly all: their intervals are as wide as so few votes allow."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmops_tui.evaluation.columns.ranking import Choice, ranking_of
from llmops_tui.evaluation.statistics.bradley_terry import Contest, bradley_terry
from llmops_tui.evaluation.statistics.student import t_quantile
from llmops_tui.prompts.compare.boards import TIE


def test_four_ties_do_not_say_that_two_are_equal() -> None:
    found = bradley_terry([Contest(0, 1, 0.5, case) for case in range(4)], 2)
    # Four votes, each with the information 1/4, and the factor of four clusters.
    half = t_quantile(0.975, 3) * math.sqrt(4 / 3)
    assert found.interval(0) == (pytest.approx(-half / 2), pytest.approx(half / 2))
    chance, low, high = found.chance(0, 1)
    assert (chance, low, high) == (
        0.5,
        pytest.approx(1 / (1 + math.exp(half))),
        pytest.approx(1 / (1 + math.exp(-half))),
    )


def test_many_ties_say_it_more_and_more() -> None:
    widths = []
    for votes in (4, 40, 400):
        _, low, high = bradley_terry([Contest(0, 1, 0.5, case) for case in range(votes)], 2).chance(0, 1)
        widths.append(high - low)
    assert widths[0] > 0.9
    assert 0.05 < widths[2] < 0.12 < widths[1] < 0.4


@pytest.mark.parametrize("ties", [0.5, 0.9])
def test_intervals_of_votes_that_are_mostly_ties_hold_what_is_true(ties: float) -> None:
    random = np.random.default_rng(7)
    inside = told = 0
    for _ in range(300):
        shares = np.where(random.random(12) < ties, 0.5, random.random(12) < 0.6)
        found = bradley_terry([Contest(0, 1, float(share), case) for case, share in enumerate(shares)], 2)
        if not found.reason:
            told += 1
            _, low, high = found.chance(0, 1)
            inside += low <= ties * 0.5 + (1 - ties) * 0.6 <= high
    assert told > 290
    assert inside / told >= 0.93


def test_the_ranking_of_columns_says_so_and_has_no_figures_where_one_won_all() -> None:
    ties: list[Choice] = [{"winner": TIE, "among": [0, 1, 2], "about": str(n)} for n in range(4)]
    ranked = ranking_of(ties, ["a", "b", "c"])["columns"]
    assert all(
        one["low"] is not None and one["high"] is not None and one["low"] < -0.5 < 0.5 < one["high"] for one in ranked
    )
    won: list[Choice] = [{"winner": 0, "among": [0, 1, 2], "about": str(n)} for n in range(4)]
    lost = ranking_of(won, ["a", "b", "c"])
    assert "no finite strength" in lost["reason"]
    assert all(one["strength"] is None and one["low"] is None and one["chance_low"] is None for one in lost["columns"])
