"""Notebooks and scripts of Unsloth as recipes: the arguments of its calls are read, and nothing of them is run."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from llmops_tui.foreign_text import JsonObject
from llmops_tui.training import foreign_values as values
from llmops_tui.training.foreign_keys import Translation
from llmops_tui.training.foreign_script import Script, Unread, source_of
from llmops_tui.training.foreign_touches import UNKNOWN, Objects, Touch, touches

__all__ = ["ENDINGS", "arguments_of", "source_of", "translate"]

ENDINGS = (".py", ".ipynb")
_METHODS = {
    "SFTTrainer": "sft", "UnslothTrainer": "sft", "DPOTrainer": "dpo", "ORPOTrainer": "orpo", "KTOTrainer": "kto",
    "GRPOTrainer": "grpo",
}  # fmt: skip
_TRAINER = ("model", "args")
# The calls whose arguments say how is trained, with the names of those that may be given without one.
_CALLS: dict[str, tuple[str, ...]] = {
    "from_pretrained": ("model_name", "max_seq_length", "dtype", "load_in_4bit"),
    "get_peft_model": ("model", "r", "target_modules", "lora_alpha", "lora_dropout"),
    "LoraConfig": (), "SFTTrainer": _TRAINER, "UnslothTrainer": _TRAINER, "DPOTrainer": ("model", "ref_model", "args"),
    "ORPOTrainer": _TRAINER, "KTOTrainer": ("model", "ref_model", "args"), "GRPOTrainer": ("model", "reward_funcs", "args"),
    "SFTConfig": ("output_dir",), "TrainingArguments": ("output_dir",), "UnslothTrainingArguments": ("output_dir",),
    "DPOConfig": ("output_dir",), "ORPOConfig": ("output_dir",), "KTOConfig": ("output_dir",), "GRPOConfig": ("output_dir",),
    "train_on_responses_only": ("trainer", "instruction_part", "response_part"),
    "get_chat_template": ("tokenizer", "chat_template"), "load_dataset": ("load_dataset", "name"),
    "EarlyStoppingCallback": ("early_stopping_patience", "early_stopping_threshold"),
}  # fmt: skip
_NAMED = frozenset(_CALLS)
# Arguments by which calls hand on to each other what the script has made.
_HANDED = frozenset({"model", "tokenizer", "processing_class", "args", "peft_config", "trainer"})
_OF_THEIR_OWN = {
    "formatting_func": "writes the rows as text; here the base's chat template does",
    "data_collator": "says what of a row is learned from; here assistant_only does",
    "callbacks": "is code that runs while it trains, and is not run here",
    "ref_model": "is compared with; here the base as it was is",
}
# Readers of files, whose names say nothing of the data.
_READERS = frozenset({"json", "csv", "parquet", "arrow", "text"})
NAMES = values.TRAINING_KEYS | {
    "model_name": "base", "r": "lora.rank", "max_seq_length": "batch.max_length", "max_length": "batch.max_length",
    "use_gradient_checkpointing": "gradient_checkpointing", "gradient_checkpointing": "gradient_checkpointing",
    "load_in_4bit": "quantization.type", "early_stopping_patience": "evaluation.patience",
    "chat_template_jinja": "chat_template", "modules_to_save": "lora.modules_to_save",
}  # fmt: skip
_DEFAULTS: dict[str, Any] = values.TRAINING_ARGUMENTS | {
    "lora.rank": 16, "lora.alpha": 16, "batch.max_length": 2048, "gradient_checkpointing": True, "quantization.type": "nf4",
    "seed": 3407, "assistant_only": False,
}  # fmt: skip
_USUAL: dict[str, tuple[Any, ...]] = {"bias": ("none",), "split": ("train",), "task_type": ("CAUSAL_LM",)}
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
# Modules that Unsloth trains whole where they are among those with an adapter.
_WHOLE = ("embed_tokens", "lm_head")


_Given = list[tuple[str, ast.expr]]


@dataclass
class Arguments:
    """The arguments of calls by name, those that a later call gives otherwise, and what else the script does.

    ``measured`` has the datasets that are measured on alone.
    """

    first: JsonObject = field(default_factory=dict)
    other: list[tuple[str, Any]] = field(default_factory=list)
    touches: list[Touch] = field(default_factory=list)
    measured: list[Any] = field(default_factory=list)
    calls: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: Any, call: str = "") -> None:
        """Take an argument; of several of a name the first one counts."""
        if name not in self.first:
            self.first[name], self.calls[name] = value, call
        elif self.first[name] != value:
            self.other.append((name, value))


def arguments_of(source: str) -> Arguments | None:
    """The arguments of the calls that train, in their order; none where it is no Python, or trains nothing."""
    try:
        return _Reader(Script(ast.parse(source), _NAMED)).read()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Reader:
    """Reads the calls of one script, and what else it does with what they are given."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._objects = Objects(script, _NAMED)
        self._found = Arguments()
        self._seen: set[int] = set()
        self._trained_on: set[int] = set()
        self._measured_on: set[int] = set()

    def read(self) -> Arguments | None:
        """All of it; none where nothing is trained."""
        script, found, trained = self._script, self._found, False
        loads: list[tuple[int, _Given]] = []
        for call in script.calls:
            name = script.called(call)
            trained = trained or script.trains(call)
            if name not in _NAMED or (trained and name in _LOADING):
                continue
            given = self._given(name, call)
            if name == "load_dataset":
                loads.append((id(call), given))
            else:
                self._call(name, given)
        if "model_name" not in found.first and "trainer" not in found.first:
            return None
        for load, given in loads:
            if self._trained_on and load not in self._trained_on | self._measured_on:
                why = "is loaded, and is not seen to be trained on; it is not among the data"
                code = next(
                    (ast.unparse(node) for key, node in given if key in ("load_dataset", "path")), "load_dataset()"
                )
                found.touches.append(Touch("load_dataset", Unread(code), why))
            else:
                self._load(given, measured=load in self._measured_on - self._trained_on)
        if self._measured_on & self._trained_on:
            why = "is not measured on; evaluation.dataset names one, and evaluation.share holds rows out"
            found.touches.append(Touch("eval_dataset", Unread("a part of what is trained on"), why, changes=False))
        for touch in touches(script, self._objects, _NAMED, self._seen):
            self._touch(touch)
        return found

    def _call(self, name: str, given: _Given) -> None:
        if name in _METHODS:
            self._found.add("trainer", _METHODS[name])
        elif name == "train_on_responses_only":
            self._found.add(name, True)
        elif name == "EarlyStoppingCallback" and all(key != "early_stopping_patience" for key, _ in given):
            self._found.add("early_stopping_patience", 1)
        for key, node in given:
            self._argument(name, key, node)

    def _given(self, name: str, call: ast.Call) -> _Given:
        """The arguments of a call by name; those in a mapping that cannot be read are named by the call."""
        positions = _CALLS[name]
        given: _Given = []
        for n, node in enumerate(call.args):
            if isinstance(node, ast.Starred):
                self._unread(f"{name}.arguments", f"*{ast.unparse(node.value)}")
            elif name == "get_peft_model" and n == 1 and self._objects.holds(node):
                given.append(("peft_config", node))
            else:
                given.append((positions[n] if n < len(positions) else f"{name}.{n + 1}", node))
        for keyword in call.keywords:
            entries = {keyword.arg: keyword.value} if keyword.arg else self._script.mapping(keyword.value)
            if entries is None:
                self._unread(f"{name}.arguments", f"**{ast.unparse(keyword.value)}")
            given += (entries or {}).items()
        return given

    def _unread(self, key: str, code: str) -> None:
        self._found.touches.append(Touch(key, Unread(code), UNREAD))

    def _argument(self, name: str, key: str, node: ast.expr) -> None:
        value = self._script.value(node)
        if key == "train_dataset":
            loaded = self._objects.loaded(node)
            self._trained_on |= loaded
            if not loaded:
                self._own(key, node, "is not what load_dataset gives; data are looked up by name here")
        elif key == "eval_dataset":
            self._measured_on |= self._objects.loaded(node)
            if value is not None and not self._objects.loaded(node):
                self._own(key, node, "is only measured on; evaluation.dataset names one", changes=False)
        elif key == "model" and isinstance(value, str) and not isinstance(value, Unread):
            self._found.add("model_name", value, name)
        elif key in _HANDED:
            if value is not None and not self._objects.holds(node):
                self._own(key, node, UNKNOWN)
        elif key in _OF_THEIR_OWN:
            self._own_code(key, node)
        else:
            self._found.add(key, value, name)

    def _own_code(self, key: str, node: ast.expr) -> None:
        """What is the script's own, where it is not known to change nothing."""
        meant = self._script.meant(node)
        if key == "callbacks" and isinstance(meant, ast.List):
            for one in meant.elts:
                if self._script.called(self._script.meant(one)) != "EarlyStoppingCallback":
                    self._own(key, one, _OF_THEIR_OWN[key])
        elif key == "data_collator" and self._script.called(meant) == "DataCollatorForSeq2Seq":
            self._own(key, node, "only pads, and is never learned from", changes=False)
            self._see(meant)
        elif not (isinstance(meant, ast.Constant) and meant.value is None):
            self._own(key, node, _OF_THEIR_OWN[key])
            self._see(meant)

    def _own(self, key: str, node: ast.expr, why: str, *, changes: bool = True) -> None:
        self._found.touches.append(Touch(key, Unread(ast.unparse(node)), why, changes))
        self._see(node)

    def _see(self, node: ast.expr) -> None:
        self._seen |= {id(part) for part in ast.walk(node)}

    def _load(self, given: _Given, *, measured: bool) -> None:
        read = {"load_dataset" if key == "path" else key: self._script.value(node) for key, node in given}
        files = read.get("data_files")
        first = files[0] if isinstance(files, list) and files else files
        if read.get("load_dataset") in _READERS and isinstance(first, str) and not isinstance(first, Unread):
            read["load_dataset"] = first
            del read["data_files"]
        name = read.pop("load_dataset", None)
        if measured:
            self._found.measured.append(name)
            return
        if name is not None:
            self._found.first.setdefault("load_dataset", []).append(name)
        for key, value in read.items():
            self._found.add(key, value, "load_dataset")

    def _touch(self, touch: Touch) -> None:
        """What the script does; a template and tokens that are written in it are fields of a recipe."""
        statement = ast.parse(touch.code).body[0] if touch.key.endswith((".chat_template", "_tokens")) else None
        if isinstance(statement, ast.Assign) and touch.key.endswith(".chat_template"):
            value = self._script.value(statement.value)
            if isinstance(value, str) and not isinstance(value, Unread):
                self._found.add("chat_template_jinja", value)
                return
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            tokens = self._tokens(statement.value)
            if tokens is not None:
                self._found.add("tokens", tokens)
                return
        self._found.touches.append(touch)

    def _tokens(self, call: ast.Call) -> list[str] | None:
        """The tokens that a call adds; none where they are not written, or where others are changed."""
        name = self._script.called(call)
        argument = {"add_tokens": 0, "add_special_tokens": 0, "add_new_tokens": 2}.get(name)
        nodes = [one.value for one in call.keywords if one.arg in ("new_tokens", "special_tokens_dict")]
        if argument is not None and argument < len(call.args):
            nodes.insert(0, call.args[argument])
        value = self._script.value(nodes[0]) if argument is not None and nodes else None
        if isinstance(value, dict) and set(value) == {"additional_special_tokens"}:
            value = value["additional_special_tokens"]
        value = [value] if isinstance(value, str) and not isinstance(value, Unread) else value
        return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None


