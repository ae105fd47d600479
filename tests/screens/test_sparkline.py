from __future__ import annotations

import math

from llmops_tui.monitoring.courses import Courses
from screens.home.list_rendering import day_lines
from screens.home.tile import Tile
from screens.widgets.sparkline import bars, resampled, sparkline


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


def test_bars_have_gaps_where_there_is_room_and_take_the_whole_width() -> None:
    assert bars([1, 2], 3, utf8=True) == ["▅ █"]
    assert bars([1, 2], 2, utf8=True) == ["▅█"]
    assert bars([1, 2, 2], 7, utf8=True) == ["▅ ██ ██"]
    assert bars([1, 2], 99, utf8=True) == ["▅▅▅▅ ████"]
    assert bars([0, math.nan, 2], 5, utf8=True) == ["▁   █"]
    assert bars([0, 0], 3, utf8=True) == ["▁ ▁"]
    assert bars([], 9, 2, utf8=True) == ["", ""]
    for width in range(1, 60):
        assert len(bars([1.0] * 24, width, utf8=True, widest=width)[0]) <= width
    assert len(bars([1.0] * 24, 111, utf8=True, widest=111)[0]) == 111


def test_a_tile_says_the_state_and_the_figure_first_and_draws_its_course_where_there_is_room() -> None:
    tile = Tile(
        [("state", "plain")], [("figure", "plain")], [("detail", "muted")], [[("more", "muted")]], (1.0, 2.0), "loss", "1 → 2"
    )  # fmt: skip
    assert [line[0][0] for line in tile.lines(20, 2, utf8=True)] == ["state", "figure"]
    # Beside bars in one line stand their ends; with more lines what they are, too.
    assert tile.lines(12, 3, utf8=True)[2] == [("▅▅ ███", "accent"), (" 1 → 2", "muted")]
    assert [line[0][0] for line in tile.lines(20, 4, utf8=True)][:3] == ["state", "figure", "detail"]
    assert tile.lines(20, 5, utf8=True)[-1] == [("loss ", "muted"), ("1 → 2", "plain")]
    assert len(tile.lines(20, 9, utf8=True)) == 6
    flat = Tile([("state", "plain")], [("figure", "plain")], [], [[("more", "muted")]])
    assert [line[0][0] for line in flat.lines(20, 5, utf8=True)] == ["state", "figure", "more"]


def test_a_curve_takes_the_whole_width() -> None:
    tile = Tile([("3 runs", "plain")], [("r", "plain")], [], [], (3.0, 2.0, 1.0), "loss by step", "3 → 1", curve=True)
    assert tile.lines(9, 4, utf8=True)[2] == [("███▅▅▅▁▁▁", "accent")]
    long = Tile([], [], [], [], tuple(float(n) for n in range(500)), "loss by step", "0 → 499", curve=True)
    assert len(long.lines(30, 4, utf8=True)[2][0][0]) == 30


def test_what_a_tile_has_no_room_for_is_counted() -> None:
    tile = Tile([("4 models", "plain")], [("a", "plain")], [], [[(name, "muted")] for name in "bcd"])
    assert [line[0][0] for line in tile.lines(20, 5, utf8=True)] == ["4 models", "a", "b", "c", "d"]
    assert [line[0][0] for line in tile.lines(20, 4, utf8=True)] == ["4 models", "a", "b", "and 2 more"]
    assert [line[0][0] for line in tile.lines(20, 3, utf8=True)] == ["4 models", "a", "and 3 more"]
    assert [line[0][0] for line in tile.lines(20, 2, utf8=True)] == ["4 models", "a"]


def test_the_last_day_fits_whatever_the_width() -> None:
    courses = Courses(traffic=(*[0.0] * 22, 3.0, 9.0), latency=(*[math.nan] * 22, 100.0, 300.0))
    for width in (20, 33, 80, 200):
        for rows in (4, 9, 20):
            lines = day_lines(courses, width, rows, utf8=True)
            assert len(lines) <= rows
            assert all(sum(len(text) for text, _ in line) <= width for line in lines)
            assert lines[-1][-1][0].endswith("now")
    assert day_lines(Courses(traffic=(0.0,) * 24, latency=(math.nan,) * 24), 80, 9, utf8=True) == []
