"""LLaMA-Factory's configurations as recipes."""

from __future__ import annotations

from typing import Any

from llmops_tui.foreign_text import JsonObject
from llmops_tui.training import foreign_values as values
from llmops_tui.training.foreign_keys import Translation

NAMES = values.TRAINING_KEYS | {
    "model_name_or_path": "base", "lora_rank": "lora.rank", "loraplus_lr_ratio": "optimizer.lora_plus_ratio",
    "cutoff_len": "batch.max_length", "pref_beta": "beta",
    "mask_history": "mask_history", "enable_thinking": "chat_template_kwargs.enable_thinking",
    "early_stopping_steps": "evaluation.patience",
}  # fmt: skip
_DEFAULTS: dict[str, Any] = values.TRAINING_ARGUMENTS | {
    "lora.rank": 8, "lora.dropout": 0.0, "batch.max_length": 2048, "optimizer.name": "adamw_torch_fused",
}  # fmt: skip
# Keys with the value that they have there where nobody says otherwise, and that happens here.
_USUAL: dict[str, tuple[Any, ...]] = {
    "pref_ftx": (0, 0.0), "pref_bco_weight": (0, 0.0), "kto_chosen_weight": (1, 1.0),
    "kto_rejected_weight": (1, 1.0), "quantization_method": ("bnb", "bitsandbytes", "BNB"), "mix_strategy": ("concat",),
    "label_smoothing_factor": (0, 0.0), "dpo_label_smoothing": (0, 0.0), "ignore_pad_token_for_loss": (True,),
    "model_revision": ("main",), "resize_vocab": (True,),
}  # fmt: skip


def translate(body: JsonObject) -> Translation:
    """A configuration's fields, and what of it was left out."""
    made = Translation("LLaMA-Factory", body, dict(_DEFAULTS))
    made.put("lora.alpha", 2 * rank if isinstance(rank := body.get("lora_rank"), int) else 16)
    made.carry(NAMES, values.converted)
    values.common_of(made, share="val_size", targets="lora_target")
    values.kernels_of(made, ("enable_liger_kernel", "use_liger_kernel"))
    if "train_on_prompt" in body:
        made.put("assistant_only", not made.take("train_on_prompt"), "train_on_prompt")
    if "disable_gradient_checkpointing" in body:
        made.put(
            "gradient_checkpointing",
            not made.take("disable_gradient_checkpointing"),
            "disable_gradient_checkpointing",
        )
    _base(made)
    _method(made)
    values.template_of(made, "template")
    _datasets(made)
    values.tokens_of(made, ("add_tokens", "add_special_tokens", "new_special_tokens"))
    values.evaluation_of(made)
    for key, usual in _USUAL.items():
        value = made.given.get(key)
        if value in usual:
            made.leave(key, made.take(key), "is what happens here", changes=False)
    return made


def _base(made: Translation) -> None:
    kind = made.take("finetuning_type", "lora")
    if kind == "full":
        made.put("tuning", "full", "finetuning_type")
    elif kind != "lora":
        made.leave("finetuning_type", kind, f"is no LoRA: {kind} is trained; here a LoRA adapter would be")
    if made.take("pissa_init"):
        made.put("lora.init", "pissa", "pissa_init")
        if (convert := made.take("pissa_convert")) is not None:
            made.leave("pissa_convert", convert, "is done here as well", changes=not values.switched_on(convert))
    extra = made.take("additional_target")
    if extra:
        names = extra.split(",") if isinstance(extra, str) else values.listed(extra)
        made.put("lora.modules_to_save", [str(name).strip() for name in names], "additional_target")
    bits = made.take("quantization_bit")
    if bits == 4:
        made.put("quantization.type", made.take("quantization_type", "nf4"), "quantization_bit")
        made.put("quantization.double", made.take("double_quantization", True), "double_quantization")
    elif bits is not None:
        made.leave("quantization_bit", bits, f"is a base in {bits} bits; here it would be in 16")


def _method(made: Translation) -> None:
    stage = made.take("stage", "sft")
    loss = made.take("pref_loss", "sigmoid")
    if stage == "pt":
        made.put("method", "pretrain", "stage")
        made.put("assistant_only", False)
    elif stage == "sft":
        made.put("method", "sft", "stage")
    elif stage == "dpo":
        values.method_of(made, "pref_loss", loss, "dpo")
    else:
        values.method_of(made, "stage", stage, "dpo" if stage == "rm" else "sft")


def _datasets(made: Translation) -> None:
    def names(key: str) -> list[str]:
        given = made.take(key)
        listed = given.split(",") if isinstance(given, str) else values.listed(given)
        return [values.dataset_name(str(name).strip()) for name in listed if str(name).strip()]

    made.put("data", [{"dataset": name} for name in names("dataset")], "dataset")
    measured = names("eval_dataset")
    if measured:
        made.put("evaluation.dataset", measured[0], "eval_dataset")
    for name in measured[1:]:
        made.leave("eval_dataset", name, "is not measured on: one dataset is", changes=False)
