"""Findings about the rewards of a recipe: metrics that there are, rows that have what they ask for, and enough prompts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.training.examples import Examples
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.reinforcement import prompts_per_step
from llmops_tui.training.rewards import RewardFacts, RewardScorer

if TYPE_CHECKING:
    from llmops_tui.workspace.layout import Workspace


def check_rewards(
    recipe: Recipe, workspace: Workspace, examples: Examples, context: int | None = None
) -> list[Finding]:
    """What is to be said of the rewards of a recipe, and of the prompts that are answered; nothing of other methods.

    ``context`` is how many tokens the base was made for, none where it does not say.
    """
    if recipe.facts.examples != "prompts":
        return []
    part = recipe.reinforcement
    found = []
    per_step = prompts_per_step(part, recipe.effective_batch)
    if len(examples.train) < per_step:
        found.append(
            Finding(
                "error",
                "few_prompts",
                f"a step answers {counted(per_step, 'prompt')} {part.generations} times each, and there "
                f"{'is' if len(examples.train) == 1 else 'are'} {len(examples.train)}",
                "Lower batch.size, or raise reinforcement.generations.",
            )
        )
    longest = max(len(row["prompt_ids"]) for row in examples.train)
    if context and longest + part.max_tokens > context:
        found.append(
            Finding(
                "error",
                "context",
                f"the longest prompt has {counted(longest, 'token')}, and with an answer of reinforcement.max_tokens "
                f"{part.max_tokens} it is longer than the base's context of {context}",
                f"Set batch.max_length to {context}: longer prompts are left out then.",
            )
        )
    try:
        with RewardScorer(workspace, part.rewards) as scorer:
            facts = scorer.describe()
    except InputRefusedError as error:
        return [*found, Finding("error", error.code, error.message, error.hint)]
    expecting = sum(json.loads(row["case"])["expected"] is not None for row in examples.train)
    for one in facts:
        found += about(one, expecting, len(examples.train))
    if not any(one["problem"] for one in facts):
        told = "; ".join(f"{one['name']} × {one['weight']:g} ({one['code'] or one['type']})" for one in facts)
        found.append(Finding("info", "rewards", f"rewards: {told}"))
    return found


def about(one: RewardFacts, expecting: int, rows: int) -> list[Finding]:
    """What is to be said of one reward, where ``expecting`` of the rows have an expected answer."""
    name = f"reward {one['name']}"
    if one["problem"]:
        return [Finding("error", "bad_reward", f"{name}: {one['problem']}", one["hint"])]
    found = []
    if one["needs_expected"] and expecting < rows:
        level = "error" if not expecting and one["weight"] else "warn"
        missing = f"{rows - expecting} of {counted(rows, 'prompt')}"
        found.append(
            Finding(
                level,
                "nothing_expected",
                f"{name} compares with an expected answer, which {missing} do not have: they have no score by it",
                "Take rows with an answer, or a reward that needs none.",
            )
        )
    if one["better"] * one["weight"] < 0:
        less = "less" if one["better"] < 0 else "more"
        found.append(
            Finding(
                "warn",
                "reward_direction",
                f"{name} has the weight {one['weight']:g}, and of this metric {less} is better: the run learns the opposite",
                "Turn the sign of its weight.",
            )
        )
    return found
