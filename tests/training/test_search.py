"""What a search says: the importance of settings, the loss of a trial, and no number drawn twice."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import optuna
import pytest

from llmops_tui.training.history import History
from llmops_tui.training.importance import importance
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.search_methods import make_sampler
from llmops_tui.training.search_space import Space
from llmops_tui.training.trials import result_of, suggest

SPACE: Space = {
    "optimizer.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True},
    "lora.rank": {"choices": [8, 16, 32]},
    "optimizer.max_grad_norm": {"low": 0.1, "high": 1.0},
}
GRID: Space = {
    "optimizer.learning_rate": {"choices": [1e-4, 1e-3, 1e-2]},
    "lora.rank": {"choices": [8, 16, 32]},
}


def loss(settings: Any, noise: float = 0.0) -> float:
    """The learning rate is everything."""
    return (math.log10(settings["optimizer.learning_rate"]) + 3) ** 2 + noise


def searched(sampler: Any, space: Space, trials: int) -> list[tuple[dict[str, Any], float]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=make_sampler(sampler, space, 3))
    chance = random.Random(1)
    study.optimize(lambda trial: loss(suggest(trial, space), chance.gauss(0, 0.05)), n_trials=trials)
    return [(trial.params, float(trial.value or 0)) for trial in study.trials]


@pytest.mark.parametrize(("sampler", "space", "trials"), [("random", SPACE, 24), ("grid", GRID, 9), ("tpe", SPACE, 24)])
def test_a_learning_rate_that_is_everything_is_everything(sampler: str, space: Space, trials: int) -> None:
    found = importance(searched(sampler, space, trials), frozenset({"optimizer.learning_rate"}))
    assert next(iter(found)) == "optimizer.learning_rate"
    assert found["optimizer.learning_rate"] > 0.9
    assert sum(found.values()) == pytest.approx(1, abs=0.01)


def test_two_that_matter_alike_have_a_half_each() -> None:
    values = [0.1, 0.2, 0.3, 0.4]
    trials = [({"a": a, "b": b, "c": c}, a + b) for a, b, c in itertools.product(values, values, ("x", "y"))]
    found = importance(trials)
    assert found["a"] == pytest.approx(0.5, abs=0.02)
    assert found["b"] == pytest.approx(0.5, abs=0.02)
    assert found["c"] == 0


def test_where_trials_are_too_few_or_all_alike_nothing_is_said() -> None:
    assert importance([]) == {}
    assert importance([({"a": 1, "b": 2}, 0.3), ({"a": 2, "b": 3}, 0.2)]) == {}
    assert importance([({"a": n}, 0.5) for n in range(9)]) == {}
    assert importance([({"a": n}, float("nan")) for n in range(9)]) == {}


def test_a_trial_is_worth_what_its_recipe_returns() -> None:
    history = History()
    history.series["eval_loss"] = {2: 0.5, 4: 0.3, 6: 0.9}
    body: dict[str, Any] = {"name": "r", "base": "b", "data": ["d"]}
    plain: Recipe = check(body)
    assert result_of(history, plain) == 0.9
    assert result_of(history, check(body | {"evaluation": {"patience": 2}})) == 0.3
    # One that diverged behind its best still has it; without early stopping it ends as it ends.
    history.series["eval_loss"] = {2: float("nan"), 4: 0.3, 6: float("nan")}
    assert result_of(history, check(body | {"evaluation": {"patience": 2}})) == 0.3
    assert math.isnan(result_of(history, plain) or 0)


def test_a_search_that_goes_on_draws_further_numbers() -> None:
    def drawn(seed: int, count: int) -> list[Any]:
        study = optuna.create_study(sampler=make_sampler("random", SPACE, seed))
        return [suggest(study.ask(), SPACE) for _ in range(count)]

    first, further = drawn(3, 3), drawn(3 + 3, 3)
    assert not [one for one in further if one in first]
