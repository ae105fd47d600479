"""How long a run takes: its steps with their padding, its evaluations and their sample answers, and what comes before them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_tui.training.recipe import Recipe

_TENTH = 10
# What a step is made of, in passes through the model: forward, and where activations are not kept forward once more; back
# through an adapter's frozen base, whose own gradients nobody needs, or through weights that have some.
_BACK, _BACK_OF_ALL = 1, 2


@dataclass(frozen=True)
class Speed:
    """What was measured in real steps.

    Attributes:
        padded: tokens a second as they are computed, padding included.
        answer: seconds for a token of a sample answer; 0 where none was asked for.
        begin: seconds before the first step.
    """

    padded: float
    answer: float = 0.0
    begin: float = 0.0


@dataclass(frozen=True)
class Lengths:
    """Tokens of what a run reads.

    Attributes:
        learned: of the rows that it learns from, which are ``rows`` examples, fewer where they are packed.
        held_out: of the rows that it is measured on.
        answers: of the answers of which samples are generated.
    """

    learned: Sequence[int]
    rows: int
    held_out: Sequence[int]
    answers: Sequence[int]


def seconds(recipe: Recipe, lengths: Lengths, speed: Speed) -> float:
    """How long a run takes from its start to its last evaluation; with early stopping it may end before."""
    steps = recipe.steps(lengths.rows)
    count = evaluations(recipe, steps) if lengths.held_out else 0
    learned = padded(recipe, lengths.learned) * steps * recipe.effective_batch / max(1, lengths.rows)
    measured = padded(recipe, lengths.held_out) * forward_share(recipe) * count
    asked = sum(min(length, recipe.evaluation.sample_tokens) for length in lengths.answers) * count
    return speed.begin + (learned + measured) / speed.padded + asked * speed.answer


def padded(recipe: Recipe, lengths: Sequence[int]) -> int:
    """Tokens of all rows as batches have them: each row is as long as the longest of its batch."""
    if recipe.batch.packing:
        return sum(lengths)
    order = list(lengths)
    if recipe.batch.group_by_length:
        order.sort()
    else:
        # As any order by chance has it.
        random.Random(recipe.seed).shuffle(order)  # noqa: S311
    size = recipe.batch.size
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    return sum(max(batch) * len(batch) for batch in batches)


def evaluations(recipe: Recipe, steps: int) -> int:
    """How often a run of so many steps is measured; its last step always is."""
    every = recipe.evaluation.every or max(1, steps // _TENTH)
    return steps // every + (1 if steps % every else 0)


def forward_share(recipe: Recipe) -> float:
    """What an evaluation of a row costs, as a share of what it costs to learn from it."""
    again = 1 if recipe.gradient_checkpointing else 0
    return 1 / (1 + again + (_BACK_OF_ALL if recipe.tuning == "full" else _BACK))
