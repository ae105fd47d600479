"""Trainer callbacks: record each step, and carry out commands to the run."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llmops_tui.figures import figure
from llmops_tui.hardware import memory as devices
from llmops_tui.jobs.worker import JobContext
from llmops_tui.training import control as wishes
from llmops_tui.training import device_queue
from llmops_tui.training.examples import Generated
from llmops_tui.training.health import Watch
from llmops_tui.training.history import Event, Recorder
from llmops_tui.training.memory import GPU_OVERHEAD
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.records import LogEntry
from llmops_tui.training.reward_signs import FIGURES, RewardWatch
from llmops_tui.training.worker import kernels
from llmops_tui.training.worker.outcome import StoppedAfterSaveError

_NAMES = {"entropy", "mean_token_accuracy", "epoch", "num_tokens", *FIGURES}
_PREFERENCE = "rewards/"
# What figures are called in a job's output, where that is not their name, and the cells of most.
_SAID = {"grad_norm": "gradient norm", "mean_token_accuracy": "token accuracy", "num_tokens": "tokens"}
_FIGURE_CELLS = 9
# What a line says of a step, so that it stays one line; the run keeps all figures, and training shows them.
_OF_A_STEP = ("loss", "reward", "learning_rate")
_MEASURED = ("eval_loss", "eval_runtime", "eval_reward", "eval_length")
_REPORT_SECONDS = 2.0


def memory_bytes() -> int:
    """The most memory this process held: on the GPU where there is one, with what torch does not count; else on the host."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved()) + _beside_torch()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@functools.cache
def _beside_torch() -> int:
    """Bytes of the GPU that this process holds besides torch's tensors: CUDA's context and its libraries.

    They were 0.8 GB on an H200; an estimate that was corrected without them promised a run less than it took. What a
    driver does not tell, as in containers that number their processes anew, is taken as estimates take it.
    """
    held = devices.measure(device_queue.training_device()).by_process.get(os.getpid(), 0)
    return max(0, held - int(torch.cuda.memory_reserved())) or GPU_OVERHEAD


def figures_line(step: int, of: int, logs: Mapping[str, object]) -> str:
    """The figures of a step, or of an evaluation, as a line of the job's output; what is no number is left out.

    Figures stand below each other from step to step. Of a step only what it is looked at for is told.
    """
    told_of = {name: logs[name] for name in _OF_A_STEP if name in logs} if "loss" in logs else logs
    told = [
        f"{_SAID.get(name, name.replace('_', ' '))} {figure(float(value), name):<{_FIGURE_CELLS}}"
        for name, value in told_of.items()
        if isinstance(value, int | float | str) and _number(value)
    ]
    return " ".join([f"step {step:>{len(str(of))}} of {of} ", *told]).rstrip() + "\n"


