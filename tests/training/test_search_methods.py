"""Searches: what is tried, what goes together, when a trial is ended, what a kill leaves, and the front of several objectives."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import optuna
import psutil
import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.store import JobStore
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.training import sweeps
from llmops_tui.training.history import History
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import RunStore
from llmops_tui.training.search_methods import (
    again,
    best_first,
    check_method,
    directions,
    dominates,
    front,
    make_pruner,
    make_sampler,
    measured,
    open_study,
)
from llmops_tui.training.search_space import Space, check_space, check_trials, default_space, span_from_text, span_text
from llmops_tui.training.sweeps import _outcome, check_search
from llmops_tui.training.trials import Asked, conclude, follow, suggest
from llmops_tui.training.worker import trial as trial_process
from screens.training import sweep_rendering
from tests.training.conftest import Llmops
from tests.waiting import wait_for

RECIPE = check({"name": "r", "base": "b", "data": ["d"]})
NUMBERS: Space = {
    "optimizer.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True},
    "lora.rank": {"low": 4, "high": 64},
    "optimizer.max_grad_norm": {"low": 0.1, "high": 1.0},
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


# ── the space ──


@pytest.mark.parametrize(
    ("path", "typed", "span"),
    [
        ("optimizer.learning_rate", "1e-4..0.01 log", {"low": 1e-4, "high": 0.01, "log": True}),
        ("lora.rank", "8..32 step 8", {"low": 8, "high": 32, "step": 8}),
        ("lora.rank", "8, 16, 32", {"choices": [8, 16, 32]}),
        ("lora.dora", "yes, no", {"choices": [True, False]}),
        ("quantization.type", "nf4, none", {"choices": ["nf4", "none"]}),
        ("lora.targets", "q_proj, v_proj | all-linear", {"choices": [["q_proj", "v_proj"], ["all-linear"]]}),
    ],
)
def test_what_is_typed_is_a_span_of_the_fields_type(path: str, typed: str, span: Any) -> None:
    found = span_from_text(path, typed)
    assert found == span
    if path != "lora.targets":
        assert span_from_text(path, span_text(found)) == span


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"lora.rnk": {"choices": [1]}}, "did you mean lora.rank"),
        ({"lora.rank": {"low": 8, "high": 8}}, "low is not below high"),
        ({"lora.rank": {"low": 8, "high": 16, "lg": True}}, "lg is none of"),
        ({"lora.rank": {"choices": [8], "low": 4}}, "beside which low says nothing"),
        ({"lora.dora": {"low": 0, "high": 1}}, "is no number"),
        ({"optimizer.weight_decay": {"low": 0, "high": 0.1, "log": True}}, "low must be above 0"),
        ({"base": {"choices": ["a", "b"]}}, "cannot be searched"),
        ({"lora.rank": {"low": "a few", "high": 9}}, "are numbers"),
    ],
)
def test_spaces_that_say_nothing_are_refused_by_name(space: Any, said: str) -> None:
    with pytest.raises(InputRefusedError, match=said):
        check_space(space)


def test_a_combination_that_cannot_be_run_is_refused_with_its_trial() -> None:
    with pytest.raises(
        InputRefusedError, match=r"the trial with type fp4, name adamw_8bit, dora yes could not be run: dora"
    ):
        check_trials(
            RECIPE,
            {
                "quantization.type": {"choices": ["nf4", "fp4"]},
                "optimizer.name": {"choices": ["adamw_torch", "adamw_8bit"]},
                "lora.dora": {"choices": [False, True]},
            },
        )
    with pytest.raises(InputRefusedError, match="the trial with rank 2e"):
        check_trials(RECIPE, {"lora.rank": {"low": 4, "high": 2000.0}})
    # Of many combinations not all are looked at, and that takes no time.
    check_trials(
        RECIPE,
        {f: {"choices": [1, 2, 3, 4, 5, 6, 7, 8]} for f in ("lora.rank", "batch.size", "batch.accumulation", "seed")},
    )
    check_trials(RECIPE, default_space(RECIPE))


@pytest.mark.parametrize(
    ("sampler", "pruner", "objectives", "space", "said"),
    [
        ("tpee", "none", ["loss"], NUMBERS, "'tpee' is not a sampler"),
        ("tpe", "halving", ["loss"], NUMBERS, "'halving' is not a pruner"),
        ("tpe", "none", ["quality"], NUMBERS, "'quality' is not a objective"),
        ("tpe", "none", ["loss", "loss"], NUMBERS, "each once"),
        ("cmaes", "none", ["loss", "size"], NUMBERS, "cmaes is after one objective"),
        ("tpe", "asha", ["loss", "size"], NUMBERS, "asha ends trials by one objective"),
        ("tpe", "median", ["speed"], NUMBERS, "the objective is speed"),
        ("grid", "none", ["loss"], NUMBERS, "a grid needs a list of values for optimizer.learning_rate"),
        ("cmaes", "none", ["loss"], default_space(RECIPE), "cmaes moves numbers: give lora.rank"),
        ("cmaes", "none", ["loss"], {"lora.rank": {"low": 4, "high": 64}}, "two fields"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_before_the_first_trial(
    sampler: str, pruner: str, objectives: list[str], space: Space, said: str
) -> None:
    with pytest.raises(InputRefusedError, match=said):
        check_method(sampler, pruner, objectives, space)


def test_the_default_space_is_one_for_every_sampler_that_takes_ranges() -> None:
    for sampler in ("tpe", "random", "cmaes", "nsga2"):
        check_search(RECIPE.model_dump(), default_space(RECIPE, numbers=sampler == "cmaes"), sampler, "none", ["loss"])


# ── what is chosen ──


def worth(settings: Any) -> float:
    """Best at a learning rate of 1e-3 and a rank of 20."""
    import math

    return (math.log10(settings["optimizer.learning_rate"]) + 3) ** 2 + ((settings["lora.rank"] - 20) / 30) ** 2


def test_cmaes_moves_towards_the_better_numbers_within_their_ranges_and_types() -> None:
    study = optuna.create_study(sampler=make_sampler("cmaes", NUMBERS, 3))
    study.optimize(lambda trial: worth(suggest(trial, NUMBERS)), n_trials=60)
    for trial in study.trials:
        assert isinstance(trial.params["lora.rank"], int)
        assert 4 <= trial.params["lora.rank"] <= 64
        assert 1e-5 <= trial.params["optimizer.learning_rate"] <= 1e-1
    first, last = study.trials[:20], study.trials[-20:]
    assert sum(t.value or 0 for t in last) < 0.5 * sum(t.value or 0 for t in first)


# ── the front ──


def test_the_front_is_what_no_other_is_better_than() -> None:
    ways = directions(["loss", "size", "speed"])
    assert ways == ["minimize", "minimize", "maximize"]
    chance = random.Random(7)
    for _ in range(60):
        values = [tuple(chance.randint(0, 5) for _ in ways) for _ in range(chance.randint(1, 15))]
        places = front(values, ways)
        assert places
        for place, own in enumerate(values):
            better = [
                o
                for o in values
                if all((b - a) * s >= 0 for a, b, s in zip(own, o, (-1, -1, 1), strict=True)) and o != own
            ]
            assert (place in places) == (not better)
            assert all(not dominates(own, values[at], ways) for at in places) or place not in places
    # As Optuna has it, too.
    study = optuna.create_study(directions=ways, sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda t: tuple(t.suggest_float(n, 0, 1) for n in "abc"), n_trials=40)
    ours = {study.trials[place].number for place in front([t.values for t in study.trials], ways)}
    assert ours == {t.number for t in study.best_trials}


def test_each_objective_is_measured_where_the_run_says_it() -> None:
    history = History(facts={"trainable": 1000})
    history.series = {"tokens_per_s": {1: 1.0, 2: 30.0, 3: 50.0}, "memory_bytes": {1: 7.0, 2: 9.0}}
    assert [measured(one, history, 0.4) for one in ("loss", "size", "speed", "memory")] == [0.4, 4000.0, 40.0, 9.0]
    assert measured("size", History(), None) is None


def test_the_best_trial_is_first_by_what_was_searched_for_in_a_shell_and_on_the_screen() -> None:
    trials: list[Any] = [
        {"trial": n, "state": "complete", "loss": value, "lora.rank": n} for n, value in enumerate([30.0, None, 50.0])
    ]
    assert [row["trial"] for row in best_first(trials, ["speed"])] == [2, 0, 1]
    assert [row["trial"] for row in best_first(trials, ["loss"])] == [0, 2, 1]
    found = {"best": {"lora.rank": 2}, "recipe": "r@1", "trials": trials, "objectives": ["speed"], "front": [2]}
    drawn = sweep_rendering.sweep(found).plain
    assert "speed" in drawn
    assert "loss" not in drawn
    assert drawn.index("50") < drawn.index("30")


class _FakeText:
    def __init__(self, model: Any, _template: Any) -> None:
        self.model = model

    def __enter__(self) -> Any:
        return self.model

    def __exit__(self, *_: object) -> None: ...


def test_a_trial_goes_on_from_the_recipes_start_with_its_new_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = check({"name": "trial-0", "base": "b", "data": ["d"], "start": "r-1", "tokens": ["<a>"]})
    (tmp_path / "recipe.json").write_text(json.dumps(wanted.model_dump()))
    base = SimpleNamespace(header={})
    store = SimpleNamespace(base_of=lambda _recipe: base, datasets=None)
    asked: list[Any] = []

    def train(_recipe: Any, weights: Any, examples: Any, _context: Any, _recorder: Any, start: Any = None) -> Any:
        asked.append((weights, examples, start))
        return SimpleNamespace(steps=2)

    monkeypatch.setitem(sys.modules, "llmops_tui.training.worker.loop", SimpleNamespace(train=train))
    unpack = SimpleNamespace(weights_of=lambda *_: tmp_path / "grown")
    monkeypatch.setitem(sys.modules, "llmops_tui.training.worker.unpack", unpack)
    monkeypatch.setattr(trial_process, "die_with_parent", lambda _pid: None)
    monkeypatch.setattr(trial_process.surroundings, "prepare", lambda _devices: None)
    monkeypatch.setattr(trial_process.signal, "signal", lambda *_: None)
    monkeypatch.setattr(trial_process, "RunStore", lambda _workspace: store)
    monkeypatch.setattr(trial_process, "start_of", lambda *_: SimpleNamespace(folder=tmp_path / "learned"))
    monkeypatch.setattr(trial_process, "ModelText", _FakeText)
    monkeypatch.setattr(trial_process, "tokenized_by", lambda _recipe, _base, weights: ("tokens of", weights))
    monkeypatch.setattr(trial_process, "build", lambda _recipe, _datasets, text: text)
    monkeypatch.setattr(sys, "argv", ["trial", str(tmp_path), str(tmp_path), "1"])
    assert trial_process.main() == 0
    assert asked == [(tmp_path / "grown", ("tokens of", tmp_path / "grown"), tmp_path / "learned")]


# ── trials that end early ──


def reader(values: dict[int, float]) -> Any:
    history = History(series={"eval_loss": values})
    return SimpleNamespace(history=history, poll=lambda: True)


def asked(pruner: Any, objectives: Any = ("loss",)) -> Asked:
    return Asked(RECIPE, "b", {"lora.rank": {"low": 1, "high": 64}}, 9, "random", pruner, objectives)


@pytest.mark.parametrize(
    ("pruner", "said"),
    [
        ("median", "behind the median"),
        ("asha", "not among the better third"),
        ("hyperband", "not among the better third"),
    ],
)
def test_a_trial_that_is_ended_early_says_at_which_step_and_why(pruner: Any, said: str, sample: Any) -> None:
    study = optuna.create_study(
        pruner=make_pruner(pruner, 2, 8), sampler=optuna.samplers.RandomSampler(seed=1), study_name="s"
    )
    ended: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_int("lora.rank", 1, 64)
        level = 0.1 * (trial.number + 1) if trial.number < 6 else 9.0
        follow(
            reader({0: 5.0, 2: level, 4: level, 8: level}),
            asked(pruner),
            trial,
            set(),
            lambda: ended.append(trial.number),
        )
        return level

    study.optimize(objective, n_trials=12)
    pruned = [t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED]
    assert pruned
    assert [t.number for t in pruned] == ended
    assert any(t.number >= 6 for t in pruned)
    found = _outcome(RunStore(sample), asked(pruner), study)
    for row in found["trials"]:
        if row["state"] == "pruned":
            assert row["step"] in {2, 4, 8}
            assert said in row["why"]
            assert f"at step {row['step']}" in row["why"]
        else:
            assert (row["step"], row["why"]) == (None, "")


def test_a_search_of_which_no_trial_finished_says_why(tmp_path: Path, sample: Any) -> None:
    study, wanted = journal(tmp_path, "tpe", NUMBERS), asked("none")
    for why in ("CUDA out of memory", "CUDA out of memory", "its loss is no number"):
        conclude(study, study.ask(), Mock(side_effect=LlmopsError("trial_failed", why)))
    with pytest.raises(LlmopsError, match=r"^no trial finished: CUDA out of memory; its loss is no number$"):
        _outcome(RunStore(sample), wanted, study)


def journal(folder: Path, sampler: Any, space: Space) -> optuna.Study:
    study = open_study(folder, ["minimize"], make_pruner("none", 0, 0))
    study.sampler = make_sampler(sampler, space, 1)
    return study


GRID: Space = {"lora.rank": {"choices": [8, 16, 32]}, "lora.dropout": {"choices": [0.0, 0.1]}}


@pytest.mark.parametrize(
    ("sampler", "space", "trials"), [("tpe", NUMBERS, 6), ("cmaes", NUMBERS, 6), ("grid", GRID, 6)]
)
def test_what_a_kill_cut_is_tried_again_with_the_same_settings_and_once(
    tmp_path: Path, sampler: str, space: Space, trials: int, sample: Any
) -> None:
    study = journal(tmp_path, sampler, space)
    for _ in range(2):
        study.optimize(lambda trial: float(trial.number + 0 * len(suggest(trial, space))), n_trials=1)
    cut = study.ask()
    settings = suggest(cut, space)
    # Killed here, and again before the trial that was to take its place had begun.
    assert again(journal(tmp_path, sampler, space)) == [2]
    resumed = journal(tmp_path, sampler, space)
    assert again(resumed) == []
    done = 2
    resumed.optimize(lambda trial: float(trial.number + 0 * len(suggest(trial, space))), n_trials=trials - done)
    found = _outcome(RunStore(sample), Asked(RECIPE, "b", space, trials, "random", "none", ("loss",)), resumed)
    assert len(found["trials"]) == trials
    told = [{name: row[name] for name in space} for row in found["trials"]]  # type: ignore[literal-required]
    assert told[2] == settings
    if sampler == "grid":
        assert len({tuple(one.values()) for one in told}) == trials


def test_a_search_that_was_stopped_goes_on_with_the_trial_that_was_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sample: Any
) -> None:
    tried: list[dict[str, Any]] = []

    def came_to(_context: Any, asked: Asked, trial: optuna.Trial) -> tuple[float, ...]:
        tried.append(dict(suggest(trial, asked.space)))
        if len(tried) == 3:
            raise JobCancelledError
        if len(tried) == 5:
            raise LlmopsError("trial_failed", "it broke")
        return (float(trial.number),)

    monkeypatch.setattr(sweeps, "_trial", came_to)
    recipe = RECIPE.model_dump() | {"base": "support-base-hf", "data": [{"dataset": "triage"}]}
    context: Any = SimpleNamespace(workspace=sample, folder=tmp_path, check=lambda: None, report=lambda *_told: None)

    def search() -> Any:
        return sweeps.search(context, recipe, GRID, 8, "grid", pruner="none")

    with pytest.raises(JobCancelledError):
        search()
    found = search()
    # Six combinations, of which one was cut and tried again; one failed, and is no trial that a grid has twice.
    assert tried[3] == tried[2]
    assert len(tried) == 7
    assert len({tuple(one.values()) for one in tried}) == 6
    assert [(row["state"], row["why"]) for row in found["trials"] if row["state"] != "complete"] == [
        ("fail", "it broke")
    ]
    assert len(found["trials"]) == 6
    assert found["recipe"] == "r-best@1"


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_with_each_trial_once(llmops: Llmops, tmp_path: Path) -> None:
    from llmops_tui.jobs.launcher import JobLauncher
    from llmops_tui.training.sweeps import ENTRY
    from llmops_tui.workspace.event_log import EventLog

    recipe = check(
        {
            "name": "tiny", "base": "support-base-hf", "data": ["triage"], "max_steps": 2, "gradient_checkpointing": False,
            "quantization": {"type": "none", "compute": "float32"}, "batch": {"size": 4, "accumulation": 1, "max_length": 96},
            "evaluation": {"max_rows": 4, "every": 1}, "trackers": [],
        }
    )  # fmt: skip
    arguments: dict[str, Any] = {
        "recipe": recipe.model_dump(),
        "space": {"lora.rank": {"choices": [4, 8]}, "optimizer.learning_rate": {"choices": [1e-4, 1e-3]}},
        "trials": 4,
        "sampler": "grid",
        "pruner": "none",
        "objectives": ["loss", "size"],
    }
    launcher, jobs = JobLauncher(llmops.workspace), JobStore(EventLog(llmops.workspace))
    job = launcher.start(kind="sweep", title="sweep tiny", entry=ENTRY, arguments=arguments)
    folder = llmops.workspace.runs / job.id
    wait_for(lambda: (folder / "trials" / "1" / "metrics.jsonl").is_file(), 600)
    found = jobs.get(job.id)
    assert found.process is not None
    (worker,) = psutil.Process(found.process.pid).children()
    worker.kill()
    ended: Callable[[], bool] = lambda: jobs.newest_for([job.id])[job.id].state.final  # noqa: E731
    wait_for(ended, 120)
    launcher.resume(job.id)
    wait_for(lambda: jobs.newest_for([job.id])[job.id].state.value == "done", 900)
    result: Any = jobs.newest_for([job.id])[job.id].result
    cells = [(row["lora.rank"], row["optimizer.learning_rate"]) for row in result["trials"]]
    assert len(cells) == len(set(cells)) == 4
    sizes = {row["trial"]: row["values"]["size"] for row in result["trials"]}
    small = min(sizes.values())
    assert any(sizes[number] == small for number in result["front"])
