"""How long a run takes: what is computed beside the tokens that are learned from counts, too."""

from __future__ import annotations

import random
from typing import Any

import pytest

from llmops_tui.training.duration import Lengths, Speed, evaluations, forward_share, padded, seconds
from llmops_tui.training.recipe import Recipe, check


def recipe(**changes: Any) -> Recipe:
    body = {"name": "r", "base": "b", "data": ["d"], "gradient_checkpointing": False, "max_steps": 20}
    return check(body | {"batch": {"size": 4, "accumulation": 1}} | changes)


def test_each_row_is_as_long_as_the_longest_of_its_batch() -> None:
    lengths = [10, 20, 30, 40, 50, 60, 70, 80]
    assert padded(recipe(batch={"size": 1, "accumulation": 8}), lengths) == sum(lengths)
    assert padded(recipe(batch={"size": 4, "accumulation": 1, "packing": True}), lengths) == sum(lengths)
    assert padded(recipe(batch={"size": 4, "accumulation": 1, "group_by_length": True}), lengths) == 4 * 40 + 4 * 80
    chance = random.Random(2)
    many = [chance.randrange(10, 100) for _ in range(4000)]
    by_chance = padded(recipe(), many)
    # Of four numbers by chance the greatest is four fifths of the way up.
    assert by_chance / len(many) == pytest.approx(10 + 90 * 0.8, rel=0.02)


@pytest.mark.parametrize(
    ("every", "steps", "count"), [(0, 100, 10), (0, 80, 10), (0, 7, 7), (30, 100, 4), (50, 100, 2)]
)
def test_a_run_is_measured_ten_times_or_as_often_as_is_said_and_at_its_end(every: int, steps: int, count: int) -> None:
    assert evaluations(recipe(evaluation={"every": every}), steps) == count


def test_steps_evaluations_samples_and_the_beginning_are_counted() -> None:
    lengths = Lengths([50] * 80, 80, [50] * 8, [30, 100])
    speed = Speed(1000.0, answer=0.1, begin=7.0)
    wanted = recipe(evaluation={"every": 10, "sample_tokens": 40})
    # 20 steps of 200 tokens; twice 8 rows forward alone, which is a half of a step through a frozen base; 30 + 40 tokens twice.
    assert seconds(wanted, lengths, speed) == pytest.approx(7 + 4 + 2 * 400 * 0.5 / 1000 + 2 * 70 * 0.1)
    without = Lengths([50] * 80, 80, [], [30])
    assert seconds(wanted, without, speed) == pytest.approx(7 + 4)
    # Twenty sequences into which eighty rows are packed: each step has as many tokens as it has.
    packed = recipe(batch={"size": 1, "accumulation": 1, "packing": True}, max_steps=0, epochs=1)
    assert seconds(packed, Lengths([50] * 80, 20, [], []), Speed(1000.0)) == pytest.approx(4)
    shares = [
        forward_share(recipe(**changes))
        for changes in ({}, {"gradient_checkpointing": True}, {"tuning": "full", "quantization": {"type": "none"}})
    ]
    assert shares == pytest.approx([1 / 2, 1 / 3, 1 / 3])
