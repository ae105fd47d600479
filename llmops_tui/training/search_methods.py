"""How a search chooses what to try, when it ends a trial early, and what it is after; all by Optuna."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from llmops_tui.errors import InputRefusedError
from llmops_tui.training.history import History
from llmops_tui.training.records import TrialRecord
from llmops_tui.training.search_space import Space

if TYPE_CHECKING:
    import optuna

Sampler = Literal["tpe", "random", "grid", "cmaes", "nsga2"]
Pruner = Literal["median", "asha", "hyperband", "none"]
Objective = Literal["loss", "size", "speed", "memory"]

# What each sampler and pruner does, for help and forms.
SAMPLERS: dict[str, str] = {
    "tpe": "Bayesian: models which values were good (TPE)",
    "random": "at random",
    "grid": "each combination of lists of values",
    "cmaes": "evolutionary: moves a cloud of numbers towards the better ones (CMA-ES); ranges only",
    "nsga2": "evolutionary: crosses the settings of the better trials (NSGA-II); for several objectives",
}
PRUNERS: dict[str, str] = {
    "median": "end a trial that is behind the median of the others at the same step",
    "asha": "successive halving: at each rung of steps the better third goes on",
    "hyperband": "successive halving in several brackets, of which some begin their rungs later",
    "none": "run all trials to their end",
}
OBJECTIVES: dict[str, str] = {
    "loss": "the evaluation loss; of grpo the held-out reward below zero",
    "size": "bytes of the adapter",
    "speed": "trained tokens a second; more is better",
    "memory": "the most memory that training took, in bytes",
}
_DIRECTIONS = {"loss": "minimize", "size": "minimize", "speed": "maximize", "memory": "minimize"}
_STARTUP_TRIALS = 3
_ADAPTER_BYTES = 4


def check_method(sampler: str, pruner: str, objectives: Sequence[str], space: Space) -> None:
    """Refuse what does not go together.

    Raises:
        InputRefusedError: ``bad_search``, or ``bad_space`` where the sampler cannot use a field's values.
    """
    for what, given, known in (
        ("sampler", sampler, get_args(Sampler)),
        ("pruner", pruner, get_args(Pruner)),
        *(("objective", one, get_args(Objective)) for one in objectives),
    ):
        if given not in known:
            raise InputRefusedError("bad_search", f"{given!r} is not a {what}", f"One of: {', '.join(known)}.")
    if not objectives or len(set(objectives)) < len(objectives):
        raise InputRefusedError("bad_search", "a search is after one objective or several, each once")
    several = len(objectives) > 1
    if several and sampler == "cmaes":
        raise InputRefusedError(
            "bad_search",
            "cmaes is after one objective, and there are several",
            "nsga2 is the evolutionary one for several.",
        )
    if several and pruner != "none":
        raise InputRefusedError(
            "bad_search",
            f"{pruner} ends trials by one objective, and there are several: which is behind is not known before the end",
            "Use the pruner none.",
        )
    if pruner != "none" and objectives[0] != "loss":
        raise InputRefusedError(
            "bad_search",
            f"{pruner} ends trials by their loss, and the objective is {objectives[0]}",
            "Use the pruner none.",
        )
    lists = [name for name, span in space.items() if "choices" in span]
    if sampler == "grid" and len(lists) < len(space):
        missing = ", ".join(name for name in space if name not in lists)
        raise InputRefusedError("bad_space", f"a grid needs a list of values for {missing}")
    if sampler == "cmaes" and lists:
        raise InputRefusedError("bad_space", f"cmaes moves numbers: give {', '.join(lists)} as low and high")
    if sampler == "cmaes" and len(space) < 2:
        raise InputRefusedError("bad_space", "cmaes needs two fields or more", "For one field tpe is as good.")


def make_sampler(name: Sampler, space: Space, seed: int, *, several: bool = False) -> Any:
    """Optuna's sampler; ``several`` where trials are under way at once, so that not all are drawn at the same place."""
    import optuna

    samplers = optuna.samplers
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    if name == "grid":
        grid = samplers.GridSampler({field: given["choices"] for field, given in space.items()}, seed=seed)
        # It would end a loop of Optuna's own, which there is not; see is_gone_through.
        grid.after_trial = lambda *_told: None
        return grid
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
    if name == "nsga2":
        return samplers.NSGAIISampler(seed=seed, population_size=8)
    return samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, constant_liar=several)


def make_pruner(name: Pruner, first: int, last: int) -> Any:
    """Optuna's pruner for trials that are measured from step ``first`` on, and have ``last`` steps; 0 where not known."""
    import optuna

    pruners = optuna.pruners
    if name == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=first or "auto", reduction_factor=3)
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=max(1, first), max_resource=last or "auto", reduction_factor=3)
    return pruners.NopPruner() if name == "none" else pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS)


def directions(objectives: Sequence[str]) -> list[str]:
    """Which way each objective is better, as Optuna says it."""
    return [_DIRECTIONS[one] for one in objectives]


def best_first(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """Trials by the first objective, the best first, and those without a value at the end."""
    sign = 1.0 if directions(objectives)[0] == "minimize" else -1.0

    def place(trial: TrialRecord) -> tuple[bool, float]:
        value = trial["loss"]
        return value is None, 0.0 if value is None else sign * value

    return sorted(trials, key=place)


def measured(objective: str, history: History, loss: float | None) -> float | None:
    """What a trial came to by an objective; none where it was not measured."""
    if objective == "loss":
        return loss
    if objective == "size":
        trainable = history.facts.get("trainable")
        return None if trainable is None else float(trainable) * _ADAPTER_BYTES
    if objective == "memory":
        return max(history.series.get("memory_bytes", {}).values(), default=None)
    # The first step has what is done once.
    speeds = [value for step, value in history.series.get("tokens_per_s", {}).items() if step > 1]
    return sum(speeds) / len(speeds) if speeds else history.last("tokens_per_s")


def dominates(left: Sequence[float], right: Sequence[float], ways: Sequence[str]) -> bool:
    """Whether one is nowhere worse than the other, and somewhere better."""
    pairs = [(a, b) if way == "minimize" else (-a, -b) for a, b, way in zip(left, right, ways, strict=True)]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def front(values: Sequence[Sequence[float]], ways: Sequence[str]) -> list[int]:
    """The places of those that no other dominates: the Pareto front."""
    return [
        place
        for place, own in enumerate(values)
        if not any(dominates(other, own, ways) for at, other in enumerate(values) if at != place)
    ]


def open_study(folder: Path, ways: Sequence[str], pruner: Any) -> optuna.Study:
    """The study of a search in the folder of its job: as it was left, or a new one."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "study.jsonl")))
    return optuna.create_study(
        study_name="sweep", storage=storage, load_if_exists=True, directions=list(ways), pruner=pruner
    )


def is_gone_through(study: optuna.Study, space: Space) -> bool:
    """Whether each combination of a grid was begun, and none waits to be tried again."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    begun = {trial.system_attrs["grid_id"] for trial in trials if "grid_id" in trial.system_attrs}
    waits = any(trial.state == optuna.trial.TrialState.WAITING for trial in trials)
    return not waits and len(begun) >= math.prod(len(given["choices"]) for given in space.values())


def again(study: optuna.Study) -> list[int]:
    """Take up what was cut: trials that a kill left running are tried again with the same settings, each once.

    Returns their numbers.
    """
    import optuna

    cut = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.RUNNING]
    for trial in cut:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
    return [trial.number for trial in cut]
