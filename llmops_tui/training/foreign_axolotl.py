"""axolotl's configurations as recipes."""

from __future__ import annotations

from typing import Any

from llmops_tui.foreign_text import JsonObject
from llmops_tui.training import foreign_values as values
from llmops_tui.training.foreign_keys import NO_COUNTERPART, TEMPLATE, WEIGHTS, Translation

NAMES = {
    "base_model": "base", "lora_r": "lora.rank", "lora_alpha": "lora.alpha", "loraplus_lr_ratio": "optimizer.lora_plus_ratio",
    "lora_modules_to_save": "lora.modules_to_save", "lora_dropout": "lora.dropout",
    "peft_use_dora": "lora.dora", "peft_use_rslora": "lora.rslora", "sequence_len": "batch.max_length",
    "sample_packing": "batch.packing", "micro_batch_size": "batch.size", "gradient_accumulation_steps": "batch.accumulation",
    "num_epochs": "epochs", "max_steps": "max_steps", "optimizer": "optimizer.name", "lr_scheduler": "optimizer.schedule",
    "learning_rate": "optimizer.learning_rate", "weight_decay": "optimizer.weight_decay",
    "max_grad_norm": "optimizer.max_grad_norm", "gradient_checkpointing": "gradient_checkpointing", "seed": "seed",
    "eval_steps": "evaluation.every", "save_steps": "checkpoints.every", "save_total_limit": "checkpoints.keep",
    "early_stopping_patience": "evaluation.patience", "group_by_length": "batch.group_by_length", "rl_beta": "beta",
    "dpo_beta": "beta", "orpo_alpha": "beta", "chat_template_kwargs": "chat_template_kwargs",
}  # fmt: skip
# What axolotl does where a key is not there, and a recipe would do otherwise.
_DEFAULTS: dict[str, Any] = {
    "lora.rank": 8, "lora.alpha": 16, "batch.max_length": 512, "batch.size": 1, "batch.accumulation": 1, "epochs": 1.0,
    "optimizer.name": "adamw_torch_fused", "gradient_checkpointing": False, "seed": 42, "evaluation.share": 0.0,
}  # fmt: skip
# Values of a dataset's keys that say what happens here anyway.
_AS_HERE: dict[str, tuple[Any, ...]] = {
    "chat_template": ("tokenizer_default", "jinja"), "roles_to_train": (["assistant"], ["gpt"], ["assistant", "gpt"]),
    "train_on_eos": ("turn",), "train_on_eot": ("turn",), "message_field_training": ("train", "training", "weight",
    "loss_weight", "loss"), "type": ("chat_template", "chat_template.default", "chat_template.argilla", "sharegpt",
    "completion", "pretrain", "orpo.chat_template"), "split": ("train",), "drop_system_message": (False,),
}  # fmt: skip
# Keys of a dataset that say where it is, or how its columns are called, which the import has read.
_READ_AT_IMPORT = frozenset({
    "path", "name", "ds_type", "data_files", "field", "field_messages", "field_human", "field_model", "field_chosen",
    "field_rejected", "field_tools", "field_thinking", "message_field_role", "message_field_content", "conversation",
    "message_property_mappings", "text_column", "trust_remote_code", "preprocess_shards", "roles", "input_format",
})  # fmt: skip
_READERS = {"json", "csv", "parquet", "arrow", "text"}
_PLUGINS = ("LigerPlugin", "CutCrossEntropyPlugin")
# Liger's kernels of layers; that of the loss is not needed, which TRL computes in tiles.
_LIGER = (
    "liger_rope", "liger_rms_norm", "liger_rms_norm_gated", "liger_layer_norm", "liger_glu_activation", "liger_swiglu",
)  # fmt: skip


def translate(body: JsonObject) -> Translation:
    """A configuration's fields, and what of it was left out."""
    made = Translation("axolotl", body, dict(_DEFAULTS), grpo=body.get("rl") == "grpo")
    made.carry(NAMES, values.converted)
    values.common_of(made, share="val_set_size", targets="lora_target_modules")
    values.kernels_of(made, _LIGER, named=False)
    _attention(made)
    if made.take("lora_target_linear"):
        made.put("lora.targets", ["all-linear"], "lora_target_linear")
    if "train_on_inputs" in body:
        made.put("assistant_only", not made.take("train_on_inputs"), "train_on_inputs")
    _base(made)
    _method(made)
    values.template_of(made, "chat_template", made.take("chat_template_jinja"))
    _tokens(made)
    values.tokens_of(made, ("tokens",))
    values.start_of(made, "peft_init_lora_weights")
    _libraries(made)
    _plugins(made)
    _datasets(made)
    values.evaluation_of(made)
    return made


def _base(made: Translation) -> None:
    """How the base is held, and what of it is trained."""
    adapter, four = made.take("adapter"), made.take("load_in_4bit")
    if adapter in ("lora", "qlora"):
        made.put("quantization.type", "nf4" if four or adapter == "qlora" else "none", "adapter")
        if four:
            made.origin["quantization.type"] = "load_in_4bit"
    elif adapter or four:
        made.put("quantization.type", "nf4" if four else "none")
        made.leave(
            "adapter", adapter, "is no LoRA" if adapter else "is none, of a base in 4 bits, which cannot be trained"
        )
    else:
        made.put("quantization.type", "none")
        made.put("tuning", "full", "adapter")
    if made.take("load_in_8bit"):
        made.leave("load_in_8bit", True, "is a base in 8 bits; here it would be in 16")


