"""Sweeps: short runs around a recipe, sampled and pruned by Optuna; resumable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmops_tui.child_python import module_command
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.output import NAME as OUTPUT
from llmops_tui.jobs.output import piped
from llmops_tui.jobs.worker import JobContext
from llmops_tui.regular_files import read_regular
from llmops_tui.training import device_queue
from llmops_tui.training.history import HistoryReader
from llmops_tui.training.importance import importance
from llmops_tui.training.pins import check_base, check_data, pin
from llmops_tui.training.recipe import Recipe, changed, check
from llmops_tui.training.records import SweepResult, TrialRecord
from llmops_tui.training.runs import RunStore
from llmops_tui.training.search_methods import (
    Objective,
    Pruner,
    Sampler,
    again,
    check_method,
    directions,
    front,
    make_pruner,
    make_sampler,
    open_study,
)
from llmops_tui.training.search_space import Space, check_space, check_trials, settings_told
from llmops_tui.training.starts import check_start, start_of, start_pins
from llmops_tui.training.trials import Asked, conclude, follow, next_trial, suggest, trial_folder, values_of
from llmops_tui.workspace.files import write_atomic

if TYPE_CHECKING:
    import optuna

ENTRY: JobEntry[SweepResult] = JobEntry("llmops_tui.training.sweeps:search")
_POLL_SECONDS = 0.2
_BEGUN = "begun.json"
# Characters of why trials failed, where all did.
_SHOWN = 600


def search(
    context: JobContext,
    recipe: dict[str, Any],
    space: Space,
    trials: int,
    sampler: Sampler = "tpe",
    *,
    prune: bool = True,
    pruner: Pruner = "median",
    objectives: Sequence[Objective] = ("loss",),
    at_once: int = 0,
) -> SweepResult:
    """The job: run trials, here one after another, on a cluster ``at_once``, or as many as it has places for.

    It goes on where it was stopped, and tries again what was cut, once each.
    """
    import optuna

    store = RunStore(context.workspace)
    wanted, space, pruner = check_search(recipe, space, sampler, pruner if prune else "none", objectives, at_once)
    wanted = _as_begun(context.folder, wanted, store)
    base = store.base_of(wanted)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(
        context.folder, directions(objectives), make_pruner(pruner, wanted.evaluation.every, wanted.max_steps)
    )
    again(study)
    # A search that goes on draws further numbers, and not those of its beginning again.
    seed = wanted.seed if sampler == "grid" else wanted.seed + len(study.trials)
    study.sampler = make_sampler(sampler, space, seed, several=bool(wanted.target))
    finished = [t for t in study.trials if t.state.is_finished() and t.state != optuna.trial.TrialState.FAIL]
    asked = Asked(wanted, base.name, space, trials, sampler, pruner, tuple(objectives))
    most = max(0, trials - len(finished))
    if wanted.target:
        from llmops_tui.training.worker.cluster_sweep import on_cluster

        on_cluster(context, asked, study, most, at_once)
    else:
        with device_queue.turn(context, wanted, beside=False):
            _one_after_another(context, asked, study, most)
    return _outcome(store, asked, study)


def check_search(
    recipe: JsonObject, space: Space, sampler: str, pruner: str, objectives: Sequence[str], at_once: int = 0
) -> tuple[Recipe, Space, Pruner]:
    """What a search is asked for, where all of it goes together and each trial could be run.

    Raises:
        InputRefusedError: ``bad_search``, ``bad_space`` or ``bad_recipe``.
    """
    wanted, space = check(recipe), check_space(space)
    if at_once and not wanted.target:
        raise InputRefusedError(
            "bad_search",
            f"{counted(at_once, 'trial')} at once: on this machine they are trained one after another",
            "Name a cluster (--target ray:ADDRESS), or leave it out.",
        )
    check_method(sampler, pruner, objectives, space)
    check_trials(wanted, space)
    return wanted, space, cast("Pruner", pruner)


def _as_begun(folder: Path, recipe: Recipe, store: RunStore) -> Recipe:
    """The recipe with the versions that it had when the search began: all trials learn from the same rows, on one base.

    Raises:
        InputRefusedError: ``data_changed`` or ``base_changed``.
    """
    noted = folder / _BEGUN
    if not noted.is_file():
        pinned, data, measured = pin(recipe, store.datasets)
        base = store.base_of(pinned)
        body = {"recipe": pinned.model_dump(), "data": [*data, *measured], "base": base.sha256}
        write_atomic(noted, json.dumps(body | {"start": start_pins(pinned, store, base)}))
    begun = parse_json(read_regular(noted))
    who, wanted = f"the sweep of {recipe.name}", check(begun["recipe"])
    check_data(who, [(ref, digest) for ref, digest in begun["data"]], store.datasets)
    # Searches of earlier versions did not note these.
    if "base" in begun:
        check_base(who, store.base_of(wanted), begun["base"])
    if "start" in begun:
        check_start(who, start_of(wanted, store, store.base_of(wanted)), begun["start"])
    return wanted


def _one_after_another(context: JobContext, asked: Asked, study: optuna.Study, most: int) -> None:
    """Train trials on this machine, ``most`` of them."""
    for _ in range(most):
        trial = next_trial(study, asked)
        if trial is None:
            return
        conclude(study, trial, lambda trial=trial: _trial(context, asked, trial))  # type: ignore[misc]


def _trial(context: JobContext, asked: Asked, trial: optuna.Trial) -> tuple[float, ...]:
    """One short run in a process of its own; what it came to by each objective."""
    chosen = suggest(trial, asked.space)
    wanted = asked.recipe_of(trial.number, chosen)
    folder = trial_folder(context.folder, trial.number)
    write_atomic(folder / "recipe.json", json.dumps(wanted.model_dump()))
    reader = HistoryReader(folder)
    (folder / OUTPUT).unlink(missing_ok=True)
    told: set[int] = set()
    with piped(folder / OUTPUT) as log:
        process = subprocess.Popen(
            module_command(
                "llmops_tui.training.worker.trial", str(context.workspace.root), str(folder), str(os.getpid())
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            while process.poll() is None:
                follow(reader, asked, trial, told, lambda: _end(process))
                share = (trial.number + reader.history.step / max(1, reader.history.total)) / max(1, asked.trials)
                told_so = f"trial {trial.number + 1} of {asked.trials}: {settings_told(chosen)}"
                context.report(min(1.0, share), told_so)
                time.sleep(_POLL_SECONDS)
        finally:
            _end(process)
    reader.poll()
    last = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    said = "".join(last)[:300]
    return values_of(asked, trial.number, reader.history, wanted, ended=process.returncode == 0, said=said)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _outcome(store: RunStore, asked: Asked, study: optuna.Study) -> SweepResult:
    import optuna

    states = optuna.trial.TrialState
    # What a kill cut short stands here as the trial that was made of it.
    trials = [t for t in study.trials if t.state not in {states.RUNNING, states.WAITING} and not _was_cut(t, study)]
    done = [t for t in trials if t.state == states.COMPLETE]
    if not done:
        why = "; ".join(dict.fromkeys(told for t in trials if (told := t.user_attrs.get("why"))))[:_SHOWN]
        told_so = f"no trial finished: {why}" if why else "no trial finished"
        raise LlmopsError("sweep_failed", told_so, "The logs of the trials are in the job's folder.")
    best_ones = front([t.values for t in done], directions(asked.objectives))
    known = [(t.params, float(t.values[0])) for t in done]
    # A trial that was ended early is as good as it was then: without it the worst settings would not be seen.
    ended = [t for t in trials if t.state == states.PRUNED and t.intermediate_values]
    known += [(t.params, t.intermediate_values[max(t.intermediate_values)]) for t in ended]
    logarithmic = frozenset(name for name, given in asked.space.items() if given.get("log"))
    sign = 1 if directions(asked.objectives)[0] == "minimize" else -1
    # Of several objectives the first decides which of the front is kept; the others of it are told.
    chosen = min((done[place] for place in best_ones), key=lambda t: (sign * t.values[0], t.number))
    best = changed(asked.recipe, chosen.params | {"name": f"{asked.recipe.name}-best"[:64]})
    told = f"{asked.objectives[0]} {chosen.values[0]:.4g}"
    number = store.save_recipe(best, f"the best of {counted(len(done), 'trial')}, {told}")
    return {
        "best": chosen.params,
        "loss": float(chosen.values[0]),
        "recipe": f"{best.name}@{number}",
        "trials": [_record(t, asked.objectives) for t in trials],
        "importance": importance(known, logarithmic),
        "objectives": list(asked.objectives),
        "front": [done[place].number for place in best_ones],
    }


def _was_cut(trial: optuna.trial.FrozenTrial, study: optuna.Study) -> bool:
    return any(other.user_attrs.get("again") == trial.number for other in study.trials)


def _record(trial: optuna.trial.FrozenTrial, objectives: Sequence[str]) -> TrialRecord:
    values = list(trial.values or [])
    known = dict(zip(objectives, values, strict=False))
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "loss": float(values[0]) if values else None,
        "values": known,
        "step": trial.user_attrs.get("step"),
        "why": str(trial.user_attrs.get("why", "")),
        **trial.params,
    }
