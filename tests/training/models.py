"""Tiny random models of every family, as Hugging Face saves them, made without any download."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from llmops_tui.sample_files import sample_folder
from llmops_tui.training.families import linear_targets

_SMALL: dict[str, Any] = {
    "vocab_size": 2048, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 256, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": None,
}  # fmt: skip
FAMILIES = (
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "mixtral", "qwen3_moe",
    "smollm3", "granite", "olmo2", "glm4", "olmo3", "ministral3", "lfm2", "gpt_oss", "qwen3_5_text",
)  # fmt: skip


# Scaled as large models are, at the lengths that small ones have.
_YARN = {
    "rope_type": "yarn", "rope_theta": 150000.0, "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32.0,
    "beta_slow": 1.0, "truncate": True,
}  # fmt: skip
_TEMPERED = {
    "rope_type": "yarn", "rope_theta": 1e6, "factor": 8.0, "original_max_position_embeddings": 32, "beta_fast": 32.0,
    "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
}  # fmt: skip
_SECTIONED = {
    "rope_type": "default", "rope_theta": 1e6, "partial_rotary_factor": 0.5, "mrope_interleaved": True,
    "mrope_section": [2, 1, 1],
}  # fmt: skip


def config_of(family: str) -> Any:
    """A small configuration of a family."""
    import transformers as t

    grouped = _SMALL | {"num_key_value_heads": 2}
    makers: dict[str, Any] = {
        "llama": lambda: t.LlamaConfig(**grouped),
        "mistral": lambda: t.MistralConfig(**grouped, head_dim=16, sliding_window=None),
        "qwen2": lambda: t.Qwen2Config(**grouped),
        "qwen3": lambda: t.Qwen3Config(**grouped, head_dim=32),
        "gemma": lambda: t.GemmaConfig(**grouped, head_dim=16),
        "gemma2": lambda: t.Gemma2Config(**grouped, head_dim=16, query_pre_attn_scalar=16, sliding_window=128),
        "gemma3_text": lambda: t.Gemma3TextConfig(**grouped, head_dim=16, query_pre_attn_scalar=16, sliding_window=128),
        "phi": lambda: t.PhiConfig(**_SMALL, partial_rotary_factor=0.5),
        "phi3": lambda: t.Phi3Config(**grouped),
        "mixtral": lambda: t.MixtralConfig(**grouped, num_local_experts=4, head_dim=16),
        "qwen3_moe": lambda: t.Qwen3MoeConfig(
            **grouped, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, head_dim=32, norm_topk_prob=True
        ),
        "smollm3": lambda: t.SmolLM3Config(**grouped | {"num_hidden_layers": 4}),
        "granite": lambda: t.GraniteConfig(
            **grouped,
            embedding_multiplier=12.0,
            residual_multiplier=0.22,
            attention_multiplier=0.0625,
            logits_scaling=8.0,
        ),
        "olmo2": lambda: t.Olmo2Config(**grouped),
        "glm4": lambda: t.Glm4Config(**grouped, head_dim=16, attention_bias=True),
        "olmo3": lambda: t.Olmo3Config(**grouped | {"num_hidden_layers": 4}, sliding_window=32),
        "ministral3": lambda: t.Ministral3Config(**grouped, head_dim=16, rope_parameters=_TEMPERED),
        "lfm2": lambda: t.Lfm2Config(**grouped | {"num_hidden_layers": 4}, full_attn_idxs=[1, 3], block_multiple_of=16),
        "gpt_oss": lambda: t.GptOssConfig(
            **grouped, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=32, rope_parameters=_YARN
        ),
        "qwen3_5_text": lambda: t.Qwen3_5TextConfig(
            **grouped | {"num_hidden_layers": 4},
            head_dim=16,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            linear_num_key_heads=2,
            linear_num_value_heads=6,
            rope_parameters=_SECTIONED,
        ),
    }
    return makers[family]()


def make_model(family: str, folder: Path, *, tied: bool | None = None) -> Path:
    """Save a random model of a family, with the sample's tokenizer and template, in 16 bits that GGUF keeps exactly."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    config = config_of(family)
    if tied is not None:
        config.tie_word_embeddings = tied
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                # Norms and biases that do nothing would hide that they are in the wrong place.
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif "embed" not in name:
                parameter.mul_(3)
            parameter.copy_(parameter.half().float())
    model.save_pretrained(folder)
    source = sample_folder() / "models" / "support-base"
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(source / name, folder / name)
    return folder


def make_adapter(base: Path, folder: Path, *, rank: int = 4, alpha: int = 12, **options: Any) -> Path:
    """Save a random LoRA adapter of every linear module of a model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(11)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    targets = linear_targets(model.config.model_type)
    given = {"r": rank, "lora_alpha": alpha, "target_modules": targets, "task_type": "CAUSAL_LM"} | options
    peft = get_peft_model(model, LoraConfig(**given))
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_magnitude" in name:
                parameter.mul_(1 + torch.rand_like(parameter))
            elif "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.15)
    peft.save_pretrained(folder, save_embedding_layers=False)
    return folder
