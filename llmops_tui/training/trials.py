"""A trial of a search: what it is tried with, what it came to, and whether it is behind the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llmops_tui.errors import LlmopsError
from llmops_tui.training.history import History
from llmops_tui.training.recipe import Changes, Recipe, changed
from llmops_tui.training.search_methods import Objective, Pruner, Sampler, is_gone_through, measured
from llmops_tui.training.search_space import Space
from llmops_tui.workspace.files import make_folder_within

if TYPE_CHECKING:
    import optuna

_PRUNED: dict[Pruner, str] = {
    "median": "behind the median of the trials before",
    "asha": "not among the better third of its rung",
    "hyperband": "not among the better third of its rung",
}


@dataclass(frozen=True)
class Asked:
    """What a search was asked for."""

    recipe: Recipe
    base: str
    space: Space
    trials: int
    sampler: Sampler
    pruner: Pruner
    objectives: tuple[Objective, ...]

    def recipe_of(self, number: int, chosen: Changes) -> Recipe:
        """The recipe of a trial: the settings that were chosen for it, and nothing beside its figures."""
        same = {"base": self.base, "trackers": [], "evaluation.samples": 0, "name": f"trial-{number}"}
        return changed(self.recipe, {**chosen, **same})


class Record(Protocol):
    """The record of a trial under way; see :class:`llmops_tui.training.history.HistoryReader`."""

    history: History

    def poll(self) -> bool:
        """Read what came since."""


def trial_folder(job: Path, number: int) -> Path:
    """The folder of a trial below that of its search, made."""
    make_folder_within(job / "trials")
    return make_folder_within(job / "trials" / str(number))


def next_trial(study: optuna.Study, asked: Asked) -> optuna.Trial | None:
    """The next trial; none where each combination of a grid was begun."""
    if asked.sampler == "grid" and is_gone_through(study, asked.space):
        return None
    return study.ask()


def suggest(trial: optuna.Trial, space: Space) -> Changes:
    """The settings of a trial, chosen by the search's sampler."""
    chosen: dict[str, object] = {}
    for name, given in space.items():
        if "choices" in given:
            chosen[name] = trial.suggest_categorical(name, given["choices"])
        elif isinstance(given["low"], int):
            chosen[name] = trial.suggest_int(
                name, given["low"], given["high"], step=given.get("step", 1), log=bool(given.get("log"))
            )
        else:
            chosen[name] = trial.suggest_float(
                name, given["low"], given["high"], step=given.get("step"), log=bool(given.get("log"))
            )
    return chosen


def conclude(study: optuna.Study, trial: optuna.Trial, came_to: Callable[[], tuple[float, ...]]) -> None:
    """Record how a trial ended; one that was cut by a stop, or by a fault that is not its own, is left to be tried again."""
    import optuna

    try:
        values = came_to()
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except LlmopsError as error:
        trial.set_user_attr("why", error.message)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, values)


def values_of(
    asked: Asked, number: int, history: History, recipe: Recipe, *, ended: bool, said: str
) -> tuple[float, ...]:
    """What a trial came to by each objective.

    Raises:
        LlmopsError: ``trial_failed``: it did not come to its end, or to no figures; ``said`` is what it said at last.
    """
    loss = result_of(history, recipe)
    values = [measured(one, history, loss) for one in asked.objectives]
    found = [value for value in values if value is not None and not math.isnan(value)]
    if not ended or len(found) < len(values):
        raise LlmopsError("trial_failed", f"trial {number} failed: {said}")
    return tuple(found)


def result_of(history: History, recipe: Recipe) -> float | None:
    """The loss of the weights that a run by this recipe returns: its last, or with early stopping its best."""
    # Before the first step it is the base's.
    measured = {step: loss for step, loss in history.series.get("eval_loss", {}).items() if step}
    if not measured:
        return history.last("loss")
    if not recipe.evaluation.patience:
        return measured[max(measured)]
    # As checkpoints.best: what diverged later does not undo the best.
    return min((loss for loss in measured.values() if not math.isnan(loss)), default=math.nan)


def follow(reader: Record, asked: Asked, trial: optuna.Trial, told: set[int], end: Callable[[], None]) -> None:
    """Tell the search each evaluation of a trial, and end the trial where it is behind; ``told`` has the steps before.

    Raises:
        optuna.TrialPruned: it was ended.
    """
    import optuna

    reader.poll()
    if asked.pruner == "none":
        return
    for step, loss in sorted((reader.history.series.get("eval_loss") or {}).items()):
        if step in told or not step:
            # What the base does before the first step is the same in all trials.
            continue
        told.add(step)
        trial.report(loss, step)
        if trial.should_prune():
            trial.set_user_attr("step", step)
            trial.set_user_attr("why", f"{_PRUNED[asked.pruner]} at step {step}, with a loss of {loss:.4g}")
            end()
            raise optuna.TrialPruned