def _attention(made: Translation) -> None:
    """Attention that sees a part of the tokens; all others compute the same."""
    given = made.given
    for key, partial in (
        ("s2_attention", values.switched_on(given.get("s2_attention"))),
        ("attn_implementation", given.get("attn_implementation") == "s2"),
    ):
        if partial:
            made.leave(key, made.take(key), "is attention to a part of the tokens; here it would be to all")


def _method(made: Translation) -> None:
    # A type may be a prompt format of the file's own: a mapping.
    kinds = [d.get("type") for d in values.listed(made.given.get("datasets")) if isinstance(d, dict)]
    if (rl := made.take("rl")) is not None:
        values.method_of(made, "rl", rl, "dpo" if rl in ("ipo", "simpo") else "sft")
    elif made.given.get("pretraining_dataset") or (kinds and all(kind in ("completion", "pretrain") for kind in kinds)):
        made.put("method", "pretrain")
        made.put("assistant_only", False)
        texts = made.given.get("pretraining_dataset")
        if texts and not all(kind in ("completion", "pretrain") for kind in kinds):
            made.leave(
                "pretraining_dataset",
                texts,
                "makes it a run that learns from texts; the rows of datasets become texts as well, with their prompts learned",
            )


def _tokens(made: Translation) -> None:
    """Special tokens: a token to pad with is never learned from; others are other tokens."""
    tokens = made.take("special_tokens")
    for name, token in tokens.items() if isinstance(tokens, dict) else ():
        pads = name == "pad_token"
        why = "only pads, and is never learned from" if pads else "is another token than the base's tokenizer has"
        if name == "additional_special_tokens":
            why = "are tokens beside those of the base; such as it has not are named in tokens"
        made.leave(f"special_tokens.{name}", token, why, changes=not pads and token is not None)
    if tokens is not None and not isinstance(tokens, dict):
        made.leave("special_tokens", tokens, NO_COUNTERPART)


def _libraries(made: Translation) -> None:
    """Settings of PEFT's own, and of TRL's."""
    trl = made.take("trl")
    for name, value in trl.items() if isinstance(trl, dict) else ():
        made.leave(f"trl.{name}", value, made.lost(name))
    if trl is not None and not isinstance(trl, dict):
        made.leave("trl", trl, NO_COUNTERPART)
    settings = made.take("peft")
    for name, value in settings.items() if isinstance(settings, dict) else ():
        if name == "loftq_config" and value:
            values.loftq_of(made, "peft.loftq_config", value)
        else:
            made.leave(f"peft.{name}", value, NO_COUNTERPART)
    if settings is not None and not isinstance(settings, dict):
        made.leave("peft", settings, NO_COUNTERPART)


def _plugins(made: Translation) -> None:
    """Parts of axolotl: those that only make it faster are not needed."""
    for plugin in values.listed(made.take("plugins")):
        fast = str(plugin).rpartition(".")[2] in _PLUGINS
        made.leave(
            f"plugins.{str(plugin).rpartition('.')[2]}",
            plugin,
            "is about speed and memory, not about what is learned" if fast else NO_COUNTERPART,
            changes=not fast,
        )


def _datasets(made: Translation) -> None:
    data, listed = [], []
    for key in ("datasets", "pretraining_dataset"):
        listed += [(key, n, dataset) for n, dataset in enumerate(values.listed(made.take(key)))]
    for key, n, dataset in listed:
        if not isinstance(dataset, dict):
            data.append({"dataset": values.dataset_name(str(dataset))})
            continue
        if dataset.get("path"):
            data.append({"dataset": _name(dataset)})
        _parts(made, f"{key}[{n}]", dataset)
    made.put("data", data)
    for n, dataset in enumerate(values.listed(made.take("test_datasets"))):
        name = _name(dataset) if isinstance(dataset, dict) else values.dataset_name(str(dataset))
        if n == 0:
            made.put("evaluation.dataset", name, "test_datasets")
        else:
            made.leave(f"test_datasets[{n}]", dataset, "is not measured on: one dataset is", changes=False)


def _name(dataset: JsonObject) -> str:
    files = dataset.get("data_files")
    first = files[0] if isinstance(files, list) and files else files
    if first and dataset.get("path") in _READERS:
        return values.dataset_name(str(first))
    return values.dataset_name(str(dataset.get("path")))


def _parts(made: Translation, place: str, dataset: JsonObject) -> None:
    """What a dataset says beside where it is."""
    jinja = dataset.get("chat_template_jinja")
    for key, value in dataset.items():
        named = f"{place}.{key}"
        if value in (None, "", False) or value in ([], {}):
            made.leave(named, value, "is off", changes=False)
        elif key in _READ_AT_IMPORT:
            made.leave(named, value, "is about how the data are read, which the import does", changes=False)
        elif value in _AS_HERE.get(key, ()):
            made.leave(named, value, "is what happens here", changes=False)
        elif key == "chat_template_jinja" and jinja and "chat_template" not in made.found:
            made.put("chat_template", str(jinja), named)
        else:
            made.leave(named, value, _why(key))


def _why(key: str) -> str:
    if key == "type":
        return "is a prompt format of axolotl's own; here rows are written by the base's chat template"
    return {"chat_template": TEMPLATE, "weight": WEIGHTS}.get(key, NO_COUNTERPART)