class RunCallback(TrainerCallback):
    """Records a run and listens to what is asked of it."""

    def __init__(self, recipe: Recipe, context: JobContext, recorder: Recorder, generated: list[Generated]) -> None:
        self._recipe = recipe
        self._context = context
        self._recorder = recorder
        self._generated = generated
        self._watch = Watch()
        self._rewards = RewardWatch(tuple(reward.called for reward in recipe.reinforcement.watched))
        self._began = time.monotonic()
        self._seconds = 0.0
        self._reported = 0.0
        self._tokens = 0.0
        self._asked = ""
        self._best = float("inf")
        self._without_better = 0
        self.tokenizer: Any = None
        self.memory_bytes: Callable[[], int] = memory_bytes

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock of a step."""
        self._began = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Look whether something is asked."""
        self._seconds = time.monotonic() - self._began
        self._context.check()
        if state.global_step >= state.max_steps and args.eval_strategy != "no":
            # What the run ends with is measured, wherever the last evaluation was.
            control.should_evaluate = True
        if control.should_evaluate and self._recipe.evaluation.patience:
            # The best can only be returned where it was kept.
            control.should_save = True
        self._asked = wishes.asked(self._context.folder) or self._asked
        if self._asked == wishes.PAUSE or wishes.take_save_now(self._context.folder):
            control.should_save = True
        return control

    def _tell_progress(self, state: TrainerState, logs: Mapping[str, float]) -> None:
        """Tell a step with its own figure, which is known once it is logged."""
        # Each record of progress is synced to disk, and waiting for that is no training.
        if time.monotonic() - self._reported > _REPORT_SECONDS or state.global_step >= state.max_steps:
            self._reported = time.monotonic()
            told = [f" · {name} {logs[name]:.3f}" for name in ("reward", "loss") if _number(logs.get(name))]
            message = f"step {state.global_step} of {state.max_steps}" + "".join(told[:1])
            self._context.report(state.global_step / max(1, state.max_steps), message)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A checkpoint is written: record it, and stop here where that was asked."""
        self._recorder.write("checkpoint", state.global_step)
        if self._asked in {wishes.PAUSE, wishes.STOP_AFTER_SAVE}:
            wishes.clear(self._context.folder)
            raise StoppedAfterSaveError("paused" if self._asked == wishes.PAUSE else "stopped")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Record the figures of a step or of an evaluation, and write them into the job's output."""
        logs = logs or {}
        step = state.global_step
        sys.stdout.write(figures_line(step, state.max_steps, logs))
        sys.stdout.flush()
        if "eval_loss" in logs:
            names = {name: float(value) for name, value in logs.items() if name.startswith("eval_") and _number(value)}
            kept = {name: value for name, value in names.items() if name.startswith(_MEASURED)}
            self._recorder.write("eval", step, **kept)
            self._tell(self._rewards.evaluation(step, kept))
            self._maybe_stop_early(step, names["eval_loss"], control)
            return
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
        norm = float(logs["grad_norm"]) if _number(logs.get("grad_norm")) else None
        values = {
            name: float(v)
            for name, v in logs.items()
            if _number(v) and (name in _NAMES or name.startswith(_PREFERENCE))
        }
        tokens = values.pop("num_tokens", None)
        if tokens is not None:
            values["tokens_per_s"] = max(0.0, tokens - self._tokens) / max(self._seconds, 1e-9)
            self._tokens = tokens
        self._recorder.write(
            "step",
            step,
            loss=loss,
            learning_rate=float(logs.get("learning_rate") or 0),
            seconds=self._seconds,
            memory_bytes=self.memory_bytes(),
            **({} if norm is None else {"grad_norm": norm}),
            **values,
        )
        if self._recipe.facts.examples == "prompts":
            # A step on answers of one before has no rewards of its own.
            self._tell(self._rewards.step(step, values) if "reward" in values else [])
            # How large a policy's loss is says nothing of how good it is: it is around 0 by its making.
            loss = 0.0 if math.isfinite(loss) else loss
        self._tell(self._watch.inspect(step, loss, norm))
        self._tell_progress(state, logs)

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self._recorder.write("event", event.step, level=event.level, message=event.message, hint=event.hint)

    def _maybe_stop_early(self, step: int, loss: float, control: TrainerControl) -> None:
        if loss < self._best:
            self._best, self._without_better = loss, 0
            return
        self._without_better += 1
        if self.stopped_early:
            patience = self._recipe.evaluation.patience
            message = f"no better evaluation loss for {patience} evaluations: stopped early"
            self._recorder.write(
                "event", step, level="info", message=message, hint="The best of the checkpoints is used."
            )
            control.should_training_stop = True

    @property
    def stopped_early(self) -> bool:
        """Whether so many evaluations were not better that the run ends, also in an earlier part of it."""
        patience = self._recipe.evaluation.patience
        return bool(patience) and self._without_better >= patience

    def remember(self, history: list[LogEntry]) -> None:
        """Take up what an earlier part of the run measured."""
        for entry in history:
            if "eval_loss" in entry:
                loss = float(entry["eval_loss"])
                self._best, self._without_better = (
                    min(loss, self._best),
                    0 if loss < self._best else self._without_better + 1,
                )
            figures = {name: float(str(value)) for name, value in entry.items() if _number(value)}
            if "reward" in figures or "eval_reward" in figures:
                # What was to be said of them was said.
                look = self._rewards.evaluation if "eval_reward" in figures else self._rewards.step
                look(int(figures.get("step", 0)), figures)
            if _number(entry.get("num_tokens")):
                self._tokens = float(entry["num_tokens"])

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Generate the sample answers."""
        for asked in self._generated:
            text = str(self.tokenizer.decode(self.generate(model, asked), skip_special_tokens=True))
            self._recorder.write("sample", state.global_step, prompt=asked.prompt, expected=asked.expected, text=text)

    @torch.no_grad()
    def generate(self, model: Any, asked: Generated) -> list[int]:
        """The tokens of a sample answer."""
        was_training = model.training
        model.eval()
        # Greedy, so that no chance of the training is used up: it must go on as if nothing had happened.
        ids = torch.tensor([asked.ids], device=next(model.parameters()).device)
        try:
            with kernels.as_written():
                made = model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=False,
                    max_new_tokens=self._recipe.evaluation.sample_tokens,
                    use_cache=True,
                    pad_token_id=self.tokenizer.pad_token_id,
                    eos_token_id=asked.ends or self.tokenizer.eos_token_id,
                )
        finally:
            model.train(was_training)
        return [int(token) for token in made[0, len(asked.ids) :]]


def _number(value: Any) -> bool:
    with contextlib.suppress(TypeError, ValueError):
        float(value)
        return value is not None
    return False
