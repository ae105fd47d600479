"""Values that several training programs spell alike, as a recipe has them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from llmops_tui.training.foreign_keys import TEMPLATE, Translation

_OPTIMIZERS = {
    "adamw_bnb_8bit": "adamw_8bit",
    "adamw_hf": "adamw_torch",
    "paged_adamw": "paged_adamw_32bit",
}
_METHODS = {"dpo": "dpo", "sigmoid": "dpo", "orpo": "orpo", "kto": "kto"}
# Switches of torch.compile; of the last two a name is one, too, in the arguments of Hugging Face's trainer.
_COMPILE = ("torch_compile", "torch_compile_backend", "torch_compile_mode")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.]+")
# The defaults of Hugging Face's TrainingArguments, where a recipe's own are others.
TRAINING_ARGUMENTS = {
    "optimizer.learning_rate": 5e-5, "optimizer.schedule": "linear", "optimizer.warmup": 0, "epochs": 3.0, "batch.size": 8,
    "batch.accumulation": 1, "seed": 42, "evaluation.share": 0.0, "quantization.type": "none",
}  # fmt: skip
TRAINING_KEYS = {
    "per_device_train_batch_size": "batch.size", "gradient_accumulation_steps": "batch.accumulation",
    "num_train_epochs": "epochs", "max_steps": "max_steps", "optim": "optimizer.name",
    "lr_scheduler_type": "optimizer.schedule", "learning_rate": "optimizer.learning_rate",
    "weight_decay": "optimizer.weight_decay", "max_grad_norm": "optimizer.max_grad_norm", "seed": "seed",
    "eval_steps": "evaluation.every", "save_steps": "checkpoints.every", "save_total_limit": "checkpoints.keep",
    "packing": "batch.packing", "group_by_length": "batch.group_by_length", "use_dora": "lora.dora",
    "use_rslora": "lora.rslora", "lora_alpha": "lora.alpha", "lora_dropout": "lora.dropout", "beta": "beta",
}  # fmt: skip


def converted(path: str, value: Any) -> Any:
    """A value as the recipe's field spells it."""
    if path == "optimizer.name":
        return _OPTIMIZERS.get(str(value), value)
    if path == "lora.targets":
        values = value.split(",") if isinstance(value, str) else value
        if not isinstance(values, list):
            return value  # the recipe refuses it by name
        names = [str(one).strip() for one in values]
        return ["all-linear"] if names in (["all"], ["all-linear"]) else names
    if path == "gradient_checkpointing":
        # Names of ways to do it, such as "unsloth" and "offload", do it.
        return bool(value)
    return value


def switched_on(value: Any) -> bool:
    """Whether a value says yes, or leaves it to the program to say so where it can."""
    return str(value).lower() in {"true", "1", "auto"}


def listed(value: Any) -> list[Any]:
    """A value that may stand for a list of one."""
    if isinstance(value, list):
        return value
    return [] if value in (None, "", False) else [value]


def common_of(made: Translation, *, share: str, targets: str) -> None:
    """What all programs have, of which they name two differently: the share held out, and the modules with an adapter."""
    steps_of(made)
    share_of(made, share)
    warmup_of(made)
    types_of(made)
    betas_of(made)
    targets_of(made, targets)


def share_of(made: Translation, key: str) -> None:
    """A share of the rows that is held out, or their number."""
    value = made.take(key)
    if value is None:
        return
    if isinstance(value, (int, float)) and value >= 1:
        # As many as that, from all of the data.
        made.put("evaluation.share", 0.5)
        made.put("evaluation.max_rows", int(value), key)
    else:
        made.put("evaluation.share", value, key)


def steps_of(made: Translation) -> None:
    """Steps that are given count more than epochs, there; here the lesser of both would."""
    steps = made.found.get("max_steps")
    if (isinstance(steps, str) and steps.strip().isdecimal()) or (isinstance(steps, float) and steps.is_integer()):
        # Carried as the number that it is; else the epochs would limit it.
        steps = made.found["max_steps"] = int(steps)
    if isinstance(steps, int):
        if steps > 0:
            if key := made.origin.get("epochs"):
                made.leave(key, made.found["epochs"], "does not count beside max_steps", changes=False)
            made.put("epochs", 1000.0, "max_steps")
        else:
            made.put("max_steps", 0, "max_steps")


