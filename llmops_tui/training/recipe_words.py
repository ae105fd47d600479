"""A recipe in words: what it does, its fields in groups, and what a value such as 0 or an empty text stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from llmops_tui.counts import counted
from llmops_tui.training.recipe import Recipe, fields, value_at
from llmops_tui.training.recipe_parts import ONLY_BEST

# The groups, and the beginnings of the paths of their fields; a field is in the first that has it.
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Model", ("base", "quantization", "serving", "start", "tokens", "chat_template")),
    ("Data", ("data", "mixture_temperature", "batch.max_length", "batch.packing", "batch.group_by_length", "mask_history",
              "assistant_only")),
    ("Method", ("method", "tuning", "beta", "reinforcement")),
    ("Adapter", ("lora",)),
    ("Steps", ("epochs", "max_steps", "batch", "optimizer", "seed")),
    ("Evaluation", ("evaluation",)),
    ("Checkpoints and records", ("checkpoints", "on_out_of_memory", "trackers")),
    ("Device", ()),
)  # fmt: skip
# What one asks of any recipe: told by themselves, also as by default.
_MAIN = frozenset({
    "base", "quantization.type", "data", "batch.max_length", "method", "tuning", "lora.rank", "lora.alpha", "epochs",
    "batch.size", "batch.accumulation", "optimizer.learning_rate",
})  # fmt: skip
_LABELS = {
    "quantization.type": "held in", "quantization.double": "double quantization", "quantization.compute": "computed in",
    "start": "begins with", "tokens": "new tokens", "data": "datasets", "mixture_temperature": "mixed by",
    "batch.max_length": "longest row", "mask_history": "last answer alone", "assistant_only": "loss on answers alone",
    "beta": "beta", "lora.dora": "DoRA", "lora.rslora": "rsLoRA", "lora.init": "begins as",
    "lora.modules_to_save": "whole modules", "max_steps": "most steps", "batch.size": "rows at once",
    "batch.accumulation": "accumulated", "optimizer.name": "optimizer", "optimizer.warmup": "warm-up",
    "optimizer.lora_plus_ratio": "LoRA+", "optimizer.max_grad_norm": "gradients clipped at", "evaluation.share": "held out",
    "evaluation.max_rows": "most rows", "evaluation.every": "every", "evaluation.patience": "stops early",
    "evaluation.samples": "sample answers", "serving": "served by",
    "chat_template_kwargs": "template variables", "evaluation.sample_tokens": "tokens of a sample", "checkpoints.every": "every",
    "checkpoints.keep": "kept", "on_out_of_memory": "out of memory", "fsdp": "divided (FSDP)", "target": "where",
}  # fmt: skip
# What a value stands for that says nothing by itself.
_MEANINGS: dict[str, dict[object, str]] = {
    "serving": {"": "the base, or its weights as GGUF"},
    "start": {"": "the base as it is"},
    "chat_template": {"": "the base's own"},
    "mixture_temperature": {1.0: "size"},
    "max_steps": {0: "no limit"},
    "quantization.type": {"nf4": "4 bits (NF4)", "fp4": "4 bits (FP4)", "none": "its own type"},
    "quantization.compute": {"auto": "the device's best type"},
    "optimizer.name": {"auto": "as the device allows"},
    "optimizer.weight_decay": {0.0: "none"},
    "optimizer.lora_plus_ratio": {1.0: "off"},
    "lora.dropout": {0.0: "none"},
    "attention": {"auto": "as the model allows"},
    "evaluation.dataset": {"": "a share of the data"},
    "evaluation.share": {0.0: "nothing"},
    "evaluation.every": {0: "tenth of the run"},
    "evaluation.patience": {0: "never", ONLY_BEST: "never, and keeps the best"},
    "evaluation.samples": {0: "none"},
    "checkpoints.every": {0: "tenth of the run"},
    "target": {"": "this machine"},
}
# The units of what is a number.
_UNITS: dict[str, tuple[str, ...]] = {
    "batch.max_length": ("token",), "batch.size": ("row",), "batch.accumulation": ("batch", "batches"), "max_steps": ("step",),
    "evaluation.max_rows": ("row",), "evaluation.sample_tokens": ("token",), "evaluation.every": ("step",),
    "checkpoints.every": ("step",), "reinforcement.max_tokens": ("token",),
}  # fmt: skip
_EMPTY = {"tokens": "none", "chat_template_kwargs": "none set", "lora.modules_to_save": "none", "devices": "the first",
          "trackers": "none"}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A field in words: its path in a recipe's file, what it is called beside others of its group, and its value.

    ``main`` are those that are told by themselves: what every recipe is asked for, and what is not as by default.
    """

    path: str
    label: str
    value: str
    changed: bool
    main: bool


