"""How long a run takes: what is computed beside the tokens that are learned from counts, too."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from llmops_tui.training.attention_costs import token_cost
from llmops_tui.training.duration import (
    Lengths,
    Speed,
    evaluations,
    forward_share,
    padded,
    plain_share,
    seconds,
    usual,
    work,
)
from llmops_tui.training.recipe import Recipe, check
from tests.training.test_preflight import LLAMA_8B, SHORT


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
    assert seconds(wanted, SHORT, lengths, speed) == pytest.approx(7 + 4 + 2 * 400 * 0.5 / 1000 + 2 * 70 * 0.1)
    without = Lengths([50] * 80, 80, [], [30])
    assert seconds(wanted, SHORT, without, speed) == pytest.approx(7 + 4)
    # Twenty sequences into which eighty rows are packed: each step has as many tokens as it has.
    packed = recipe(batch={"size": 1, "accumulation": 1, "packing": True}, max_steps=0, epochs=1)
    assert seconds(packed, SHORT, Lengths([50] * 80, 20, [], []), Speed(1000.0)) == pytest.approx(4)
    shares = [
        forward_share(recipe(**changes))
        for changes in ({}, {"gradient_checkpointing": True}, {"tuning": "full", "quantization": {"type": "none"}})
    ]
    assert shares == pytest.approx([1 / 2, 1 / 3, 1 / 3])


def cost(width: int, *, mask: bool = False, **changes: Any) -> float:
    return token_cost(LLAMA_8B, recipe(gradient_checkpointing=True, **changes), width, mask=mask)


def test_a_token_of_a_long_row_costs_what_its_attention_costs_too() -> None:
    # 32 layers of 4,096 numbers times half of 32,768 tokens, twice, beside 7.5 billion weights; and 4.5 passes for 3.
    weights = 6_979_321_856 + 128_256 * 4096
    assert cost(32_768) == pytest.approx(1 + 1.5 * 32 * 32_768 * 4096 / weights)
    assert cost(32_768) == pytest.approx(1.86, abs=0.01)
    assert cost(2048) == pytest.approx(1.054, abs=0.001)
    # With a mask, and with eager always, both halves are computed; flex leaves out what a mask leaves out.
    assert cost(8192, mask=True) - 1 == pytest.approx(2 * (cost(8192) - 1))
    assert cost(8192, attention="eager") == cost(8192, mask=True)
    assert cost(8192, mask=True, attention="flex") == cost(8192)


def test_layers_with_a_window_compute_all_of_a_row_with_sdpa_and_their_window_with_flex() -> None:
    shape = dataclasses.replace(LLAMA_8B, windowed=16, window=1024)
    one = {kind: token_cost(shape, recipe(attention=kind), 16_384, mask=False) - 1 for kind in ("sdpa", "flex")}
    plain = token_cost(LLAMA_8B, recipe(), 16_384, mask=False) - 1
    assert one["sdpa"] == pytest.approx(plain * (0.5 + 0.5 * 2))
    assert one["flex"] == pytest.approx(plain * (0.5 + 0.5 * 2048 / 16_384))
    assert token_cost(shape, recipe(), 1024, mask=False) == token_cost(LLAMA_8B, recipe(), 1024, mask=False)


def test_what_two_steps_on_the_longest_rows_took_is_not_what_short_rows_take() -> None:
    wanted = recipe(
        batch={"size": 1, "accumulation": 1, "max_length": 32_768}, gradient_checkpointing=True, max_steps=0, epochs=1
    )
    lengths = [32_768] * 2 + [1024] * 64
    # As the dry run has it: two of the longest.
    plain = work(wanted, LLAMA_8B, [32_768] * 2) / 15
    taken = seconds(wanted, LLAMA_8B, Lengths(lengths, 66, [], []), Speed(plain))
    assert taken == pytest.approx(15 + 15 * cost(1024) / cost(32_768))
    assert plain_share(wanted, LLAMA_8B, [32_768]) == pytest.approx(1 / cost(32_768))


def test_rows_of_other_lengths_have_a_mask_and_held_out_rows_are_not_packed() -> None:
    wanted = recipe(batch={"size": 2, "accumulation": 1}, gradient_checkpointing=True)
    assert work(wanted, LLAMA_8B, [8192, 8192]) == pytest.approx(2 * 8192 * cost(8192))
    assert work(wanted, LLAMA_8B, [8192, 4096]) == pytest.approx(2 * 8192 * cost(8192, mask=True))
    packed = recipe(batch={"size": 2, "accumulation": 1, "packing": True}, gradient_checkpointing=True)
    assert work(packed, SHORT, [100, 50]) == pytest.approx(150, rel=1e-6)
    assert work(packed, SHORT, [100, 50], packed=False) == pytest.approx(200, rel=1e-6)


def test_usual_steps_are_those_that_cost_what_most_do() -> None:
    lengths = [10] * 30 + [20] * 40 + [500] * 30
    grouped = recipe(batch={"size": 4, "accumulation": 1, "group_by_length": True})
    rows = usual(grouped, LLAMA_8B, lengths, 2)
    assert [lengths[at] for at in rows] == [20] * 8
    assert len(set(rows)) == 8
    # Of fewer rows than a step has, some come twice.
    assert usual(recipe(), LLAMA_8B, [7, 8], 2) == usual(recipe(), LLAMA_8B, [7, 8], 1) * 2
    assert sorted(usual(recipe(), LLAMA_8B, [7, 8], 1)) == [0, 0, 1, 1]
