"""One training run from recipe to adapter; resumes from checkpoints, and retries when memory is short."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import TrainerState, set_seed

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.safetensors import read_folder
from llmops_tui.training import checkpoints, control
from llmops_tui.training.examples import Examples
from llmops_tui.training.health import beside_the_base
from llmops_tui.training.history import Recorder
from llmops_tui.training.recipe import Recipe, changed
from llmops_tui.training.recipe_parts import FOLDERS, WEIGHTS_OF
from llmops_tui.training.records import LogEntry
from llmops_tui.training.worker import ranks, trainers
from llmops_tui.training.worker.base_model import load_tokenizer
from llmops_tui.training.worker.beginning import TAKEN, Beginning
from llmops_tui.training.worker.callbacks import RunCallback, memory_bytes
from llmops_tui.training.worker.outcome import Outcome
from llmops_tui.training.worker.reward_run import rewarded
from llmops_tui.training.worker.settled import settle

_STATE_FILE, _ADAPTER_CONFIG = "trainer_state.json", "adapter_config.json"


def train(
    recipe: Recipe,
    base: Path,
    examples: Examples,
    context: JobContext,
    recorder: Recorder,
    start: Path | None = None,
    *,
    force: bool = False,
) -> Outcome:
    """Train to the end, from the base or from what is in the folder ``start``.

    With ``on_out_of_memory: halve`` it goes on with smaller batches where memory runs out.

    With ``force`` also where the base's answers have nothing to learn from.

    Raises:
        LlmopsError: ``out_of_memory``, ``disk_full``, ``model_load_failed``.
    """
    control.clear(context.folder)
    while True:
        try:
            with contextlib.ExitStack() as stack:
                return _attempt(recipe, base, examples, context, recorder, stack, start, force=force)
        except torch.cuda.OutOfMemoryError as error:
            smaller = _smaller(recipe)
            hint = (
                ""
                if smaller is None
                else "continues from the last checkpoint with the same effective batch, in smaller parts"
            )
            recorder.write(
                "event",
                _last_step(context.folder),
                level="error" if smaller is None else "warn",
                message=f"out of GPU memory with batches of {recipe.batch.size}",
                hint=hint,
            )
            if smaller is None:
                raise explain_out_of_memory(recipe, error) from error
            recipe = smaller
        _free_memory()


def _smaller(recipe: Recipe) -> Recipe | None:
    if recipe.on_out_of_memory != "halve" or recipe.batch.size < 2 or recipe.batch.size % 2:
        return None
    halved = {"batch.size": recipe.batch.size // 2, "batch.accumulation": recipe.batch.accumulation * 2}
    return changed(recipe, halved)


def _last_step(folder: Path) -> int:
    found = checkpoints.complete(folder / "checkpoints")
    return found[0].step if found else 0


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def explain_out_of_memory(recipe: Recipe, error: BaseException) -> LlmopsError:
    """Which part of memory most probably ran out, and what to change first."""
    held = torch.cuda.memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    ways = []
    if not recipe.gradient_checkpointing:
        ways.append("gradient_checkpointing: true")
    if recipe.batch.size > 1:
        ways.append(
            f"batch.size: {max(1, recipe.batch.size // 2)} with batch.accumulation: {recipe.batch.accumulation * 2}"
        )
    if recipe.quantization.type == "none" and recipe.tuning == "lora" and recipe.lora.init == "default":
        # Nothing else can be trained on a base in 4 bits.
        ways.append("quantization.type: nf4")
    ways.append(f"batch.max_length: {recipe.batch.max_length // 2}")
    return LlmopsError(
        "out_of_memory",
        f"out of GPU memory with {held:.1f} GB held: activations and logits grow with batch.size × batch.max_length "
        f"({recipe.batch.size} × {recipe.batch.max_length}) ({str(error).splitlines()[0][:160]})",
        "Try: " + ", or ".join(ways) + "; or on_out_of_memory: halve. llmops train plan shows the parts.",
    )


def _attempt(
    recipe: Recipe,
    base: Path,
    examples: Examples,
    context: JobContext,
    recorder: Recorder,
    stack: contextlib.ExitStack,
    start: Path | None,
    *,
    force: bool,
) -> Outcome:
    folder = context.folder
    found, notes = checkpoints.newest(folder / "checkpoints") if (folder / "checkpoints").is_dir() else (None, [])
    for note in notes:
        recorder.write("event", found.step if found else 0, level="warn", message=note, hint="")
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    set_seed(recipe.seed)
    tokenizer = load_tokenizer(base, recipe.template(read_folder(base).chat_template))
    checkpoint = None if found is None else found.path
    recipe = settle(recipe, checkpoint)
    others = stack.enter_context(ranks.beside(recipe, base, examples, folder, checkpoint))
    in_step = ranks.InStep(memory_bytes) if others is not None else None
    callback = RunCallback(recipe, context, recorder, examples.generated)
    callback.tokenizer = tokenizer
    if in_step is not None:
        callback.memory_bytes = in_step.memory_bytes
    begin = Beginning(recipe, base, start, folder / TAKEN)
    trainer = trainers.make(recipe, begin.model(), tokenizer, examples, folder, [callback], begin, in_step)
    total = recipe.steps(len(examples.train))
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    recorder.write(
        "start",
        found.step if found else 0,
        total=total,
        batch=recipe.batch.size,
        accumulation=recipe.batch.accumulation,
        ranks=recipe.ranks,
        rows=len(examples.train),
        held_out=len(examples.held_out),
        trainable=trainable,
        device=str(trainer.args.device),
    )
    fresh = found is None
    stack.enter_context(rewarded(trainer, recipe, base, examples, context, recorder, fresh=fresh, force=force))
    if found is not None:
        callback.remember(_history(found.path))
    if found is not None and (found.step >= total or callback.stopped_early):
        # It ended there, and only what came after is missing: transformers would take one more step.
        trainer.state = TrainerState.load_from_json(str(found.path / _STATE_FILE))
        if not recipe.fsdp:
            _load(recipe, trainer, found.path)
    else:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    adapter, step = _keep(recipe, trainer, tokenizer, folder, recorder)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Outcome(
        trainer.state.global_step,
        adapter,
        losses[-1] if losses else None,
        trainers.eval_loss_at(trainer.state.log_history, step),
        recipe,
        callback.memory_bytes(),
    )


def _history(checkpoint: Path) -> list[LogEntry]:
    import json

    state = json.loads((checkpoint / _STATE_FILE).read_text(encoding="utf-8"))
    return list(state.get("log_history", []))


def _load(recipe: Recipe, trainer: Any, checkpoint: Path) -> None:
    """Put what a checkpoint has learned into the model."""
    if recipe.tuning == "full":
        trainer._load_from_checkpoint(str(checkpoint))  # noqa: SLF001 - it knows how experts are saved
    else:
        set_peft_model_state_dict(trainer.model, load_file(checkpoint / WEIGHTS_OF["lora"]))


def _keep(recipe: Recipe, trainer: Any, tokenizer: Any, folder: Path, recorder: Recorder) -> tuple[Path, int]:
    """The folder of what was learned, and the step it is of; with early stopping that of the best checkpoint."""
    step = int(trainer.state.global_step)
    best = checkpoints.best(folder / "checkpoints") if recipe.evaluation.patience else None
    if best is not None and best.step != trainer.state.global_step:
        if not recipe.fsdp:
            _load(recipe, trainer, best.path)
        step = best.step
        what = "adapter is that" if recipe.tuning == "lora" else "weights are those"
        recorder.write(
            "event",
            best.step,
            level="info",
            message=f"the {what} of step {best.step}, the best of the checkpoints",
            hint="",
        )
    measured = [trainers.eval_loss_at(trainer.state.log_history, at) for at in (0, step)]
    for event in beside_the_base(measured[0], measured[1], step):
        recorder.write("event", step, level=event.level, message=event.message, hint=event.hint)
    target = folder / FOLDERS[recipe.tuning]
    if recipe.fsdp:
        # What is learned lies in parts, and whole in the checkpoint of this step, which every end has.
        target.mkdir(exist_ok=True)
        for name in (WEIGHTS_OF["lora"], _ADAPTER_CONFIG):
            shutil.copyfile(folder / "checkpoints" / f"checkpoint-{step}" / name, target / name)
    elif recipe.tuning == "full":
        # One file: what is exported of it is read by the names of its tensors.
        trainer.model.save_pretrained(target, safe_serialization=True, max_shard_size="1000000GB")
    else:
        # The base's embeddings are the base's, also where they have an adapter; of preferences there is a second adapter.
        options = (
            {"path_initial_model_for_weight_conversion": str(folder / TAKEN)} if recipe.lora.init != "default" else {}
        )
        trainer.model.save_pretrained(
            target, safe_serialization=True, save_embedding_layers=False, selected_adapters=["default"], **options
        )
    tokenizer.save_pretrained(target)
    return target, step
