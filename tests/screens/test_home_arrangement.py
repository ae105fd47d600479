"""How the home screen shares its rows and columns."""

from __future__ import annotations

import pytest

from screens.home.arrangement import heights, widths


@pytest.mark.parametrize("rows", [19, 22, 26, 36, 46, 90])
@pytest.mark.parametrize("tiles", [[4, 5], [7]])
@pytest.mark.parametrize("steps", [0, 2, 30])
@pytest.mark.parametrize("lists", [1, 9, 60])
@pytest.mark.parametrize("chart", [True, False])
def test_nothing_has_more_rows_than_there_are(rows: int, tiles: list[int], steps: int, lists: int, chart: bool) -> None:
    given = heights(rows, tiles=tiles, steps=steps, lists=lists, chart=chart)
    assert sum(given) <= rows
    assert min(given.tiles, given.steps, given.lists) >= 3
    assert not given.chart or (chart and given.chart >= 8)


def test_lists_get_what_they_need_and_the_chart_and_the_tiles_the_rest() -> None:
    few = heights(46, tiles=[7], steps=2, lists=4, chart=True)
    assert (few.tiles, few.steps, few.lists, few.chart) == (9, 4, 6, 22)
    many = heights(46, tiles=[7], steps=2, lists=60, chart=True)
    assert (many.tiles, many.steps, many.lists, many.chart) == (6, 4, 28, 8)
    # Without a chart all that is left is the lists'.
    assert heights(46, tiles=[7], steps=2, lists=60, chart=False).lists == 36
    # Where they would have too few lines, the chart has none; jump mode shows it.
    assert heights(22, tiles=[4, 4], steps=2, lists=60, chart=True).chart == 0


def test_columns_go_by_need_and_the_widest_gives_first() -> None:
    assert widths(30, [5, 5, 5]) == [10, 10, 10]
    assert widths(31, [5, 10, 15]) == [6, 10, 15]
    assert widths(12, [2, 9, 9]) == [2, 5, 5]
    assert sum(widths(80, [60, 60, 60])) == 80
