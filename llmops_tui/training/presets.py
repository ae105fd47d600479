"""Preset recipes by task and by available memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.training.recipe import Recipe, changed


@dataclass(frozen=True)
class Preset:
    """Changes to a recipe, and when they are right."""

    about: str
    changes: dict[str, Any]


TASKS: dict[str, Preset] = {
    "classify": Preset(
        "short, exact answers: labels, fields, JSON",
        {"epochs": 4, "optimizer.learning_rate": 1e-3, "lora.rank": 16, "lora.alpha": 32, "batch.max_length": 1024,
         "batch.size": 16, "batch.accumulation": 1},
    ),
    "chat": Preset(
        "conversations and longer answers in a voice",
        {"epochs": 2, "optimizer.learning_rate": 2e-4, "lora.rank": 32, "lora.alpha": 64, "batch.max_length": 4096,
         "batch.size": 4, "batch.accumulation": 4},
    ),
    "preference": Preset(
        "pairs of better and worse answers (DPO)",
        {"method": "dpo", "epochs": 1, "optimizer.learning_rate": 5e-6, "beta": 0.1, "batch.size": 2,
         "batch.accumulation": 8},
    ),
    "rewards": Preset(
        "rewards instead of answers (GRPO): change reinforcement.rewards",
        {"method": "grpo", "reinforcement.rewards": [{"type": "json-valid"}], "reinforcement.generations": 8,
         "reinforcement.max_tokens": 256, "epochs": 1, "optimizer.learning_rate": 2e-5, "beta": 0.02, "batch.size": 8,
         "batch.accumulation": 2, "evaluation.max_rows": 32},
    ),
    "pretrain": Preset(
        "continued pre-training on text of a domain",
        {"method": "pretrain", "assistant_only": False, "epochs": 1, "optimizer.learning_rate": 1e-4, "lora.rank": 64,
         "lora.alpha": 64, "lora.rslora": True, "batch.max_length": 4096},
    ),
    "tiny": Preset(
        "a model of a few million parameters, on a CPU",
        {"epochs": 3, "optimizer.learning_rate": 2e-3, "optimizer.max_grad_norm": 0.3,
         "lora.rank": 32, "lora.alpha": 64, "batch.size": 16,
         "batch.accumulation": 1, "batch.max_length": 512, "gradient_checkpointing": False, "optimizer.warmup": 0.05,
         "evaluation.max_rows": 64},
    ),
}  # fmt: skip
MEMORY: dict[str, Preset] = {
    "8gb": Preset(
        "a GPU with 8 GB: an 8B model at 1,024 tokens",
        {"quantization.type": "nf4", "quantization.double": True, "batch.size": 1, "batch.accumulation": 16,
         "batch.max_length": 1024, "gradient_checkpointing": True, "lora.rank": 8, "lora.alpha": 16,
         "optimizer.name": "paged_adamw_8bit"},
    ),
    "24gb": Preset(
        "a GPU with 24 GB: an 8B model at 4,096 tokens, or 14B shorter",
        {"quantization.type": "nf4", "batch.size": 2, "batch.accumulation": 8, "gradient_checkpointing": True,
         "optimizer.name": "paged_adamw_8bit"},
    ),
    "80gb": Preset(
        "a GPU with 80 GB: an 8B model without quantization",
        {"quantization.type": "none", "batch.size": 8, "batch.accumulation": 2, "gradient_checkpointing": True,
         "optimizer.name": "adamw_torch_fused"},
    ),
    "cpu": Preset(
        "no GPU: small models only",
        {"batch.size": 8, "batch.accumulation": 1, "gradient_checkpointing": False, "optimizer.name": "adamw_torch",
         "batch.max_length": 512},
    ),
}  # fmt: skip


def apply(recipe: Recipe, *names: str) -> Recipe:
    """A recipe with presets applied, one after another.

    Raises:
        InputRefusedError: ``unknown_preset``.
    """
    known = TASKS | MEMORY
    for name in names:
        if name not in known:
            raise InputRefusedError("unknown_preset", f"{name!r} is not a preset", f"One of: {', '.join(known)}.")
        recipe = changed(recipe, known[name].changes)
    return recipe