def warmup_of(made: Translation) -> None:
    """A warm-up as a share or in steps; steps count more."""
    steps, ratio = made.take("warmup_steps"), made.take("warmup_ratio")
    if steps:
        made.put("optimizer.warmup", steps, "warmup_steps")
        if ratio is not None:
            made.leave("warmup_ratio", ratio, "does not count beside warmup_steps", changes=False)
    elif ratio is not None:
        made.put("optimizer.warmup", ratio, "warmup_ratio")
    elif steps is not None:
        made.put("optimizer.warmup", 0, "warmup_steps")


def types_of(made: Translation) -> None:
    """The type that is computed in, where one is named."""
    for key, kind in (("bf16", "bfloat16"), ("bfloat16", "bfloat16"), ("pure_bf16", "bfloat16"), ("fp16", "float16"),
                      ("float16", "float16"), ("float32", "float32")):  # fmt: skip
        value = made.take(key)
        if value == "auto" or value is False:
            made.leave(key, value, "leaves the type to the device, as quantization.compute: auto does", changes=False)
        elif value is not None:
            made.put("quantization.compute", kind, key)


def betas_of(made: Translation) -> None:
    """Constants of Adam, which are the usual ones here."""
    for key, usual in (("adam_beta1", 0.9), ("adam_beta2", 0.999), ("adam_epsilon", 1e-8)):
        value = made.take(key)
        if value is None:
            continue
        try:
            same = float(value) == usual
        except (TypeError, ValueError):
            same = False
        made.leave(key, value, "is what is used" if same else f"is {usual:g} here", changes=not same)


def kernels_of(made: Translation, liger: Collection[str], *, named: bool = True) -> None:
    """What layers compute with: Liger's kernels where one of the keys ``liger`` asks for them, or those of torch.compile.

    ``named``: a backend or a mode of torch.compile alone asks for it, too.
    """
    asked = [key for key in liger if switched_on(made.given.get(key))]
    if asked:
        made.put("kernels", "liger", asked[0])
        for key in liger:
            if made.take(key) is not None and key != asked[0]:
                made.leave(
                    key,
                    made.given[key],
                    "is decided by kernels: liger, which takes all that the family has",
                    changes=False,
                )
    if switched_on(made.given.get(_COMPILE[0])):
        compiling = _COMPILE[0]
    else:
        compiling = next((key for key in _COMPILE[1:] if named and isinstance(made.given.get(key), str)), "")
    if compiling and asked:
        made.leave(compiling, made.take(compiling), "cannot be beside Liger's kernels here", changes=False)
    elif compiling:
        made.put("kernels", "compiled", compiling)
        made.take(compiling)
        for key in _COMPILE[1:]:
            if made.given.get(key) is not None:
                made.leave(key, made.take(key), "is torch's own with kernels: compiled", changes=False)


def targets_of(made: Translation, key: str) -> None:
    """Modules with an adapter: a list, or an expression over names, which a recipe has not."""
    value = made.take(key)
    if not value:
        return
    names = converted("lora.targets", value)
    if not isinstance(names, list) or all(_PLAIN_NAME.fullmatch(name) for name in names) or names == ["all-linear"]:
        made.put("lora.targets", names, key)
    else:
        made.leave(key, value, "is an expression over the names of modules; lora.targets takes names")


def method_of(made: Translation, key: str, value: Any, other: str) -> None:
    """A way to learn from preferences; one that there is not is named, and ``other`` takes its place."""
    if str(value) in _METHODS:
        made.put("method", _METHODS[str(value)], key)
    else:
        made.put("method", other)
        made.leave(key, value, f"is a method that there is not here; {other} would be used")


def template_of(made: Translation, key: str, jinja: Any = None) -> None:
    """A template by name, or in full."""
    value = made.take(key)
    if value in (None, "", "tokenizer_default"):
        return
    if jinja and value in ("jinja", jinja):
        made.put("chat_template", str(jinja), key)
    else:
        made.leave(key, value, TEMPLATE)


def dataset_name(path: str) -> str:
    """The name under which a dataset is looked up: that of a file or repository, without folder and ending."""
    name = Path(path).name
    return name.partition(".")[0] or path
