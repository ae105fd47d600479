"""A chart has the scale that tells more, and round ends where few rows have room for these alone."""

from __future__ import annotations

import math

import pytest

from screens.widgets.chart import Series, draw
from screens.widgets.chart_scales import round_ends, round_powers, tells_more_by_powers


def labels(points: list[float], *, logarithmic: bool) -> list[str]:
    series = [Series("a", "$accent", [(float(step), value) for step, value in enumerate(points)])]
    lines = draw(series, 40, 6, weight=0.0, logarithmic=logarithmic, zoom=1.0, utf8=True)[:-1]
    return [label for line in lines if (label := line.plain[:8].strip())]


def test_a_long_fall_to_a_flat_end_is_drawn_by_powers() -> None:
    falling = [6.0 * math.exp(-step / 5) + 0.28 for step in range(100)]
    assert tells_more_by_powers(falling)
    assert not tells_more_by_powers([6.0 - step * 0.05 for step in range(100)])  # straight
    assert not tells_more_by_powers([0.5 - step * 0.001 for step in range(100)])  # a small fall
    assert not tells_more_by_powers([*falling, -0.1])  # no power is below 0
    assert not tells_more_by_powers(falling[:4])


def test_a_low_chart_has_round_ends() -> None:
    assert labels([6.13, 3.0, 0.283], logarithmic=False) == ["5", "0"]
    assert labels([7.3, 7.15, 6.9], logarithmic=False) == ["7.2", "7.0"]
    assert labels([6.13, 3.0, 0.283], logarithmic=True) == ["7", "0.2"]
    assert round_ends(0.283, 6.13) == (0.0, 6.5)
    assert round_powers(math.log10(0.283), math.log10(6.13)) == pytest.approx((math.log10(0.2), math.log10(7)))
    # Round ones stay.
    assert round_ends(0.0, 10.0) == (0.0, 10.0)


def test_what_is_as_good_as_zero_has_no_place_on_a_scale_of_powers() -> None:
    assert labels([5e-324, 6.13, 3.0, 0.283], logarithmic=True) == labels([6.13, 3.0, 0.283], logarithmic=True)
    assert labels([5e-324, 2e-308], logarithmic=True) == []
