"""What a run of rewards has beside others: the process that scores, the engine that generates, and a look before it begins."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.worker import JobContext
from llmops_tui.training import rewards
from llmops_tui.training.examples import Examples
from llmops_tui.training.export.serving_model import serving_model
from llmops_tui.training.history import AnswerLine, Recorder
from llmops_tui.training.preflight_findings import Finding, refuse
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.reinforcement import NO_SERVING, engine_size, steps_per_epoch
from llmops_tui.training.runs import RunStore
from llmops_tui.training.worker.engine_generation import EngineGenerator

_PROBED = 4
_SAME = 1e-6
# Whoever reads a step's answers wants to see what is rewarded, and what is not.
_RECORDED = 2


@contextlib.contextmanager
def rewarded(
    trainer: Any,
    recipe: Recipe,
    weights: Path,
    examples: Examples,
    context: JobContext,
    recorder: Recorder,
    *,
    fresh: bool = True,
    force: bool = False,
    folder: Path | None = None,
) -> Iterator[list[Finding]]:
    """Give a trainer of rewards what it needs; of other methods nothing is done. Yields what a probe of the base found.

    ``folder`` is where the run keeps what it writes, else the folder of its job.

    Raises:
        InputRefusedError: ``reward_changed`` and others of the rewards; ``no_gradient`` where ``force`` does not insist.
    """
    if recipe.facts.examples != "prompts":
        yield []
        return
    part, folder = recipe.reinforcement, folder or context.folder
    with contextlib.ExitStack() as stack:
        trainer.scorer = stack.enter_context(rewards.RewardScorer(context.workspace, part.rewards))
        rewards.note(folder, trainer.scorer.describe())
        trainer.epoch_steps = steps_per_epoch(part, recipe.effective_batch, len(examples.train))
        trainer.told = lambda step, answers: _record(recorder, step, answers)
        if part.generator == "engine":
            trainer.use(_engine(trainer, recipe, weights, examples, RunStore(context.workspace), folder, stack))
        found: list[Finding] = []
        # What the base does is measured, too: without it nobody knows what was learned.
        trainer.args.eval_on_start = fresh and bool(examples.held_out)
        if fresh:
            found = _probe(trainer, recipe, examples)
            for finding in found:
                recorder.write("event", 0, level=finding.level, message=finding.message, hint=finding.hint)
            if not force:
                refuse(found)
        yield found


def _record(recorder: Recorder, step: int, answers: list[AnswerLine]) -> None:
    """The best and the worst of the answers to the first prompt of a step."""
    group = [answer for answer in answers if answer["prompt"] == answers[0]["prompt"]]
    group.sort(key=lambda answer: -answer["reward"])
    for answer in (group[0], group[-1])[: min(_RECORDED, len(group))]:
        recorder.write("answer", step, **answer)


def _engine(
    trainer: Any,
    recipe: Recipe,
    weights: Path,
    examples: Examples,
    store: RunStore,
    folder: Path,
    stack: contextlib.ExitStack,
) -> EngineGenerator:
    model = serving_model(store, recipe.serving, store.base_of(recipe))
    if model is None:
        raise InputRefusedError(*NO_SERVING)
    longest = max(len(row["prompt_ids"]) for row in (*examples.train, *examples.held_out))
    room, parallel = engine_size(recipe.reinforcement, recipe.effective_batch, longest)
    made = EngineGenerator(
        model.path,
        weights,
        folder,
        end=int(trainer.eos_token_ids[0]),
        context=room,
        parallel=parallel,
        sync=recipe.reinforcement.sync,
    )
    stack.callback(made.close)
    return made


@dataclass(frozen=True)
class _Group:
    """The rewards of the answers to one prompt, by each reward and together."""

    scores: list[list[float | None]]
    rewards: list[float]

    @property
    def flat(self) -> bool:
        return max(self.rewards) - min(self.rewards) < _SAME


def _probe(trainer: Any, recipe: Recipe, examples: Examples) -> list[Finding]:
    """Have the base answer a few prompts as in training: where all answers of each have the same reward, nothing is learned.

    No chance of the training is used up.
    """
    part = recipe.reinforcement
    rows = [examples.train[place] for place in range(0, len(examples.train), max(1, len(examples.train) // _PROBED))]
    rows = [row for row in rows[:_PROBED] for _ in range(part.generations)]
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        made = trainer.answers([row["prompt_ids"] for row in rows], sampled=True)
    texts = trainer.processing_class.batch_decode(made, skip_special_tokens=True)
    measured = trainer.measure(rows, texts, [len(ids) for ids in made])
    groups = [
        _Group(measured.scores[at : at + part.generations], measured.rewards[at : at + part.generations])
        for at in range(0, len(rows), part.generations)
    ]
    found = []
    for place, reward in enumerate(part.rewards):
        scores = [one[place] for one in measured.scores]
        if all(score is None for score in scores):
            why = next((reasons[place] for reasons in measured.reasons if reasons[place]), "it says no reason")
            level = "error" if reward.weight else "warn"
            found.append(
                Finding(level, "no_score", f"reward {reward.called} scores none of {len(scores)} answers: {why}")
            )
    ended = sum(ids[-1] in trainer.eos_token_ids for ids in made) / len(made)
    if all(group.flat for group in groups):
        worth = measured.rewards[0]
        hint = "Add a reward that grades answers finer, teach the base the form of an answer by sft first"
        found.append(
            Finding(
                "error",
                "no_gradient",
                f"all {counted(part.generations, 'answer')} of the base to each of {counted(len(groups), 'prompt')} have "
                f"the same reward (such as {worth:.3g}): there is nothing to learn from",
                f"{hint}, or raise reinforcement.temperature.",
            )
        )
    elif ended < 1 / part.generations and not math.isclose(ended, 1):
        found.append(
            Finding(
                "warn",
                "cut_answers",
                f"{1 - ended:.0%} of the base's answers are cut at reinforcement.max_tokens {part.max_tokens}",
                "Raise reinforcement.max_tokens: an answer that is cut is rewarded as it is.",
            )
        )
    return found