def translate(found: Arguments) -> Translation:
    """The arguments' fields, and what of them was left out."""
    given = found.first
    made = Translation("Unsloth", given, dict(_DEFAULTS), grpo=given.get("trainer") == "grpo")
    for key, value in found.other:
        made.leave(key, str(value) if isinstance(value, Unread) else value, TWICE, changes=not made.harmless(key))
    for key, value in given.items():
        if isinstance(value, Unread):
            type_of_device = key in {"bf16", "fp16", "dtype"}
            made.leave(
                key,
                str(value),
                "leaves the type to the device" if type_of_device else UNREAD,
                changes=not type_of_device and not made.harmless(key),
            )
    # What is not written as a value is seen to.
    made.given = {key: value for key, value in given.items() if not isinstance(value, Unread)}
    made.carry(NAMES, _converted)
    values.steps_of(made)
    values.warmup_of(made)
    values.types_of(made)
    values.betas_of(made)
    values.kernels_of(made, ("use_liger_kernel",))
    _adapter(made, found.calls)
    values.template_of(made, "chat_template")
    values.tokens_of(made, ("tokens",))
    _method(made)
    _data(made, found)
    values.evaluation_of(made)
    for key, usual in _USUAL.items():
        if made.given.get(key) in usual:
            made.leave(key, made.take(key), "is what happens here", changes=False)
    for key, why in _SEEN_TO.items():
        if key in made.given:
            made.leave(key, made.take(key), why, changes=False)
    for touch in found.touches:
        made.leave(touch.key, str(touch.code), touch.why, changes=touch.changes)
    return made


