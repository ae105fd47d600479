"""TRL's trainers with our own tokens and atomic checkpoints."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from peft.optimizers import create_loraplus_optimizer
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from llmops_tui.training import checkpoints
from llmops_tui.training.example import IGNORED, Example, length_of
from llmops_tui.training.examples import Examples
from llmops_tui.training.memory import optimizer_on
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.records import LogEntry
from llmops_tui.training.worker import settled
from llmops_tui.training.worker.base_model import compute_type
from llmops_tui.training.worker.batches import GroupedByLength, PackedCollator, tokens_of
from llmops_tui.training.worker.division import divide, divided
from llmops_tui.training.worker.rank_batches import RankBatches
from llmops_tui.workspace.files import bytes_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmops_tui.training.worker.beginning import Beginning
    from llmops_tui.training.worker.ranks import InStep

_PARTS_OF_TEN = 10


class _Ours:
    """What all trainers have of our own.

    Checkpoints are written through :mod:`llmops_tui.training.checkpoints`; an order of rows is the same after a resume.
    """

    state: Any
    args: Any
    optimizer: Any
    saving_into: Path | None = None
    recipe: Recipe
    lengths: list[int] | None = None
    in_step: InStep | None = None
    gather_function: Any
    lora_plus_ratio: float = 1.0

    def create_optimizer(self, *arguments: Any, **options: Any) -> Any:
        """The optimizer; with LoRA+ one that has B in a group of its own, as PEFT makes it."""
        if self.lora_plus_ratio == 1:
            return super().create_optimizer(*arguments, **options)  # type: ignore[misc]
        if self.optimizer is None:
            ours: Any = self
            kind, settings = ours.get_optimizer_cls_and_kwargs(self.args, ours.model)
            rate, decay = settings.pop("lr"), self.args.weight_decay
            self.optimizer = create_loraplus_optimizer(
                ours.model,
                kind,
                lr=rate,
                loraplus_lr_ratio=self.lora_plus_ratio,
                loraplus_weight_decay=decay,
                # Of an embedding's adapter no other rate than of the others.
                loraplus_lr_embedding=rate,
                **settings,
            )
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Rows in the order of their lengths where ``lengths`` has them."""
        if self.lengths is None:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        steps = -(-len(self.lengths) // batch)
        return GroupedByLength(self.lengths, batch, self.args.seed, lambda: self.state.global_step // steps)

    def get_train_dataloader(self) -> Any:
        """The rows of this rank: of each batch its part, so that no row is repeated to fill the last one."""
        loader = super().get_train_dataloader()  # type: ignore[misc]
        if self.in_step is not None:
            rows, size = loader.batch_sampler.batch_sampler.sampler, self.args.train_batch_size
            _take(loader, RankBatches(rows, size, self.args.process_index, self.args.world_size))
        return loader

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """All rows, on each rank: filled up to equal parts, some would count twice."""
        loader = super().get_eval_dataloader(eval_dataset)  # type: ignore[misc]
        if self.in_step is not None:
            _take(loader, loader.batch_sampler.batch_sampler)
            self.gather_function = lambda values, **_options: values
        return loader

    def _get_output_dir(self, trial: Any) -> str:
        if self.saving_into is not None:
            return str(self.saving_into)
        return str(super()._get_output_dir(trial))  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(super()._get_output_dir(trial))  # type: ignore[misc]
        step = self.state.global_step
        first = self.args.process_index == 0
        try:
            self.saving_into = checkpoints.staging(folder) if first else checkpoints.staged(folder)
            self._wait()
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            self._wait()
            if first:
                settled.keep(self.recipe, self.saving_into / f"checkpoint-{step}")
                checkpoints.commit(folder, step, eval_loss_at(self.state.log_history, step))
        except (OSError, RuntimeError) as error:
            # torch tells a full disk as an error of its own.
            if getattr(error, "errno", None) == errno.ENOSPC or _is_full(folder, error):
                needed = bytes_in(folder) // 2
                raise checkpoints.disk_full(folder, needed) from error
            raise
        finally:
            self.saving_into = None
        if first:
            checkpoints.prune(folder, self.recipe.checkpoints.keep)

    def _wait(self) -> None:
        """Each rank adds to a checkpoint what only it knows: none begins or commits it before the others."""
        if self.in_step is not None:
            self.in_step.wait()


def _take(loader: Any, batches: Any) -> None:
    """Let a loader that accelerate shares out among ranks take just these batches."""
    shared = loader.batch_sampler
    shared.batch_sampler, shared.num_processes, shared.process_index, shared.even_batches = batches, 1, 0, False


def _is_full(folder: Path, error: Exception) -> bool:
    import shutil

    text = str(error).lower()
    said = "no space" in text or "enforce fail" in text or "unexpected pos" in text or "write" in text
    return said and shutil.disk_usage(folder).free < 1_000_000


def eval_loss_at(history: Sequence[LogEntry], step: int) -> float | None:
    """The evaluation loss that was measured after a step, where one was."""
    return next(
        (entry["eval_loss"] for entry in reversed(history) if entry.get("step") == step and "eval_loss" in entry), None
    )


class SupervisedTrainer(_Ours, SFTTrainer):
    """Supervised fine-tuning and continued pre-training, on tokens and labels of our own."""

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """The loss; of packed rows all tokens are counted, where TRL takes them to be one sequence."""
        found = super().compute_loss(model, inputs, *arguments, **options)  # type: ignore[no-untyped-call]
        if model.training and "attention_mask" not in inputs:
            self._total_train_tokens += tokens_of(inputs["position_ids"]) - inputs["position_ids"].size(1)
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return found


class PairTrainer(_Ours, DPOTrainer):
    """DPO on tokens of our own."""

    def _prepare_dataset(self, dataset: Dataset, *_arguments: Any, **_options: Any) -> Dataset:
        return dataset


class ThumbTrainer(_Ours, KTOTrainer):
    """KTO on tokens of our own."""

    def _prepare_dataset(self, dataset: Dataset, *_arguments: Any, **_options: Any) -> Dataset:
        return dataset


def _odds_ratio_trainer() -> type:
    """ORPO's trainer, which TRL keeps apart as experimental; it is imported when it is asked for."""
    from trl.experimental.orpo import ORPOTrainer

    class OddsRatioTrainer(_Ours, ORPOTrainer):
        def tokenize_row(self, feature: Example, model: Any = None) -> dict[str, list[int]]:
            del model
            row = {
                "prompt_input_ids": feature["prompt_ids"],
                "prompt_attention_mask": [1] * len(feature["prompt_ids"]),
            }
            for side, answer in (("chosen", feature["chosen_ids"]), ("rejected", feature["rejected_ids"])):
                ids = (feature["prompt_ids"] + answer)[: self.max_length]
                masked = min(len(feature["prompt_ids"]), len(ids))
                row |= {
                    f"{side}_input_ids": ids,
                    f"{side}_attention_mask": [1] * len(ids),
                    f"{side}_labels": [IGNORED] * masked + ids[masked:],
                }
            return row

    return OddsRatioTrainer


def make(
    recipe: Recipe,
    model: Any,
    tokenizer: Any,
    examples: Examples,
    folder: Path,
    callbacks: list[TrainerCallback],
    begin: Beginning,
    in_step: InStep | None = None,
) -> Any:
    """The trainer of a recipe, with the adapter put on the model, or with all of it to be trained.

    ``in_step`` keeps it beside other ranks.
    """
    steps = recipe.steps(len(examples.train))
    options = _options(recipe, folder, steps, measured=bool(examples.held_out))
    train, held_out = list(examples.train), list(examples.held_out)
    if recipe.facts.examples == "thumbs":
        random.Random(recipe.seed).shuffle(train)  # noqa: S311
        train, held_out = _with_others(train, recipe.batch.size), _with_others(held_out, recipe.batch.size)
    if recipe.method == "orpo":
        # What it would otherwise read as texts to tokenize.
        texts: Example = {"prompt": "", "chosen": "", "rejected": ""}
        train, held_out = [texts | row for row in train], [texts | row for row in held_out]
    kind, config = _kind(recipe, options)
    if recipe.fsdp:
        kind = divided(kind)
    if in_step is None and config.n_gpu > 1:
        # A process that sees several GPUs and is one of none would use them all, and double the batch.
        config._n_gpu = 1  # noqa: SLF001  there is no other way to say so
    # What preferences are measured from is the model as it is before it learns.
    compared = recipe.tuning == "full" and recipe.method in {"dpo", "kto"}
    reference = {"ref_model": begin.reference()} if compared else {}
    model, adapter = begin.with_adapter(model)
    packed = PackedCollator(tokenizer.pad_token_id, flat=recipe.attention == "flash_attention_2")
    trainer = kind(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(train),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=tokenizer,
        peft_config=adapter,
        # What rank 0 decides is told after it was decided.
        callbacks=[*callbacks, *([in_step] if in_step is not None else [])],
        **({"data_collator": packed} if recipe.batch.packing else {}),
        **reference,
    )
    trainer.lora_plus_ratio = recipe.optimizer.lora_plus_ratio
    if recipe.batch.group_by_length and recipe.facts.examples != "thumbs":
        trainer.lengths = [length_of(row) for row in examples.train]
    # The figures are written in words by the callback that records them.
    trainer.remove_callback(PrinterCallback)
    trainer.in_step = in_step
    trainer.recipe = recipe
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            # TRL puts the adapter of a quantized base into 16 bits, where small updates of AdamW are rounded away.
            parameter.data = parameter.data.float()
    if recipe.fsdp and in_step is not None:
        divide(trainer, recipe.ranks)
    return trainer


def _kind(recipe: Recipe, options: dict[str, Any]) -> tuple[Any, Any]:
    if recipe.facts.packs:
        return _supervised(options)
    if recipe.facts.examples == "prompts":
        return _rewarded(recipe, options)
    return _PREFERENCES[recipe.method](options | {"max_length": recipe.batch.max_length, "beta": recipe.beta})


def _supervised(options: dict[str, Any]) -> tuple[type, Any]:
    # Rows were cut and packed where they were made.
    return SupervisedTrainer, SFTConfig(**options, max_length=None)


def _odds_ratio(options: dict[str, Any]) -> tuple[type, Any]:
    from trl.experimental.orpo import ORPOConfig

    return _odds_ratio_trainer(), ORPOConfig(**options)


def _rewarded(recipe: Recipe, options: Any) -> tuple[Any, Any]:
    """The trainer of rewards, whose libraries take seconds to import, and its configuration."""
    from trl.trainer.grpo_config import GRPOConfig

    from llmops_tui.training.worker.reward_trainer import Rewarded

    class RewardTrainer(_Ours, Rewarded):
        """GRPO on tokens of our own."""

    part = recipe.reinforcement
    config = GRPOConfig(
        **{name: value for name, value in options.items() if name != "train_sampling_strategy"}
        # Held-out rows are answered once each, whatever TRL would want of their batches.
        | {"per_device_eval_batch_size": part.generations},
        beta=recipe.beta,
        num_generations=part.generations,
        max_completion_length=part.max_tokens,
        temperature=part.temperature,
        num_iterations=part.iterations,
        epsilon=part.clip,
        scale_rewards=part.scale,
        loss_type=part.loss,
        reward_weights=[reward.weight for reward in part.rewards],
        vllm_importance_sampling_mode="token_truncate",
    )
    return partial(RewardTrainer, part.rewards), config


# Trainer and configuration of each method that learns what is preferred; the others are supervised.
_PREFERENCES: dict[str, Callable[[dict[str, Any]], tuple[type, Any]]] = {
    "dpo": lambda options: (PairTrainer, DPOConfig(**options)),
    "orpo": _odds_ratio,
    "kto": lambda options: (ThumbTrainer, KTOConfig(**options)),
}


def _options(recipe: Recipe, folder: Path, steps: int, *, measured: bool) -> dict[str, Any]:
    on_gpu = torch.cuda.is_available()
    compute = compute_type(recipe)
    save_every = recipe.checkpoints.every or max(1, steps // _PARTS_OF_TEN)
    eval_every = recipe.evaluation.every or max(1, steps // _PARTS_OF_TEN)
    return {
        "output_dir": str(folder / "checkpoints"),
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "num_train_epochs": recipe.epochs,
        # As planned: transformers would take more steps than the epochs have.
        "max_steps": steps,
        "per_device_train_batch_size": recipe.batch.size,
        "per_device_eval_batch_size": recipe.batch.size,
        "gradient_accumulation_steps": recipe.batch.accumulation,
        "learning_rate": recipe.optimizer.learning_rate,
        "weight_decay": recipe.optimizer.weight_decay,
        "lr_scheduler_type": recipe.optimizer.schedule,
        "warmup_steps": recipe.optimizer.warmup_steps(steps),
        "max_grad_norm": recipe.optimizer.max_grad_norm,
        "optim": optimizer_on(recipe, gpu=on_gpu),
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        # KTO's rows carry the answers of their neighbours, so they come in the order in which they were shuffled before.
        "train_sampling_strategy": "sequential" if recipe.facts.examples == "thumbs" else "random",
        # Each step is told, with what it really was: a filter would hide a loss that is no number.
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "logging_first_step": True,
        "save_strategy": "steps",
        "save_steps": save_every,
        "save_total_limit": None,
        "eval_strategy": "steps" if measured else "no",
        "eval_steps": eval_every,
        "report_to": (list(recipe.trackers) or "none") if int(os.environ.get("RANK", "0")) == 0 else "none",
        "disable_tqdm": True,
        "use_cpu": not on_gpu,
        # All that has a gradient is used in each step.
        "ddp_find_unused_parameters": False,
        "bf16": on_gpu and compute is torch.bfloat16,
        "fp16": on_gpu and compute is torch.float16,
        "dataloader_pin_memory": on_gpu,
        "remove_unused_columns": False,
    }


def _with_others(rows: list[Example], batch: int) -> list[Example]:
    """KTO's rows with an answer to another prompt each, from which it estimates the drift; shifted within a batch."""
    found: list[Example] = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        for index, row in enumerate(part):
            found.append({**row, "KL_completion_ids": part[index - 1]["completion_ids"]})
    return found
