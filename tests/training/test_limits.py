"""Lack of memory, a full disk, a queue: what a run does when it cannot have what it needs."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.training import checkpoints, control, device_queue
from llmops_tui.training.examples import Examples, Report
from llmops_tui.training.history import Recorder, read_history
from llmops_tui.training.recipe import Recipe, check
from tests.representatives import representatives
from tests.training.models import make_model


class Context:
    """What a run needs of a job."""

    def __init__(self, folder: Path, limit: int = 0) -> None:
        self.folder = folder
        self.said: list[str] = []
        self._limit = limit
        self._checks = 0

    def check(self) -> None:
        """Cancelled after so many looks, where there is a limit."""
        self._checks += 1
        if self._limit and self._checks >= self._limit:
            raise JobCancelledError

    def report(self, _share: float, message: str = "") -> None:
        self.said.append(message)


def small(**changes: Any) -> Recipe:
    body = {
        "name": "r",
        "base": "b",
        "data": ["d"],
        "max_steps": 4,
        "gradient_checkpointing": False,
        "trackers": [],
        "quantization": {"type": "none", "compute": "float32"},
        "lora": {"rank": 2},
        "batch": {"size": 4, "accumulation": 1, "max_length": 32},
        "checkpoints": {"every": 2},
        "evaluation": {"share": 0.0, "samples": 0},
    }
    return check(body | changes)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_model("llama", tmp_path / "base")


def examples(count: int = 32) -> Examples:
    rows = [
        {"input_ids": list(range(n % 7 + 5, n % 7 + 25)), "labels": [-100] * 5 + list(range(n % 7 + 10, n % 7 + 25))}
        for n in range(count)
    ]
    return Examples(rows, [], [], Report())


def run(recipe: Recipe, base: Path, folder: Path, given: Examples | None = None) -> Any:
    from llmops_tui.training.worker.loop import train

    folder.mkdir(exist_ok=True)
    recorder = Recorder(folder)
    try:
        return train(recipe, base, given or examples(), Context(folder), recorder)  # type: ignore[arg-type]
    finally:
        recorder.close()


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int, after: int = 0) -> None:
    """A device that holds batches of at most so many rows, from some step on."""
    import torch

    from llmops_tui.training.worker.trainers import SupervisedTrainer

    real = SupervisedTrainer.training_step

    def step(self: Any, model: Any, inputs: Any, *rest: Any) -> Any:
        if inputs["input_ids"].shape[0] > most and self.state.global_step >= after:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, model, inputs, *rest)

    monkeypatch.setattr(SupervisedTrainer, "training_step", step)


def test_out_of_memory_is_explained(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, 2)
    with pytest.raises(LlmopsError) as error:
        run(small(), base, tmp_path / "run")
    assert error.value.code == "out_of_memory"
    for way in ("gradient_checkpointing: true", "batch.size: 2", "nf4", "halve"):
        assert way in error.value.hint
    assert read_history(tmp_path / "run").events[-1].level == "error"


def test_out_of_memory_halves_the_batch_and_keeps_the_effective_one(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(small(), base, tmp_path / "whole")
    short_of_memory(monkeypatch, 1, after=2)
    outcome = run(small(on_out_of_memory="halve"), base, tmp_path / "run")
    assert (outcome.recipe.batch.size, outcome.recipe.batch.accumulation) == (1, 4)
    history = read_history(tmp_path / "run")
    assert [event.message for event in history.events if "memory" in event.message] == [
        "out of GPU memory with batches of 4",
        "out of GPU memory with batches of 2",
    ]
    # On from the checkpoint of step 2, and the same steps as with whole batches.
    assert history.attempts == 3
    want = read_history(tmp_path / "whole").series["loss"]
    assert history.series["loss"] == pytest.approx(want, abs=2e-5)
    assert whole.steps == outcome.steps == 4


def test_a_full_disk_keeps_the_last_good_checkpoint(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmops_tui.training.worker.trainers import SupervisedTrainer

    real = SupervisedTrainer._save_rng_state

    def full(self: Any, output_dir: str) -> None:
        if self.state.global_step == 4:
            (Path(output_dir) / "half").write_bytes(b"x")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, output_dir)

    monkeypatch.setattr(SupervisedTrainer, "_save_rng_state", full)
    with pytest.raises(LlmopsError) as error:
        run(small(), base, tmp_path / "run")
    assert error.value.code == "disk_full"
    assert "step 2, is kept" in error.value.message
    assert "resume" in error.value.hint
    found, _ = checkpoints.newest(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found.step == 2
    monkeypatch.undo()
    assert run(small(), base, tmp_path / "run").steps == 4
    starts = [
        r["step"]
        for r in map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
        if r["kind"] == "start"
    ]
    assert starts == [0, 2]


def test_a_checkpoint_can_be_asked_for_and_a_damaged_one_is_told(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmops_tui.training.worker.callbacks import RunCallback

    real = RunCallback.on_step_begin

    def asking(self: Any, args: Any, state: Any, *rest: Any, **named: Any) -> None:
        if state.global_step == 2:
            control.ask(tmp_path / "run", control.SAVE)
        real(self, args, state, *rest, **named)

    monkeypatch.setattr(RunCallback, "on_step_begin", asking)
    run(small(checkpoints={"every": 100, "keep": 5}), base, tmp_path / "run")
    steps = [c.step for c in checkpoints.complete(tmp_path / "run" / "checkpoints")]
    assert steps == [4, 3]
    (tmp_path / "run" / "checkpoints" / "checkpoint-4" / "optimizer.pt").write_bytes(b"broken")
    shutil.rmtree(tmp_path / "run" / "adapter")
    assert run(small(checkpoints={"every": 100, "keep": 5}), base, tmp_path / "run").steps == 4
    assert "checkpoint-4 is not used" in read_history(tmp_path / "run").events[0].message


@pytest.mark.slow
def test_a_pause_writes_a_checkpoint_and_the_run_goes_on_from_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmops_tui.training.worker.callbacks import RunCallback
    from llmops_tui.training.worker.outcome import StoppedAfterSaveError

    whole = small(checkpoints={"every": 100, "keep": 5})
    run(whole, base, tmp_path / "whole")
    real = RunCallback.on_step_begin

    def asking(self: Any, args: Any, state: Any, *rest: Any, **named: Any) -> None:
        if state.global_step == 1:
            control.ask(tmp_path / "run", control.PAUSE)
        real(self, args, state, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(RunCallback, "on_step_begin", asking)
        with pytest.raises(StoppedAfterSaveError) as stopped:
            run(whole, base, tmp_path / "run")
    assert stopped.value.state == "paused"
    assert [c.step for c in checkpoints.complete(tmp_path / "run" / "checkpoints")] == [2]
    assert control.asked(tmp_path / "run") == ""
    assert run(whole, base, tmp_path / "run").steps == 4
    want = read_history(tmp_path / "whole").series["loss"]
    assert read_history(tmp_path / "run").series["loss"] == pytest.approx(want, abs=2e-5)


def measured_at(monkeypatch: pytest.MonkeyPatch, losses: dict[int, float]) -> None:
    """What evaluations are made to say after each step."""
    from llmops_tui.training.worker.trainers import SupervisedTrainer

    real = SupervisedTrainer.log

    def log(self: Any, logs: dict[str, float], *rest: Any) -> None:
        if "eval_loss" in logs:
            logs["eval_loss"] = losses[self.state.global_step]
        real(self, logs, *rest)

    monkeypatch.setattr(SupervisedTrainer, "log", log)


def test_early_stopping_ends_with_the_best(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / "run"
    held = Examples(examples().train, examples(4).train, [], Report())
    # The best lies between two checkpoints of every third step.
    losses = {1: 3.0, 2: 2.0, 3: 2.5, 4: 2.6, 5: 2.7, 6: 2.8}
    measured_at(monkeypatch, losses)
    recipe = small(
        max_steps=20,
        optimizer={"learning_rate": 0.05},
        checkpoints={"every": 3, "keep": 1},
        evaluation={"every": 1, "patience": 3, "samples": 0, "share": 0.0},
    )
    outcome = run(recipe, base, folder, held)
    history = read_history(folder)
    assert outcome.steps == 5
    assert outcome.eval_loss == min(losses.values())
    assert history.series["eval_loss"] == {step: losses[step] for step in range(1, 6)}
    messages = [event.message for event in history.events]
    assert "no better evaluation loss for 3 evaluations: stopped early" in messages
    assert "the adapter is that of step 2, the best of the checkpoints" in messages
    # Those weights are the ones of that step, and no others.
    best = load_file(outcome.adapter / "adapter_model.safetensors")
    kept = load_file(folder / "checkpoints" / "checkpoint-2" / "adapter_model.safetensors")
    assert all(best[name].equal(kept[name]) for name in best)
    # Killed behind its last checkpoint it ends as it had ended, and takes no step more.
    again = run(recipe, base, folder, held)
    assert (again.steps, again.loss, again.eval_loss) == (outcome.steps, outcome.loss, outcome.eval_loss)
    weights = load_file(again.adapter / "adapter_model.safetensors")
    assert all(weights[name].equal(kept[name]) for name in kept)


def test_what_a_run_ends_with_is_what_was_measured(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Examples(examples().train, examples(4).train, [], Report())
    measured_at(monkeypatch, {3: 1.0, 5: 9.0})
    outcome = run(small(max_steps=5, evaluation={"every": 3, "samples": 0, "share": 0.0}), base, tmp_path / "run", held)
    # The last weights are kept, and their loss is told; the better one of before is not theirs.
    assert outcome.eval_loss == 9.0


def test_steps_are_those_of_the_plan(base: Path, tmp_path: Path) -> None:
    for changes, steps in (({"epochs": 0.5, "max_steps": 40}, 4), ({"epochs": 3, "max_steps": 5}, 5)):
        recipe = small(**changes)
        folder = tmp_path / str(steps)
        outcome = run(recipe, base, folder)
        history = read_history(folder)
        assert recipe.steps(32) == outcome.steps == history.total == steps
        # The schedule ends where the run does.
        rates = history.series["learning_rate"]
        assert rates[steps] < rates[1]
        # One that was killed behind its last checkpoint, in the middle of an epoch, takes no step more.
        assert run(recipe, base, folder).steps == steps


@pytest.mark.parametrize("changes", representatives([{"group_by_length": True}, {"packing": True}], 1))
def test_a_run_that_goes_on_is_as_one_that_was_never_stopped(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, bool]
) -> None:
    from llmops_tui.training.packing import pack
    from llmops_tui.training.worker.callbacks import RunCallback

    # So few that it goes on in a later epoch, whose order is another.
    rows: Any = [{"input_ids": list(range(5, 8 + n % 13)), "labels": [-100, *range(6, 8 + n % 13)]} for n in range(16)]
    given = Examples(pack(rows, 32) if "packing" in changes else rows, [], [], Report())
    recipe = small(
        max_steps=10, epochs=9, lora={"rank": 2, "dropout": 0.1}, checkpoints={"every": 3},
        batch={"size": 2, "accumulation": 2, "max_length": 32} | changes,
    )  # fmt: skip
    run(recipe, base, tmp_path / "whole", given)
    real = RunCallback.on_step_end

    def stopping(self: Any, args: Any, state: Any, *rest: Any, **named: Any) -> Any:
        if state.global_step == 8:
            raise KeyboardInterrupt
        return real(self, args, state, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(RunCallback, "on_step_end", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, base, tmp_path / "run", given)
    run(recipe, base, tmp_path / "run", given)
    history = read_history(tmp_path / "run")
    assert history.attempts == 2
    assert history.series["loss"] == read_history(tmp_path / "whole").series["loss"]


def test_a_second_run_waits_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The queue belongs to the user; other tests that train stand in it too.
    monkeypatch.setattr(device_queue, "user_runtime_folder", lambda: tmp_path / "runtime")
    recipe = small(name="first")
    device = device_queue.training_device()
    with device_queue.turn(Context(tmp_path), recipe, beside=False):  # type: ignore[arg-type]
        assert "first" in device_queue.holder_of(device)
        second = Context(tmp_path, limit=2)
        with pytest.raises(JobCancelledError), device_queue.turn(second, small(name="second"), beside=False):  # type: ignore[arg-type]
            pass
        # Told once, however often it looked.
        assert [said for said in second.said if "waits for first" in said] == second.said[:1]
        with device_queue.turn(Context(tmp_path), small(name="third"), beside=True):  # type: ignore[arg-type]
            pass
    assert device_queue.holder_of(device) == ""