def _data(made: Translation, found: Arguments) -> None:
    """What is trained on, and the one dataset that is measured on."""
    names = [values.dataset_name(str(name)) for name in made.take("load_dataset") or []]
    made.put("data", [{"dataset": name} for name in names])
    for n, given in enumerate(found.measured):
        name = values.dataset_name(str(given))
        if isinstance(given, Unread) or n or name in names:
            made.leave("eval_dataset", str(given), "is not measured on; evaluation.dataset names one", changes=False)
        else:
            # An argument that is no value has no other key.
            made.given["eval_dataset"] = given
            made.put("evaluation.dataset", name, "eval_dataset")
            made.take("eval_dataset")


def _adapter(made: Translation, calls: dict[str, str]) -> None:
    """Which modules have an adapter, which are trained whole, and what it begins as."""
    targets = made.given.get("target_modules")
    if calls.get("target_modules") == "get_peft_model" and isinstance(targets, list):
        whole = [name for name in targets if name in _WHOLE]
        if whole:
            # Unsloth moves them there.
            made.given["target_modules"] = [name for name in targets if name not in _WHOLE]
            before = made.found.get("lora.modules_to_save")
            whole = [*dict.fromkeys((*(before if isinstance(before, list) else []), *whole))]
            made.found["lora.modules_to_save"] = whole
            made.origin["lora.modules_to_save"] = "target_modules" if before is None else "modules_to_save"
            if whole == targets:
                made.leave(
                    "target_modules", targets, "are trained whole, and nothing has an adapter; here all-linear has one"
                )
    values.targets_of(made, "target_modules")
    values.start_of(made, "init_lora_weights")
    if made.given.get("loftq_config"):
        values.loftq_of(made, "loftq_config", made.take("loftq_config"))


def _method(made: Translation) -> None:
    """What is trained, and by which method."""
    if made.take("full_finetuning"):
        made.put("tuning", "full", "full_finetuning")
        made.put("quantization.type", "none", "full_finetuning")
    if made.take("load_in_8bit"):
        made.leave("load_in_8bit", True, "is a base in 8 bits; here it would be in 16")
    if made.take("train_on_responses_only"):
        made.put("assistant_only", True, "train_on_responses_only")
    for key in ("assistant_only_loss", "completion_only_loss"):
        if made.take(key):
            made.put("assistant_only", True, key)
    method = made.take("trainer")
    if method == "sft":
        made.put("method", method, "trainer")
    elif method is not None:
        values.method_of(made, "trainer", method, "sft")


def _converted(path: str, value: Any) -> Any:
    if path == "quantization.type":
        return "nf4" if value else "none"
    return values.converted(path, value)
