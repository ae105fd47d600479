"""Two samples of vectors, and the alarm over many days of them."""

from __future__ import annotations

import numpy as np
import pytest

from llmops_tui.decisions.change_alarm import USUAL_THRESHOLD, course, e_value
from llmops_tui.decisions.two_samples import discrepancy

RANDOM = np.random.default_rng(4)


def rows(count: int, shift: float = 0.0) -> np.ndarray:
    found = RANDOM.normal(size=(count, 8))
    found[:, :3] += shift
    return found


def test_samples_of_one_kind_are_told_apart_as_rarely_as_the_level_says() -> None:
    found = [discrepancy(rows(60), rows(40), (np.arange(60), np.arange(40)), k, permutations=99).p for k in range(60)]
    assert np.mean(np.array(found) <= 0.05) <= 0.12
    assert min(found) >= 0.01


def test_a_shift_is_seen_and_its_size_grows_with_it() -> None:
    small, large = (
        discrepancy(rows(80), rows(60, shift), (np.arange(80), np.arange(60)), 1, permutations=199)
        for shift in (0.7, 2.0)
    )
    assert small.p <= 0.05
    assert large.p == pytest.approx(1 / 200)
    assert small.squared < large.squared


def test_rows_of_one_conversation_are_no_evidence_of_their_own() -> None:
    """Ten rows each of few conversations, which are alike: counted as rows they would nearly always differ."""
    false = []
    for seed in range(30):
        centres = [RANDOM.normal(size=(8, 8)) * 2 for _ in range(2)]
        samples = [np.repeat(centre, 10, axis=0) + RANDOM.normal(size=(80, 8)) * 0.1 for centre in centres]
        units = np.repeat(np.arange(8), 10)
        by_unit = discrepancy(*samples, (units, units), seed, permutations=99)
        by_row = discrepancy(*samples, (np.arange(80), np.arange(80)), seed, permutations=99)
        assert by_unit.units == (8, 8)
        false.append((by_unit.p <= 0.05, by_row.p <= 0.05))
    by_units, by_rows = np.mean(false, axis=0)
    assert by_units <= 0.17
    assert by_rows >= 0.9


def test_the_statistic_is_the_one_of_its_definition() -> None:
    assert [e_value(p) for p in (1.0, 0.25, 0.01)] == pytest.approx([0.5, 1.0, 5.0])
    assert course([0.01, 0.25, 1.0]) == pytest.approx([5.0, 6.0, 3.5])
    # A single impossible day is no alarm; some in a row are.
    assert max(course([0.001])) < USUAL_THRESHOLD
    assert max(course([0.001] * 3)) > USUAL_THRESHOLD
