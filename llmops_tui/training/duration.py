"""How long a run takes: its steps with their padding, its evaluations and their sample answers, and what comes before them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_tui.training.attention_costs import BACK, BACK_OF_ALL, token_cost
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.shape import Shape

_TENTH = 10


@dataclass(frozen=True)
class Speed:
    """What was measured in real steps.

    Attributes:
        plain: tokens a second as they are computed, padding included, as if attention cost nothing: :func:`work` a second.
        answer: seconds for a token of a sample answer; 0 where none was asked for.
        begin: seconds before the first step.
    """

    plain: float
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


def seconds(recipe: Recipe, shape: Shape, lengths: Lengths, speed: Speed) -> float:
    """How long a run takes from its start to its last evaluation; with early stopping it may end before."""
    steps = recipe.steps(lengths.rows)
    count = evaluations(recipe, steps) if lengths.held_out else 0
    learned = work(recipe, shape, lengths.learned) * steps * recipe.effective_batch / max(1, lengths.rows)
    measured = work(recipe, shape, lengths.held_out, packed=False) * forward_share(recipe) * count
    asked = sum(min(length, recipe.evaluation.sample_tokens) for length in lengths.answers) * count
    return speed.begin + (learned + measured) / speed.plain + asked * speed.answer


def work(recipe: Recipe, shape: Shape, lengths: Sequence[int], *, packed: bool | None = None) -> float:
    """Tokens of all rows as batches have them, each counted with what its attention costs beside all weights.

    ``lengths`` are those of sequences where several rows are packed into one; ``packed`` says where it is otherwise.
    """
    packed = recipe.batch.packing if packed is None else packed
    found = 0.0
    for batch in _batches(recipe, lengths):
        width = max(batch)
        # A batch of rows of one length has no mask.
        mask = packed or len(set(batch)) > 1 or recipe.facts.examples == "pairs"
        tokens = sum(batch) if packed else width * len(batch)
        found += tokens * token_cost(shape, recipe, width, mask=mask)
    return found


def plain_share(recipe: Recipe, shape: Shape, lengths: Sequence[int]) -> float:
    """Tokens of these rows a second, as a share of what :class:`Speed` has: less for padding, and for attention."""
    return sum(lengths) / work(recipe, shape, lengths)


def padded(recipe: Recipe, lengths: Sequence[int]) -> int:
    """Tokens of all rows as batches have them: each row is as long as the longest of its batch."""
    if recipe.batch.packing:
        return sum(lengths)
    return sum(max(batch) * len(batch) for batch in _batches(recipe, lengths))


def _batches(recipe: Recipe, lengths: Sequence[int]) -> list[list[int]]:
    order = list(lengths)
    if recipe.batch.group_by_length:
        order.sort()
    else:
        # As any order by chance has it.
        random.Random(recipe.seed).shuffle(order)  # noqa: S311
    size = recipe.batch.size
    return [order[at : at + size] for at in range(0, len(order), size)]


def usual(recipe: Recipe, shape: Shape, lengths: Sequence[int], count: int) -> list[int]:
    """The rows of ``count`` steps that cost what most of a run's do, by place, one step behind the other.

    Shorter rows are not as many times faster as they are shorter: what a step has besides is the same for all.
    """
    order = list(range(len(lengths)))
    if recipe.batch.group_by_length:
        order.sort(key=lambda at: lengths[at])
    else:
        random.Random(recipe.seed).shuffle(order)  # noqa: S311
    size = recipe.effective_batch
    steps = [order[at : at + size] for at in range(0, len(order) - size + 1, size)] or [(order * size)[:size]]
    steps.sort(key=lambda step: work(recipe, shape, [lengths[at] for at in step]))
    middle = max(0, (len(steps) - count) // 2)
    chosen = steps[middle : middle + count]
    return [at for number in range(count) for at in chosen[number % len(chosen)]]


def evaluations(recipe: Recipe, steps: int) -> int:
    """How often a run of so many steps is measured; its last step always is."""
    every = recipe.evaluation.every or max(1, steps // _TENTH)
    return steps // every + (1 if steps % every else 0)


def forward_share(recipe: Recipe) -> float:
    """What an evaluation of a row costs, as a share of what it costs to learn from it."""
    again = 1 if recipe.gradient_checkpointing else 0
    return 1 / (1 + again + (BACK_OF_ALL if recipe.tuning == "full" else BACK))
