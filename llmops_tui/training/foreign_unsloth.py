"""Notebooks and scripts of Unsloth as recipes: the arguments of its calls are read, and nothing of them is run."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from typing import Any

from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.training import foreign_values as values
from llmops_tui.training.foreign_keys import Translation, harmless

ENDINGS = (".py", ".ipynb")
# The calls whose arguments say how is trained; the others read data, generate, or save.
_CALLS = frozenset({
    "from_pretrained", "get_peft_model", "SFTTrainer", "SFTConfig", "TrainingArguments", "UnslothTrainer",
    "UnslothTrainingArguments", "DPOTrainer", "DPOConfig", "ORPOTrainer", "ORPOConfig", "KTOTrainer", "KTOConfig",
    "GRPOTrainer", "GRPOConfig", "train_on_responses_only", "get_chat_template", "load_dataset",
})  # fmt: skip
_METHODS = {
    "SFTTrainer": "sft", "UnslothTrainer": "sft", "DPOTrainer": "dpo", "ORPOTrainer": "orpo", "KTOTrainer": "kto",
    "GRPOTrainer": "grpo",
}  # fmt: skip
# Objects that calls hand on to each other.
_OBJECTS = frozenset({
    "model", "tokenizer", "processing_class", "train_dataset", "eval_dataset", "args", "data_collator", "callbacks",
    "formatting_func", "peft_config", "ref_model", "trainer",
})  # fmt: skip
NAMES = values.TRAINING_KEYS | {
    "model_name": "base", "r": "lora.rank", "max_seq_length": "batch.max_length", "max_length": "batch.max_length",
    "use_gradient_checkpointing": "gradient_checkpointing", "gradient_checkpointing": "gradient_checkpointing",
    "load_in_4bit": "quantization.type",
}  # fmt: skip
_DEFAULTS: dict[str, Any] = values.TRAINING_ARGUMENTS | {
    "lora.rank": 16, "lora.alpha": 16, "batch.max_length": 2048, "gradient_checkpointing": True, "quantization.type": "nf4",
    "seed": 3407, "assistant_only": False,
}  # fmt: skip
_USUAL: dict[str, tuple[Any, ...]] = {"bias": ("none",), "split": ("train",)}
_SEEN_TO = {
    "instruction_part": "is found by the chat template",
    "response_part": "is found by the chat template",
    "random_state": "is the seed of the adapter's start; the recipe has one seed",
    "dtype": "leaves the type to the device",
}
UNREAD = "is not written as a value, so it cannot be read"
TWICE = "is given as well; what is given first counts"
# Calls that load: behind the training they load its result.
_LOADING = frozenset({"from_pretrained", "get_chat_template"})


def source_of(text: str, ending: str) -> str:
    """The Python of a script, or of a notebook's cells."""
    if ending == ".py":
        return text
    try:
        cells = parse_json(text.encode())["cells"]
    except (ValueError, KeyError, TypeError):
        return ""
    cells = [cell for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []
    code = ["".join(map(str, cell.get("source") or [])) for cell in cells if cell.get("cell_type") == "code"]
    # Lines that a notebook takes for itself are no Python.
    lines = [line for cell in code for line in cell.splitlines() if not line.lstrip().startswith(("!", "%"))]
    return "\n".join(lines)


@dataclass
class Arguments:
    """The arguments of calls by name, and those that a later call gives otherwise."""

    first: JsonObject = field(default_factory=dict)
    other: list[tuple[str, Any]] = field(default_factory=list)

    def add(self, name: str, value: Any) -> None:
        """Take an argument; of several of a name the first one counts."""
        if name not in self.first:
            self.first[name] = value
        elif self.first[name] != value:
            self.other.append((name, value))


def arguments_of(source: str) -> Arguments | None:
    """The arguments of the calls that train, in their order; none where it is no Python, or trains nothing."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    known: JsonObject = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, _literal(node.value, {})
            # Which of two values a name has where it is used, only running it would tell.
            known[name] = value if known.get(name, value) == value else _Unread(name)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found, trained = Arguments(), False
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        name = _called(call)
        trained = trained or name == "train"
        if name in _CALLS and not (trained and name in _LOADING):
            _read_call(name, call, known, found)
    return found if "model_name" in found.first else None


def _read_call(name: str, call: ast.Call, known: JsonObject, found: Arguments) -> None:
    if name in _METHODS:
        found.add("trainer", _METHODS[name])
    if name == "train_on_responses_only":
        found.add(name, True)
    if call.args and name == "load_dataset":
        found.first.setdefault(name, []).append(_literal(call.args[0], known))
    if call.args and name == "from_pretrained":
        found.add("model_name", _literal(call.args[0], known))
    for keyword in call.keywords:
        if keyword.arg is not None and keyword.arg not in _OBJECTS:
            found.add(keyword.arg, _literal(keyword.value, known))


class _Unread(str):
    """Code in the place of a value."""

    __slots__ = ()


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else str(getattr(node.func, "id", ""))


def _literal(node: ast.expr, known: JsonObject) -> Any:
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    try:
        value = ast.literal_eval(node)
        json.dumps(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _Unread(ast.unparse(node))
    return value


def translate(found: Arguments) -> Translation:
    """The arguments' fields, and what of them was left out."""
    given = found.first
    made = Translation("Unsloth", given, dict(_DEFAULTS))
    for key, value in found.other:
        made.leave(key, str(value) if isinstance(value, _Unread) else value, TWICE, changes=not harmless(key))
    for key, value in given.items():
        if isinstance(value, _Unread):
            type_of_device = key in {"bf16", "fp16", "dtype"}
            made.leave(
                key,
                str(value),
                "leaves the type to the device" if type_of_device else UNREAD,
                changes=not type_of_device,
            )
    # What is not written as a value is seen to.
    made.given = {key: value for key, value in given.items() if not isinstance(value, _Unread)}
    made.carry(NAMES, _converted)
    values.steps_of(made)
    values.warmup_of(made)
    values.types_of(made)
    values.betas_of(made)
    values.kernels_of(made, ("use_liger_kernel",))
    values.targets_of(made, "target_modules")
    values.template_of(made, "chat_template")
    _method(made)
    made.put("data", [{"dataset": values.dataset_name(str(name))} for name in made.take("load_dataset") or []])
    for key, usual in _USUAL.items():
        if made.given.get(key) in usual:
            made.leave(key, made.take(key), "is what happens here", changes=False)
    for key, why in _SEEN_TO.items():
        if key in made.given:
            made.leave(key, made.take(key), why, changes=False)
    return made


def _method(made: Translation) -> None:
    """What is trained, and by which method."""
    if made.take("full_finetuning"):
        made.put("tuning", "full", "full_finetuning")
        made.put("quantization.type", "none", "full_finetuning")
    if made.take("load_in_8bit"):
        made.leave("load_in_8bit", True, "is a base in 8 bits; here it would be in 16")
    if made.take("train_on_responses_only"):
        made.put("assistant_only", True, "train_on_responses_only")
    method = made.take("trainer")
    if method == "sft":
        made.put("method", method, "trainer")
    elif method is not None:
        values.method_of(made, "trainer", method, "sft")


def _converted(path: str, value: Any) -> Any:
    if path == "quantization.type":
        return "nf4" if value else "none"
    return values.converted(path, value)
