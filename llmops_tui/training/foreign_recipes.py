"""Read a recipe file: our own, or the common parts of axolotl's and LLaMA-Factory's configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_yaml, text_of
from llmops_tui.training.recipe import Recipe, check, parse

# Their key to our field.
_AXOLOTL = {
    "base_model": "base", "lora_r": "lora.rank", "lora_alpha": "lora.alpha", "lora_dropout": "lora.dropout",
    "lora_target_modules": "lora.targets", "peft_use_dora": "lora.dora", "peft_use_rslora": "lora.rslora",
    "sequence_len": "batch.max_length", "sample_packing": "batch.packing", "micro_batch_size": "batch.size",
    "gradient_accumulation_steps": "batch.accumulation", "num_epochs": "epochs", "max_steps": "max_steps",
    "optimizer": "optimizer.name", "lr_scheduler": "optimizer.schedule", "learning_rate": "optimizer.learning_rate",
    "weight_decay": "optimizer.weight_decay", "warmup_ratio": "optimizer.warmup", "max_grad_norm": "optimizer.max_grad_norm",
    "gradient_checkpointing": "gradient_checkpointing", "seed": "seed", "val_set_size": "evaluation.share",
    "eval_steps": "evaluation.every", "save_steps": "checkpoints.every", "save_total_limit": "checkpoints.keep",
    "early_stopping_patience": "evaluation.patience", "group_by_length": "batch.group_by_length", "rl_beta": "beta",
}  # fmt: skip
_FACTORY = {
    "model_name_or_path": "base", "lora_rank": "lora.rank", "lora_alpha": "lora.alpha", "lora_dropout": "lora.dropout",
    "lora_target": "lora.targets", "use_dora": "lora.dora", "use_rslora": "lora.rslora", "cutoff_len": "batch.max_length",
    "packing": "batch.packing", "per_device_train_batch_size": "batch.size",
    "gradient_accumulation_steps": "batch.accumulation", "num_train_epochs": "epochs", "max_steps": "max_steps",
    "optim": "optimizer.name", "lr_scheduler_type": "optimizer.schedule", "learning_rate": "optimizer.learning_rate",
    "weight_decay": "optimizer.weight_decay", "warmup_ratio": "optimizer.warmup", "max_grad_norm": "optimizer.max_grad_norm",
    "seed": "seed", "val_size": "evaluation.share", "eval_steps": "evaluation.every", "save_steps": "checkpoints.every",
    "save_total_limit": "checkpoints.keep", "pref_beta": "beta", "double_quantization": "quantization.double",
    "quantization_type": "quantization.type", "mask_history": "mask_history",
    "enable_thinking": "chat_template_kwargs.enable_thinking",
}  # fmt: skip
_OPTIMIZERS = {"adamw_bnb_8bit": "adamw_8bit", "paged_adamw_8bit": "paged_adamw_8bit", "adamw_hf": "adamw_torch"}
# Keys that change nothing of what is trained.
_SILENT = {
    "output_dir", "logging_steps", "wandb_project", "wandb_entity", "wandb_watch", "wandb_name", "report_to", "do_train",
    "overwrite_output_dir", "plot_loss", "dataset_prepared_path", "tokenizer_type", "model_type", "bf16", "fp16", "tf32",
    "flash_attention", "stage", "finetuning_type", "adapter", "load_in_4bit", "load_in_8bit", "quantization_bit", "rl",
    "datasets", "dataset", "dataset_dir", "train_on_inputs", "train_on_prompt", "lora_target_linear",
    "overwrite_cache", "preprocessing_num_workers", "dataloader_num_workers", "ddp_timeout", "logging_dir",
    "quantization_method", "special_tokens", "saves_per_epoch", "evals_per_epoch", "eval_strategy", "evaluation_strategy",
    "per_device_eval_batch_size", "resume_from_checkpoint", "flash_attn", "pad_to_sequence_len", "strict",
    "chat_template_jinja",
}  # fmt: skip


# Values that say what happens here anyway.
_AS_HERE: dict[str, tuple[Any, ...]] = {
    "chat_template": ("tokenizer_default", "jinja"), "template": ("default",), "roles_to_train": (["assistant"], ["gpt"]),
    "train_on_eos": ("turn", "all"), "message_field_training": ("train", "training", "weight", "loss_weight", "loss"),
    "type": ("chat_template", "sharegpt", "alpaca", "completion", None), "split": ("train",),
}  # fmt: skip
# Keys of a dataset that say where it is, or how its columns are called, which the import has read.
_OF_DATASETS = {
    "path",
    "name",
    "ds_type",
    "data_files",
    "field_messages",
    "message_field_role",
    "message_field_content",
}


def read_recipe(path: Path) -> tuple[Recipe, list[str]]:
    """A recipe from a file, and what of a foreign configuration was not taken over.

    Raises:
        InputRefusedError: ``bad_recipe``.
    """
    text = text_of(path, errors="replace")
    try:
        body = parse_yaml(text)
    except yaml.YAMLError:
        body = None
    if isinstance(body, dict) and "base" not in body:
        if "base_model" in body:
            return _translate(path, body, _AXOLOTL, "axolotl", _axolotl(body))
        if "model_name_or_path" in body:
            return _translate(path, body, _FACTORY, "LLaMA-Factory", _factory(body))
    return parse(text, str(path)), []


def _translate(
    path: Path, body: JsonObject, names: dict[str, str], program: str, derived: JsonObject
) -> tuple[Recipe, list[str]]:
    found: dict[str, Any] = {"name": _name(path.stem)}
    notes = []
    for key, value in body.items():
        if key in names and value is not None:
            _put(found, names[key], _value(names[key], value))
        elif key not in _SILENT and value not in (None, "", [], False) and value not in _AS_HERE.get(key, ()):
            notes.append(f"{key}: {value!r} of {program} {_why_not(key)}")
    for field, value in derived.items():
        _put(found, field, value)
    if not found.get("data"):
        raise InputRefusedError(
            "bad_recipe", f"{path}: it has no dataset", "Add its datasets with their names in this workspace."
        )
    notes += _of_datasets(body)
    notes.insert(
        0, f"{path.name} was read as a configuration of {program}; its datasets are looked up by name in this workspace"
    )
    return check(found, str(path)), notes


def _why_not(key: str) -> str:
    """Why a key was not taken over."""
    if key in {"template", "chat_template"}:
        return (
            "is a template by name, and is not taken over: the base's own is used; chat_template takes a Jinja template"
        )
    return "has no counterpart in llmops and is ignored"


def _of_datasets(body: JsonObject) -> list[str]:
    """What the datasets of a configuration say that is not followed."""
    return [
        f"datasets[{n}].{key}: {value!r} of axolotl {_why_not(key)}"
        for n, dataset in enumerate(body.get("datasets") or [])
        if isinstance(dataset, dict)
        for key, value in dataset.items()
        if key not in _OF_DATASETS and value not in (None, "", [], False) and value not in _AS_HERE.get(key, ())
    ]


def _axolotl(body: JsonObject) -> JsonObject:
    datasets = [d.get("path") if isinstance(d, dict) else d for d in body.get("datasets") or []]
    found: dict[str, Any] = {"data": [_dataset(d) for d in datasets if d]}
    found["quantization.type"] = "nf4" if body.get("load_in_4bit") or body.get("adapter") == "qlora" else "none"
    if body.get("lora_target_linear"):
        found["lora.targets"] = ["all-linear"]
    if body.get("rl") in {"dpo", "orpo", "kto"}:
        found["method"] = body["rl"]
    if "train_on_inputs" in body:
        found["assistant_only"] = not body["train_on_inputs"]
    if body.get("chat_template") == "jinja" and body.get("chat_template_jinja"):
        found["chat_template"] = str(body["chat_template_jinja"])
    return found


def _factory(body: JsonObject) -> JsonObject:
    datasets = body.get("dataset") or []
    datasets = datasets.split(",") if isinstance(datasets, str) else datasets
    found: dict[str, Any] = {"data": [_dataset(str(d).strip()) for d in datasets]}
    found["quantization.type"] = body.get("quantization_type", "nf4") if body.get("quantization_bit") == 4 else "none"
    stage = body.get("stage", "sft")
    found["method"] = {"pt": "pretrain", "sft": "sft", "dpo": body.get("pref_loss", "dpo"), "kto": "kto"}.get(
        stage, stage
    )
    if found["method"] == "sigmoid":
        found["method"] = "dpo"
    if "train_on_prompt" in body:
        found["assistant_only"] = not body["train_on_prompt"]
    return found


def _dataset(path: str) -> dict[str, str]:
    name = Path(path).name
    return {"dataset": name.partition(".")[0] or path}


def _value(field: str, value: Any) -> Any:
    if field == "optimizer.name":
        return _OPTIMIZERS.get(value, value)
    if field == "lora.targets":
        values = value.split(",") if isinstance(value, str) else value
        return ["all-linear"] if values in (["all"], ["all-linear"]) else [str(v).strip() for v in values]
    return value


def _put(body: JsonObject, path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[leaf] = value


def _name(stem: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in stem).strip("-._")
    return kept[:64] or "recipe"
