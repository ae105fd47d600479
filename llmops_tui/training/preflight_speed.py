"""Settings with which a run is smaller or faster and learns the same: whether it has them, and what each saves."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from llmops_tui.errors import InputRefusedError
from llmops_tui.training.attention_costs import token_cost
from llmops_tui.training.memory import estimate
from llmops_tui.training.recipe import Changes, Recipe, changed
from llmops_tui.training.records import SavingRecord
from llmops_tui.training.shape import Shape

_SMALL = ("adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd")
# Seconds of a step over those of one without it, as an 8B in NF4 had them on an H200 with rows of 2,048 tokens, of which
# attention took a share: docs/benchmarks.md.
_LIGER_STEP, _COMPILED_STEP, _FLEX_STEP = 0.84, 0.82, 0.93
_COST_THERE = 1.054
WHERE_MEASURED = "reckoned from an 8B in NF4 on an H200"


def savings(
    recipe: Recipe,
    shape: Shape,
    longest: int,
    lengths: Sequence[int],
    *,
    gpu: bool,
    absent: Callable[[Recipe], str],
) -> list[SavingRecord]:
    """What each of the settings saves, or would save.

    ``longest`` is the longest row and ``lengths`` are all of them, in tokens; ``absent`` says why a recipe cannot be run here,
    and nothing where it can; what the recipe itself lacks is no setting's fault. What needs a GPU is left out where there is
    none.
    """
    lacks = absent(recipe)
    found = []
    for on, off, step in _settings(recipe, gpu=gpu):
        try:
            with_it, without = changed(recipe, on), changed(recipe, off)
        except InputRefusedError:
            continue
        ((field, value),) = on.items()
        packing = field == "batch.packing"
        used = _in_use(recipe, field, value, gpu=gpu)
        less = 0 if packing else _bytes(without, shape, longest, gpu=gpu) - _bytes(with_it, shape, longest, gpu=gpu)
        record: SavingRecord = {
            "setting": f"{field}: {str(value).lower()}",
            "used": used,
            "absent": "" if used or (told := absent(with_it)) == lacks else told,
            "memory": less,
            "step": None if step is None else _step(step, with_it, without, shape, longest),
            # What was packed already is not known apart.
            "padding": padding(recipe, lengths) if packing and not used else None,
        }
        if used or record["absent"] or less or step or record["padding"]:
            found.append(record)
    return found


def _settings(recipe: Recipe, *, gpu: bool) -> list[tuple[Changes, Changes, float | None]]:
    """The change to each, the one from it, and how long a step is with it."""
    found: list[tuple[Changes, Changes, float | None]] = [
        ({"gradient_checkpointing": True}, {"gradient_checkpointing": False}, None)
    ]
    if recipe.facts.packs:
        found.append(({"batch.packing": True}, {"batch.packing": False}, None))
    if not gpu:
        return found
    if recipe.batch.packing:
        found.append(({"attention": "flex"}, {"attention": "sdpa"}, _FLEX_STEP))
    return [
        *found,
        ({"optimizer.name": "paged_adamw_8bit"}, {"optimizer.name": "adamw_torch"}, None),
        ({"kernels": "liger"}, {"kernels": "torch"}, _LIGER_STEP),
        ({"kernels": "compiled"}, {"kernels": "torch"}, _COMPILED_STEP),
    ]


def _step(measured: float, with_it: Recipe, without: Recipe, shape: Shape, longest: int) -> float:
    """Seconds of a step over those of one without it, in rows as long as these: kernels leave attention as long as it is."""
    cost = [token_cost(shape, one, longest, mask=one.batch.packing) for one in (with_it, without)]
    if with_it.attention != without.attention:
        # As measured where rows are short, and in long ones what a mask makes sdpa compute and flex does not.
        return min(measured, cost[0] / cost[1])
    return 1 - (1 - measured) * min(1.0, _COST_THERE / cost[1])


def _in_use(recipe: Recipe, field: str, value: object, *, gpu: bool) -> bool:
    if field == "optimizer.name":
        return recipe.optimizer.name in _SMALL or (gpu and recipe.optimizer.name == "auto")
    now = {"gradient_checkpointing": recipe.gradient_checkpointing, "batch.packing": recipe.batch.packing,
           "attention": recipe.attention, "kernels": recipe.kernels}  # fmt: skip
    return now[field] == value


def _bytes(recipe: Recipe, shape: Shape, longest: int, *, gpu: bool) -> int:
    return estimate(shape, recipe, longest, gpu=gpu).total


def padding(recipe: Recipe, lengths: Sequence[int]) -> float:
    """The share of what batches of these rows compute that is padding: each row is as long as the longest beside it."""
    order = sorted(lengths)
    if not recipe.batch.group_by_length:
        random.Random(recipe.seed).shuffle(order)  # noqa: S311
    size = recipe.batch.size
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    computed = sum(max(batch) * len(batch) for batch in batches)
    return 1 - sum(order) / computed if computed else 0.0


def saving_lines(records: Sequence[SavingRecord]) -> list[str]:
    """What is told of them, a line each."""
    lines = []
    for record in records:
        saved = []
        if record["memory"] > 0:
            saved.append(f"{record['memory'] / 1e9:.2f} GB")
        if record["padding"]:
            saved.append(f"{record['padding']:.0%} of what is computed, which is padding")
        if record["step"] is not None:
            saved.append(f"{1 - record['step']:.0%} of the time, {WHERE_MEASURED}")
        words = " and ".join(saved)
        told = f"is {'in use' if record['used'] else 'not in use'}"
        if words:
            told += f"; it {'saves' if record['used'] else 'would save'} {words}"
        if record["absent"]:
            told += f"; not here: {record['absent']}"
        lines.append(f"{record['setting'].removesuffix(': true')} {told}")
    return lines
