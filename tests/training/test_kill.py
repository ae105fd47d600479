"""A trainer that is killed goes on from its last complete checkpoint as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from llmops_tui.jobs.store import JobStore
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.training.conftest import metrics
from tests.waiting import wait_for

STEPS = 12


def small_recipe(name: str, **changes: Any) -> Recipe:
    """A run of a few seconds: real NF4, a few rows a step, a checkpoint every two steps."""
    body = {
        "name": name,
        "base": "support-base-hf",
        "data": ["few"],
        "max_steps": STEPS,
        "gradient_checkpointing": False,
        "lora": {"rank": 8, "dropout": 0.1},
        "batch": {"size": 4, "accumulation": 1, "max_length": 128},
        "optimizer": {"learning_rate": 1e-3},
        "checkpoints": {"every": 2},
        "trackers": [],
        "evaluation": {"every": 4, "max_rows": 4, "share": 0.1, "samples": 1, "sample_tokens": 4},
    }
    return check(body | changes)


@pytest.fixture
def store(sample: Workspace) -> RunStore:
    found = RunStore(sample)
    from llmops_tui.datasets.import_job import import_now

    triage = [row for batch in found.datasets.get("triage").read(limit=80) for _, row in batch]
    file = sample.root / "few.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in triage), encoding="utf-8")
    import_now(found.datasets, [file], "few", "messages")
    return found


def wait(store: RunStore, run: Run, seconds: float = 900) -> str:
    """Wait until the run's newest job has ended; returns the run's state."""

    def ended() -> bool:
        job = store.state(run).job
        return job is not None and job.state.final

    wait_for(ended, seconds)
    return store.state(run).state


def trainer_of(store: RunStore, run: Run) -> psutil.Process | None:
    """The process that trains, below its job's supervisor."""
    job = store.state(run).job
    if job is None or job.process is None:
        return None
    try:
        children = psutil.Process(job.process.pid).children()
    except psutil.NoSuchProcess:
        return None
    return children[0] if children else None


def kill_when(store: RunStore, run: Run, moment: Any) -> bool:
    """Kill the trainer once ``moment`` says so; false where it ended before that."""
    deadline = time.monotonic() + 900
    look_again = 0.0
    while (now := time.monotonic()) < deadline:
        if moment():
            process = trainer_of(store, run)
            if process is not None:
                os.kill(process.pid, signal.SIGKILL)
                return True
        # Whether it has ended costs a query: asked each time, it would take a core that the trainer needs.
        if now >= look_again:
            job = store.state(run).job
            if job is not None and job.state.final:
                return False
            look_again = time.monotonic() + 0.5
        time.sleep(0.001)
    raise AssertionError("the moment never came")


def losses(folder: Path) -> dict[int, float]:
    """The loss of each step as it was at last."""
    return {r["step"]: r["loss"] for r in metrics(folder) if r["kind"] == "step"}


def staged(run: Run) -> int | None:
    """When the folder of the checkpoint that is being written last changed, or none where none is."""
    staging = run.folder / "checkpoints" / ".staging"
    try:
        return staging.stat().st_ctime_ns
    except FileNotFoundError:
        return None


def in_a_checkpoint(run: Run, chance: random.Random) -> Any:
    """While a checkpoint is being written, a little later each time."""
    left = staged(run)
    delay = chance.uniform(0, 0.04)

    def moment() -> bool:
        # What an earlier kill left there is no write that goes on now.
        if staged(run) in {None, left}:
            return False
        time.sleep(delay)
        return True

    return moment


def at_step(run: Run, step: int, delay: float) -> Any:
    """Some time after a step was recorded; 0 is before the first."""

    def moment() -> bool:
        if not (run.folder / "metrics.jsonl").exists():
            return False
        if max((r["step"] for r in metrics(run.folder) if r["kind"] == "step"), default=0) < step:
            return False
        time.sleep(delay)
        return True

    return moment


