"""A bare TRL script: the yardstick of the launcher. ``BASE ROWS.json SETTINGS.json``; prints a JSON line of its figures.

The settings say what is trained: an adapter, one with two learning rates (``lora_plus_ratio``), or all weights (``tuning``).

``at`` is when each step ended, ``loss`` its losses, and ``peak_bytes`` the most memory it held, with CUDA's own. With
``method`` grpo in the settings rows have a ``prompt``, the reward is the words of an answer times ``weight``, and ``reward``
has the mean of each step. With ``method`` dpo, orpo or kto rows are texts, as TRL's documentation has them, and TRL tokenizes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer


class Times(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.at.append(time.time())


def held_on_the_gpu() -> int:
    """Bytes that this process holds of the first GPU now, as the driver tells it."""
    import pynvml

    pynvml.nvmlInit()
    found = pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByIndex(0))
    return sum(int(process.usedGpuMemory or 0) for process in found if process.pid == os.getpid())


def words(weight: float) -> Any:
    """A reward function: the words of each answer, times a weight."""

    def length(completions: list[str], **_: Any) -> list[float]:
        return [float(len(text.split())) * weight for text in completions]

    return length


def _common(given: dict[str, Any], folder: str) -> dict[str, Any]:
    """What trainers of all kinds are told alike."""
    return {
        "output_dir": folder,
        "max_steps": given["steps"],
        "per_device_train_batch_size": given["batch"],
        "gradient_accumulation_steps": given["accumulation"],
        "learning_rate": given["learning_rate"],
        "lr_scheduler_type": "cosine",
        "warmup_steps": given["warmup"],
        "optim": "adamw_torch",
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "seed": 1,
        "dataloader_pin_memory": False,
    }


def grpo_trainer(model: Any, base: str, rows: list[Any], given: dict[str, Any], folder: str, times: Times) -> Any:
    """TRL's own trainer of rewards, on prompts as texts."""
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(
        **_common(given, folder),
        num_generations=given["generations"],
        max_completion_length=given["max_tokens"],
        temperature=1.0,
        beta=given["beta"],
    )
    return GRPOTrainer(
        model=model,
        reward_funcs=words(given["weight"]),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows]),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(
            r=given["rank"], lora_alpha=2 * given["rank"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[times],
    )


def preference_trainer(model: Any, base: str, rows: list[Any], given: dict[str, Any], folder: str) -> Any:
    """TRL's own trainer of preferences, on texts."""
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    kinds: dict[str, tuple[Any, Any]] = {
        "dpo": (DPOTrainer, DPOConfig), "orpo": (ORPOTrainer, ORPOConfig), "kto": (KTOTrainer, KTOConfig),
    }  # fmt: skip
    trainer, config = kinds[given["method"]]
    return trainer(
        model=model,
        args=config(
            **_common(given, folder),
            beta=given["beta"],
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(
            r=given["rank"], lora_alpha=2 * given["rank"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )


def main() -> None:
    base, rows, given = (
        sys.argv[1],
        json.loads(Path(sys.argv[2]).read_text()),
        json.loads(Path(sys.argv[3]).read_text()),
    )
    gpu = torch.cuda.is_available()
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    set_seed(1)
    model = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=getattr(torch, given.get("dtype", "float32" if given.get("method") == "grpo" else "bfloat16")),
        attn_implementation="sdpa",
        device_map={"": "cuda:0" if gpu else "cpu"},
        quantization_config=quantization if given["quantization"] == "nf4" else None,
    )
    model.config.use_cache = False
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    times = Times()
    if given.get("method") in {"dpo", "orpo", "kto"}:
        with tempfile.TemporaryDirectory() as folder:
            trainer = preference_trainer(model, base, rows, given, folder)
            trainer.train()
        print(json.dumps({"loss": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]}))
        return
    if given.get("method") == "grpo":
        with tempfile.TemporaryDirectory() as folder:
            trainer = grpo_trainer(model, base, rows, given, folder, times)
            trainer.train()
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        print(json.dumps({name: [entry[name] for entry in history] for name in ("loss", "reward", "kl")}))
        return
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            max_steps=given["steps"],
            per_device_train_batch_size=given["batch"],
            gradient_accumulation_steps=given["accumulation"],
            learning_rate=given.get("learning_rate", 2e-4),
            lr_scheduler_type="cosine",
            warmup_steps=given["warmup"],
            optim="paged_adamw_8bit" if gpu else "adamw_torch",
            gradient_checkpointing=given["checkpointing"],
            gradient_checkpointing_kwargs={"use_reentrant": False},
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="steps",
            save_steps=given["save"],
            save_total_limit=2,
            report_to="none",
            disable_tqdm=True,
            use_cpu=not gpu,
            bf16=gpu,
            max_length=None,
            seed=1,
            dataloader_pin_memory=gpu,
        )
        lora: LoraConfig | None = LoraConfig(
            r=given["rank"], lora_alpha=2 * given["rank"], target_modules="all-linear", task_type="CAUSAL_LM"
        )
        ratio, optimizers = given.get("lora_plus_ratio", 1), {}
        if given.get("tuning") == "full":
            lora = None
        elif ratio != 1:
            # Before the trainer, which would make the optimizer.
            model, lora = get_peft_model(model, lora), None
            kind = torch.optim.AdamW
            made = create_loraplus_optimizer(model, kind, lr=config.learning_rate, loraplus_lr_ratio=ratio, eps=1e-8)
            optimizers = {"optimizers": (made, None)}
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(base),
            peft_config=lora,
            callbacks=[times],
            **optimizers,
        )
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        trainer.train()
    if gpu:
        peak = torch.cuda.max_memory_reserved() + held_on_the_gpu() - torch.cuda.memory_reserved()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(json.dumps({"at": times.at, "loss": losses, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
