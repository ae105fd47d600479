from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from textual.color import Color

from llmops_tui.figures import figure
from screens.frame_filter import FrameFilter
from screens.models.facts import _pieces
from screens.widgets.chart import Series, axis_labels, draw
from screens.widgets.line_list import without_least
from screens.widgets.time_chart import time_labels


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("loss", 0.5912631154060364, "0.5913"), ("peak_bytes", 1_321_332_736, "1.32 GB"), ("batch", [16, 1], "16, 1"),
        ("lora.dora", False, "no"), ("best", None, "–"), ("rows", 12_043, "12,043"), ("train_seconds", 8.25, "8.25 s"),
        ("facts", {"rows": 2000, "loss": 0.123456}, "rows 2,000, loss 0.1235"), ("x", b"ques", "ques"),
        ("loss", float("nan"), "not a number"), ("tokens_per_s", 7123.7, "7,124 /s"), ("empty", [], "none"),
    ],
)  # fmt: skip
def test_a_value_is_written_as_it_is_read(name: str, value: object, text: str) -> None:
    assert figure(value, name) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers(-(10**12), 10**12),
        lambda v: st.lists(v) | st.dictionaries(st.sampled_from("abc"), v),
    )
)
def test_nothing_is_written_as_python_does(value: object) -> None:
    assert not re.search(r"\d\.\d{6,}|\[|\{|b'|None|True|False|\bnan\b", figure(value))


@pytest.mark.parametrize(
    ("ys", "labels"),
    [
        ((0.0, 1.0), ["0.0", "0.5", "1.0"]), ((3.1, 6.4), ["4", "5", "6"]), ((0.38, 2.1), ["0.5", "1.0", "1.5", "2.0"]),
        ((0.0, 100.0), ["0", "50", "100"]), ((0.0, 30_000.0), ["0", "10k", "20k", "30k"]),
    ],
)  # fmt: skip
def test_ticks_are_round(ys: tuple[float, float], labels: list[str]) -> None:
    assert [label for label in axis_labels(12, ys) if label][::-1] == labels


def test_quarters_of_percent_stand_evenly_or_are_halves() -> None:
    assert axis_labels(6, (0.0, 100.0)) == ["100", "", "50", "", "", "0"]
    assert axis_labels(5, (0.0, 100.0)) == ["100", "75", "50", "25", "0"]
    # Whatever the rows, no step differs from another by more than the half row that an even number of them leaves.
    for rows in range(5, 40):
        places = [row for row, label in enumerate(axis_labels(rows, (0.0, 100.0))) if label]
        steps = {second - first for first, second in pairwise(places)}
        assert len(steps) == 1 + (rows % 2 == 0)


def test_below_a_chart_are_round_steps_between_its_ends_where_there_is_room() -> None:
    def below(first: float, last: float, width: int) -> list[str]:
        line = [Series("loss", "", [(first, 1.0), (last, 2.0)])]
        return draw(line, width, 8, weight=0.0, logarithmic=False, zoom=1.0, utf8=True)[-1].plain.split()

    assert below(1, 40, 80) == ["1", "10", "20", "30", "40"]
    assert below(1, 2, 80) == ["1", "2"]
    assert below(0, 1000, 30) == ["0", "1,000"]
    assert below(0.5, 2.5, 60) == ["0.5", "1", "1.5", "2", "2.5"]


def test_of_a_line_that_is_too_long_what_is_least_goes_first() -> None:
    line = [("360 requests", "plain"), (" in a day", "muted"), ("  18 failed", "bad")]
    assert without_least(line, 40) == line
    assert "".join(text for text, _ in without_least(line, 25)) == "360 requests  18 failed"
    assert without_least([("all of it", "muted")], 3) == [("all of it", "muted")]


def test_a_path_and_a_text_go_on_below_their_beginning() -> None:
    assert _pieces("/home/me/models/support-base.gguf", 20) == ["/home/me/models/", "support-base.gguf"]
    assert _pieces("a" * 64, 40) == ["a" * 40, "a" * 24]
    assert _pieces("words wrap between words", 10) == ["words wrap", "between", "words"]


def test_a_logarithmic_axis_has_powers_of_ten_and_what_is_between_them() -> None:
    assert [label for label in axis_labels(12, (0.0, 2.0), logarithmic=True) if label] == ["100", "30", "10", "3", "1"]
    assert [label for label in axis_labels(12, (-0.4, -0.2), logarithmic=True) if label] == ["0.6", "0.5", "0.4"]


def test_a_chart_has_two_numbers_however_low_it_is() -> None:
    assert axis_labels(4, (2.85, 3.4)) == ["3.4", "", "", "2.85"]
    assert axis_labels(4, (math.log10(1.1), math.log10(4.2)), logarithmic=True) == ["4.2", "", "", "1.1"]
    assert axis_labels(1, (2.85, 3.4)) == ["3"]
    assert axis_labels(4, (3.0, 3.0)) == ["3", "", "", ""]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 60))
def test_each_tick_stands_within_the_axis(low: float, span: float, rows: int) -> None:
    labels = axis_labels(rows, (low, low + span))
    assert len(labels) == rows
    assert sum(bool(label) for label in labels) <= 6


def test_signs_and_borders_are_ascii_where_the_terminal_has_no_utf_8() -> None:
    plain, full = FrameFilter(utf8=False), FrameFilter()
    ground = Color(0, 0, 0)
    drawn = [Segment("╭─ traces… ▾took ● “x” ─╮"), Segment("日本")]
    assert [part.text for part in plain.apply(drawn, ground)] == ['+- traces~ vtook * "x" -+', "日本"]
    assert full.apply(drawn, ground) == drawn


@pytest.mark.parametrize("span", [60.0, 900.0, 3600.0, 86_400.0, 7 * 86_400.0, 90 * 86_400.0])
@pytest.mark.parametrize("columns", [8, 20, 61, 190])
def test_times_below_a_chart_are_round_apart_and_inside(span: float, columns: int) -> None:
    end = 1_795_761_191.4
    labels = time_labels(end - span, end, columns)
    assert all(place >= 0 and place + len(label) <= columns for place, label in labels)
    assert all(one + len(text) < two for (one, text), (two, _) in pairwise(labels))
    if span == 3600 and columns == 61:
        # The end is now; the others are what a clock on the wall has a mark for.
        assert len(labels) > 4
        assert all(label[-1] == "0" for _, label in labels[:-1])
