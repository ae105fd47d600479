"""Sweeps: short runs around a recipe, sampled and pruned by Optuna; resumable."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

import yaml

from llmops_tui.child_python import module_command
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import parse_json, parse_yaml, text_of
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.output import NAME as OUTPUT
from llmops_tui.jobs.output import piped
from llmops_tui.jobs.worker import JobContext
from llmops_tui.regular_files import read_regular
from llmops_tui.training import device_queue
from llmops_tui.training.history import History, HistoryReader
from llmops_tui.training.importance import importance
from llmops_tui.training.pins import check_base, check_data, pin
from llmops_tui.training.recipe import Changes, Recipe, changed, check, fields
from llmops_tui.training.records import SweepResult
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.files import make_folder_within, write_atomic

if TYPE_CHECKING:
    import optuna

ENTRY: JobEntry[SweepResult] = JobEntry("llmops_tui.training.sweeps:search")
Sampler = Literal["tpe", "random", "grid"]


class Span(TypedDict, total=False):
    """What a field is tried with: one of ``choices``, or what lies from ``low`` to ``high``, in steps or by orders."""

    choices: list[Any]
    low: float
    high: float
    step: float
    log: bool


Space = dict[str, Span]
_POLL_SECONDS = 0.2
_STARTUP_TRIALS = 3
_BEGUN = "begun.json"


def default_space(recipe: Recipe) -> Space:
    """A space around a recipe: what matters most for LoRA."""
    rate = recipe.optimizer.learning_rate
    return {
        "optimizer.learning_rate": {"low": rate / 5, "high": min(0.1, rate * 5), "log": True},
        "lora.rank": {"choices": sorted({max(2, recipe.lora.rank // 2), recipe.lora.rank, recipe.lora.rank * 2})},
        "optimizer.max_grad_norm": {"choices": [0.3, 1.0]},
    }


def read_space(path: Path) -> Space:
    """A space from YAML: each field with a list of values, or with low, high, and log or step.

    Raises:
        InputRefusedError: ``bad_space``.
    """
    try:
        body = parse_yaml(text_of(path))
    except yaml.YAMLError as error:
        raise InputRefusedError("bad_space", f"{path} is not valid YAML: {error}") from error
    if not isinstance(body, dict) or not body:
        raise InputRefusedError(
            "bad_space",
            f"{path} has no field",
            "Example: optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true}",
        )
    return check_space({name: {"choices": given} if isinstance(given, list) else given for name, given in body.items()})


def check_space(space: Space) -> Space:
    """A space whose fields exist and whose values are meant for them.

    Raises:
        InputRefusedError: ``bad_space``.
    """
    known = dict(fields())
    found: Space = {}
    for name, given in space.items():
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, 1, 0.5)
            raise InputRefusedError(
                "bad_space", f"{name} is not a field of a recipe" + (f"; did you mean {near[0]}?" if near else "")
            )
        if not isinstance(given, dict) or not ({"low", "high"} <= set(given) or given.get("choices")):
            raise InputRefusedError("bad_space", f"{name} requires a list of values, or low and high")
        numbers = {
            k: float(given[k]) if known[name].annotation is float else int(given[k])
            for k in ("low", "high", "step")
            if k in given
        }
        if numbers and numbers["low"] >= numbers["high"]:
            raise InputRefusedError("bad_space", f"{name}: low is not below high")
        found[name] = {**given, **cast("Span", numbers)}
    return found


def search(
    context: JobContext,
    recipe: dict[str, Any],
    space: Space,
    trials: int,
    sampler: Sampler = "tpe",
    *,
    prune: bool = True,
) -> SweepResult:
    """The job: run trials one after another; goes on where it was stopped."""
    import optuna

    space = check_space(space)
    store = RunStore(context.workspace)
    wanted = _as_begun(context.folder, check(recipe), store)
    base = store.base_of(wanted)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = optuna.storages.event_log.JournalFileBackend(str(context.folder / "study.jsonl"))
    study = optuna.create_study(
        study_name="sweep",
        storage=optuna.storages.JournalStorage(backend),
        load_if_exists=True,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS) if prune else optuna.pruners.NopPruner(),
    )
    # A search that goes on draws further numbers, and not those of its beginning again.
    study.sampler = _sampler(sampler, space, wanted.seed if sampler == "grid" else wanted.seed + len(study.trials))
    finished = [t for t in study.trials if t.state.is_finished() and t.state != optuna.trial.TrialState.FAIL]
    with device_queue.turn(context, wanted, beside=False):
        study.optimize(
            lambda trial: _trial(context, wanted, base.name, space, trial, trials),
            n_trials=max(0, trials - len(finished)),
            catch=(LlmopsError,),
        )
    return _outcome(store, wanted, space, study)


def _as_begun(folder: Path, recipe: Recipe, store: RunStore) -> Recipe:
    """The recipe with the versions that it had when the search began: all trials learn from the same rows, on one base.

    Raises:
        InputRefusedError: ``data_changed`` or ``base_changed``.
    """
    noted = folder / _BEGUN
    if not noted.is_file():
        pinned, data, measured = pin(recipe, store.datasets)
        digest = store.base_of(pinned).sha256
        write_atomic(noted, json.dumps({"recipe": pinned.model_dump(), "data": [*data, *measured], "base": digest}))
    begun = parse_json(read_regular(noted))
    who, wanted = f"the sweep of {recipe.name}", check(begun["recipe"])
    check_data(who, [(ref, digest) for ref, digest in begun["data"]], store.datasets)
    # Searches of earlier versions did not note it.
    if "base" in begun:
        check_base(who, store.base_of(wanted), begun["base"])
    return wanted


def _sampler(name: Sampler, space: Space, seed: int) -> Any:
    import optuna

    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "grid":
        missing = [field for field, given in space.items() if "choices" not in given]
        if missing:
            raise InputRefusedError("bad_space", f"a grid needs a list of values for {', '.join(missing)}")
        return optuna.samplers.GridSampler({field: given["choices"] for field, given in space.items()}, seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)


def _suggest(trial: optuna.Trial, space: Space) -> Changes:
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


def _trial(context: JobContext, recipe: Recipe, base: str, space: Space, trial: optuna.Trial, trials: int) -> float:
    """One short run in a process of its own; what it came to."""
    chosen = _suggest(trial, space)
    wanted = changed(
        recipe, {**chosen, "base": base, "trackers": [], "evaluation.samples": 0, "name": f"trial-{trial.number}"}
    )
    folder = context.folder / "trials" / str(trial.number)
    make_folder_within(folder.parent)
    make_folder_within(folder)
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
                _poll(reader, trial, told, lambda: _end(process))
                share = (trial.number + reader.history.step / max(1, reader.history.total)) / max(1, trials)
                context.report(min(1.0, share), f"trial {trial.number + 1} of {trials}: {_words(chosen)}")
                time.sleep(_POLL_SECONDS)
        finally:
            _end(process)
    reader.poll()
    value = result_of(reader.history, wanted)
    if process.returncode != 0 or value is None or math.isnan(value):
        last = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise LlmopsError("trial_failed", f"trial {trial.number} failed: {''.join(last)[:300]}")
    return value


def result_of(history: History, recipe: Recipe) -> float | None:
    """The loss of the weights that a run by this recipe returns: its last, or with early stopping its best."""
    measured = history.series.get("eval_loss") or {}
    if not measured:
        return history.last("loss")
    if not recipe.evaluation.patience:
        return measured[max(measured)]
    # As checkpoints.best: what diverged later does not undo the best.
    return min((loss for loss in measured.values() if not math.isnan(loss)), default=math.nan)


def _poll(reader: HistoryReader, trial: optuna.Trial, told: set[int], end: Callable[[], None]) -> None:
    import optuna

    reader.poll()
    for step, loss in sorted((reader.history.series.get("eval_loss") or {}).items()):
        if step not in told:
            told.add(step)
            trial.report(loss, step)
            if trial.should_prune():
                end()
                raise optuna.TrialPruned


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _words(chosen: Changes) -> str:
    texts = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in chosen.items()}
    return ", ".join(f"{name.rpartition('.')[2]} {text}" for name, text in texts.items())


def _outcome(store: RunStore, recipe: Recipe, space: Space, study: optuna.Study) -> SweepResult:
    import optuna

    rows = [{"trial": t.number, "state": t.state.name.lower(), "loss": t.value, **t.params} for t in study.trials]
    done = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    if not done:
        raise LlmopsError("sweep_failed", "no trial finished", "The logs of the trials are in the job's folder.")
    # A trial that was ended early is as good as it was then: without it the worst settings would not be seen.
    ended = [t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED and t.intermediate_values]
    known = [(t.params, float(t.value)) for t in done if t.value is not None]
    known += [(t.params, t.intermediate_values[max(t.intermediate_values)]) for t in ended]
    logarithmic = frozenset(name for name, given in space.items() if given.get("log"))
    best = changed(recipe, study.best_trial.params | {"name": f"{recipe.name}-best"[:64]})
    number = store.save_recipe(best, f"the best of {counted(len(done), 'trial')}, loss {study.best_value:.4g}")
    return {
        "best": study.best_trial.params,
        "loss": study.best_value,
        "recipe": f"{best.name}@{number}",
        "trials": rows,
        "importance": importance(known, logarithmic),
    }