def check_kills(store: RunStore, moments: int, inside: int, seed: int) -> None:
    whole = store.start(small_recipe("whole"), beside=True)
    assert wait(store, whole) == "done"
    expected = losses(whole.folder)
    assert sorted(expected) == list(range(1, STEPS + 1))
    chance = random.Random(seed)
    done = 0
    number = 0
    while done < moments:
        number += 1
        run = store.start(small_recipe(f"killed{number}"), beside=True)
        # Several kills of one run: each resume is a start of its own.
        for _ in range(3):
            if done >= moments:
                break
            write = done < inside
            step = chance.randrange(STEPS - 1)
            moment = in_a_checkpoint(run, chance) if write else at_step(run, step, chance.uniform(0, 0.3))
            if not kill_when(store, run, moment):
                break
            assert wait(store, run) == "killed"
            # A kill that came just after the write was no kill inside it: it is made up for.
            done += not write or staged(run) is not None
            store.resume(run.name)
        assert wait(store, run) == "done", store.state(run).as_dict()
        found = losses(run.folder)
        assert sorted(found) == sorted(expected)
        worst = max(abs(found[step] - expected[step]) for step in expected)
        assert worst <= 1e-6, worst
        assert store.get(run.name).result["loss"] == pytest.approx(store.get("whole-1").result["loss"], abs=1e-6)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(store: RunStore) -> None:
    check_kills(store, moments=1, inside=1, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("inside", [False, True], ids=["at a step", "inside a checkpoint"])
def test_a_killed_run_of_all_weights_goes_on_as_if_nothing_had_happened(store: RunStore, inside: bool) -> None:
    whole_weights = {
        "tuning": "full", "quantization": {"type": "none", "compute": "float32"}, "lora": {}, "evaluation": {"share": 0.0},
        "optimizer": {"learning_rate": 1e-4}, "max_steps": 6,
    }  # fmt: skip
    whole = store.start(small_recipe("whole", **whole_weights), beside=True)
    run = store.start(small_recipe("killed", **whole_weights), beside=True)
    chance = random.Random(3)
    assert kill_when(store, run, in_a_checkpoint(run, chance) if inside else at_step(run, 3, 0))
    assert wait(store, run) == "killed"
    store.resume(run.name)
    assert [wait(store, each) for each in (run, whole)] == ["done", "done"]
    found, expected = losses(run.folder), losses(whole.folder)
    assert sorted(found) == sorted(expected)
    assert max(abs(found[step] - expected[step]) for step in expected) <= 1e-6
    weights = [(each.folder / "model" / "model.safetensors").read_bytes() for each in (run, whole)]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_thirty_kills_ten_of_them_inside_a_checkpoint(store: RunStore) -> None:
    check_kills(store, moments=30, inside=10, seed=2)


@pytest.mark.slow
def test_a_stop_a_pause_and_a_resume(store: RunStore) -> None:
    run = store.start(small_recipe("steered", max_steps=200, epochs=50, checkpoints={"every": 50}), beside=True)
    assert kill_free(store, run, 3)
    store.pause(run.name)
    wait(store, run)
    state = store.state(run)
    assert state.state == "paused"
    paused_at = max(losses(run.folder))
    assert (run.folder / "checkpoints" / f"checkpoint-{paused_at}").is_dir()
    store.resume(run.name)
    assert kill_free(store, run, paused_at + 2)
    store.stop(run.name)
    wait(store, run)
    assert store.state(run).state == "stopped"
    assert JobStore(EventLog(store.workspace)).get(run.job).state.value == "done"
    starts = [r["step"] for r in metrics(run.folder) if r["kind"] == "start"]
    assert starts == [0, paused_at]


def kill_free(store: RunStore, run: Run, step: int) -> bool:
    """Wait until a step was recorded."""
    wait_for(lambda: (run.folder / "metrics.jsonl").exists() and max(losses(run.folder), default=0) >= step, 900)
    return True