def technique(recipe: Recipe) -> str:
    """What the field calls such a training: QLoRA, LoRA, DoRA, or that all weights are tuned."""
    if recipe.tuning == "full":
        return "full"
    return ("Q" if recipe.quantization.type != "none" else "") + ("DoRA" if recipe.lora.dora else "LoRA")


def technique_told(recipe: Recipe) -> str:
    """The same as a sentence."""
    if recipe.tuning == "full":
        return "Full tuning: all weights of the base."
    kind = recipe.quantization.type
    held = f"; the base is held in 4 bits ({kind.upper()})" if kind != "none" else ""
    return f"{technique(recipe)}: an adapter of rank {recipe.lora.rank}{held}."


def settings_of(recipe: Recipe) -> list[tuple[str, list[Setting]]]:
    """The settings by group, without those that this recipe's way of training has not."""
    unused = ("lora.",) if recipe.tuning == "full" else ()
    if recipe.method != "grpo":
        unused = (*unused, "reinforcement.")
    if recipe.method not in {"dpo", "orpo", "kto", "grpo"}:
        unused = (*unused, "beta")
    found: dict[str, list[Setting]] = {name: [] for name, _ in _GROUPS}
    for path, info in fields():
        if path == "name" or path.startswith(unused):
            continue
        value = value_at(recipe, path)
        changed = info.is_required() or value != info.get_default(call_default_factory=True)
        setting = Setting(path, label_of(path), told(path, value), changed, changed or path in _MAIN)
        found[_group_of(path)].append(setting)
    return [(name, settings) for name, settings in found.items() if settings]


def label_of(path: str) -> str:
    """What a field is called beside others of its group."""
    return _LABELS.get(path, path.rpartition(".")[2].replace("_", " "))


def grouped(paths: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Paths of fields by group, in the order in which a recipe is told; the name stands before all, in no group."""
    found: dict[str, list[str]] = {"": [], **{name: [] for name, _ in _GROUPS}}
    for path in paths:
        found["" if path == "name" else _group_of(path)].append(path)
    return [(name, given) for name, given in found.items() if given]


def _group_of(path: str) -> str:
    for name, starts in _GROUPS:
        if any(path == start or path.startswith((f"{start}.", f"{start}_")) for start in starts):
            return name
    return _GROUPS[-1][0]


def told(path: str, value: Any) -> str:
    """The value of a field in words."""
    if isinstance(value, str | int | float) and not isinstance(value, bool) and value in _MEANINGS.get(path, {}):
        return _MEANINGS[path][value]
    if path in _OWN:
        return _OWN[path](value)
    if path in _UNITS:
        return counted(value, *_UNITS[path])
    return _plain(value) or _EMPTY.get(path, "none")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _weighed(named: Iterable[tuple[str, float]]) -> str:
    return ", ".join(name + (f" × {weight:g}" if weight != 1 else "") for name, weight in named)


# Fields whose values say more than their text.
_OWN: dict[str, Callable[[Any], str]] = {
    "data": lambda value: _weighed((source.dataset, source.weight) for source in value),
    "reinforcement.rewards": lambda value: _weighed((reward.called, reward.weight) for reward in value) or "none",
    "mixture_temperature": lambda value: f"size to the power of 1/{value:g}",
    "lora.targets": lambda value: "all linear modules" if value == ["all-linear"] else ", ".join(value),
    "optimizer.warmup": lambda value: counted(int(value), "step") if value >= 1 else f"{100 * value:g}% of the steps",
    "evaluation.share": lambda value: f"{100 * value:g}% of the rows",
    "evaluation.patience": lambda value: f"after {counted(value, 'evaluation')} without a better loss",
}
