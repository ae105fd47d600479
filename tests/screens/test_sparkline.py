from __future__ import annotations

import math

from llmops_tui.monitoring.courses import Courses
from screens.home.list_rendering import day_lines
from screens.home.rendering import Tile
from screens.widgets.sparkline import resampled, sparkline


def test_the_highest_value_fills_its_column_and_the_lowest_is_still_seen() -> None:
    assert sparkline([1, 2, 3], 10, utf8=True) == ["▁▅█"]
    assert sparkline([5, 5], 10, utf8=True) == ["▄▄"]
    assert sparkline([0, 1, 2], 10, utf8=True, from_zero=True) == [" ▅█"]
    assert sparkline([1, 3], 10, utf8=False) == [".@"]


def test_what_is_not_a_number_has_no_bar_and_no_values_no_line() -> None:
    assert sparkline([1, math.nan, 3], 10, utf8=True) == ["▁ █"]
    assert sparkline([], 10, 2, utf8=True) == ["", ""]
    assert sparkline([math.nan], 10, utf8=True) == [""]


def test_bars_in_rows_are_read_from_the_bottom() -> None:
    assert sparkline([1, 9], 10, 2, utf8=True) == [" █", "▁█"]


def test_many_values_are_means_of_neighbours() -> None:
    assert resampled([1, 3, 5, 7], 2) == [2, 6]
    assert resampled([1, math.nan], 1) == [1]


def test_a_tile_says_the_state_and_the_figure_first_and_draws_its_course_where_there_is_room() -> None:
    tile = Tile(
        [("state", "plain")], [("figure", "plain")], [("detail", "muted")], [[("more", "muted")]], (1.0, 2.0), "loss"
    )
    assert [line[0][0] for line in tile.lines(20, 2, utf8=True)] == ["state", "figure"]
    assert tile.lines(20, 3, utf8=True)[2] == [("▁█", "accent"), (" loss", "muted")]
    assert [line[0][0] for line in tile.lines(20, 4, utf8=True)][:3] == ["state", "figure", "detail"]
    assert len(tile.lines(20, 9, utf8=True)) == 7
    flat = Tile([("state", "plain")], [("figure", "plain")], [], [[("more", "muted")]])
    assert [line[0][0] for line in flat.lines(20, 5, utf8=True)] == ["state", "figure", "more"]


def test_the_last_day_fits_whatever_the_width() -> None:
    courses = Courses(traffic=(*[0.0] * 22, 3.0, 9.0), latency=(*[math.nan] * 22, 100.0, 300.0))
    for width in (20, 33, 80, 200):
        for rows in (4, 9, 20):
            lines = day_lines(courses, width, rows, utf8=True)
            assert len(lines) <= rows
            assert all(sum(len(text) for text, _ in line) <= width for line in lines)
            assert lines[-1][-1][0].endswith("now")
    assert day_lines(Courses(traffic=(0.0,) * 24, latency=(math.nan,) * 24), 80, 9, utf8=True) == []
