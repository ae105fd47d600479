"""The drawing of candidates by score and length."""

from __future__ import annotations

from typing import Any, cast

from llmops_tui.improvement.front import front_lines
from llmops_tui.improvement.records import CandidateRecord


def _drawn(*points: tuple[float, int]) -> list[str]:
    made: list[dict[str, Any]] = [
        {"version": n, "parent": n - 1 or None, "mean": mean, "prompt_tokens": tokens, "words": tokens, "front": False}
        for n, (mean, tokens) in enumerate(points, 1)
    ]
    return front_lines(cast("list[CandidateRecord]", made), 1, width=20)[:-1]


def test_one_score_of_all_is_one_figure_in_a_low_drawing() -> None:
    assert _drawn((0, 10), (0, 20)) == [
        "  ┤",
        "0 ┤○@1              ·@2",
        "  ┤",
        "  └────────────────────",
        "   10         20 tokens",
    ]


def test_one_length_of_all_is_one_figure() -> None:
    drawn = _drawn((0.25, 10), (0.75, 10))
    assert (drawn[0], drawn[11], drawn[-1].rstrip()) == ("0.75 ┤·@2", "0.25 ┤○@1", "      10 tokens")


def test_ends_that_nearly_agree_have_the_digits_that_tell_them_apart() -> None:
    drawn = _drawn((0.12341, 10), (0.12342, 20))
    assert [line.split(" ┤")[0] for line in (drawn[0], drawn[11])] == ["0.12342", "0.12341"]
