"""Values that several training programs spell alike, as a recipe has them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from llmops_tui.training.foreign_keys import TEMPLATE, Translation
from llmops_tui.training.recipe_parts import ONLY_BEST

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
    """What both programs have, of which they name two differently: the share held out, and the modules with an adapter."""
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


def evaluation_of(made: Translation) -> None:
    """Which weights are returned, and when is measured, where that decides it; after all else of the evaluation is known."""
    found = made.found
    if found.get("evaluation.dataset") and found.get("evaluation.share"):
        if key := made.origin.pop("evaluation.share", ""):
            made.leave(key, made.given.get(key), "does not count beside a dataset to measure on", changes=False)
        found["evaluation.share"] = 0.0
    best = made.take("load_best_model_at_end")
    if best is not None and not switched_on(best):
        made.leave("load_best_model_at_end", best, "is off", changes=False)
    elif best is not None and found.get("evaluation.patience"):
        made.leave("load_best_model_at_end", best, "is what evaluation.patience does", changes=False)
    elif best is not None and (found.get("evaluation.dataset") or found.get("evaluation.share")):
        made.put("evaluation.patience", ONLY_BEST, "load_best_model_at_end")
    elif best is not None:
        made.leave("load_best_model_at_end", best, "returns the best of what is measured, and nothing is measured")
    counts = bool(found.get("evaluation.patience"))
    if counts:
        _compared(made)
    _cadence(made, counts=counts)


def _compared(made: Translation) -> None:
    """What decides which weights are the best."""
    metric, greater = made.take("metric_for_best_model"), made.take("greater_is_better")
    same = metric in (None, "loss", "eval_loss")
    if metric is not None:
        why = "decides here as well" if same else "decides there; here the evaluation loss does"
        made.leave("metric_for_best_model", metric, why, changes=not same)
    if greater is not None:
        worst = same and switched_on(greater)
        why = (
            "would return the worst; here the lowest loss is the best" if worst else "is about the metric that decides"
        )
        made.leave("greater_is_better", greater, why, changes=worst)


def _cadence(made: Translation, *, counts: bool) -> None:
    """When is measured: in steps, or ten times in a run; ``counts`` where something is decided by it."""
    there = "evaluation.every counts steps; where it says nothing, a run is measured ten times"
    key = next((name for name in ("eval_strategy", "evaluation_strategy") if made.given.get(name) == "epoch"), "")
    every = made.origin.get("evaluation.every", "")
    if key and every:
        del made.origin["evaluation.every"]
        made.leave(every, made.found.pop("evaluation.every"), f"does not count beside {key}: epoch", changes=False)
    epochs = made.found.get("epochs")
    for name, times in ((key, 1), ("evals_per_epoch", made.take("evals_per_epoch"))):
        if name and times is not None:
            ten = isinstance(times, (int, float)) and isinstance(epochs, (int, float)) and times * epochs == 10
            made.take(name)
            why = "is what happens here" if ten else f"is by epochs, and {there}"
            made.leave(name, made.given[name], why, changes=counts and not ten)
    share = made.found.get("evaluation.every")
    if isinstance(share, float) and 0 < share < 1:
        total = made.found.get("max_steps")
        if isinstance(total, int) and total > 0:
            made.found["evaluation.every"] = max(1, math.ceil(share * total))
            return
        del made.found["evaluation.every"], made.origin["evaluation.every"]
        why = "is what happens here" if share == 0.1 else f"is a share of all steps, and {there}"
        made.leave(every, share, why, changes=counts and share != 0.1)


def tokens_of(made: Translation, keys: Collection[str]) -> None:
    """Tokens that are added to the vocabulary, whose rows are trained here."""
    found: list[str] = []
    for key in keys:
        value = made.take(key)
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else listed(value)
        if names:
            found += [str(name) for name in names]
            made.put("tokens", [*dict.fromkeys(found)], "" if made.origin.get("tokens") else key)
            saved = made.found.get("lora.modules_to_save")
            if made.found.get("tuning") != "full" and not (isinstance(saved, list) and "embed_tokens" in saved):
                made.leave(
                    key,
                    value,
                    "are carried to tokens, with which the embedding is trained whole, and the run ends merged",
                )
            elif made.origin.get("tokens") != key:
                made.leave(key, value, "are carried to tokens", changes=False)


def start_of(made: Translation, key: str) -> None:
    """What an adapter begins as, as PEFT names it."""
    start = made.given.get(key)
    if start is True:
        made.leave(key, start, "is what happens here", changes=False)
    elif start is not None:
        name = str(made.take(key)).lower()
        # A name may end in the number of passes by which the part is found nearly.
        made.put("lora.init", "pissa" if name.startswith("pissa_niter") else name, key)


def loftq_of(made: Translation, key: str, settings: Any) -> None:
    """A start that makes up for what four bits lose; its settings have other values nowhere here."""
    if "lora.init" not in made.origin:
        made.put("lora.init", "loftq", key)
    usual = isinstance(settings, dict) and set(settings) <= {"loftq_bits"} and settings.get("loftq_bits", 4) == 4
    made.leave(
        key, settings, "is lora.init: loftq" if usual else "has settings; lora.init: loftq has none", changes=not usual
    )


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
        why = "is a method that there is not here"
        if str(value) == "grpo":
            why = (
                "is a method here as well, but what it rewards is code there, and is not carried: write a recipe with "
                "method: grpo and reinforcement.rewards"
            )
        made.leave(key, value, f"{why}; {other} would be used")


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
