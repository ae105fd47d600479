"""Limits on figures in a model file's header, checked before memory is allocated."""

from __future__ import annotations

from collections.abc import Mapping

LAYERS = 4096
_TOKENS = 2**31 - 1
_WIDTH = 2**24
_HEADS = 2**16
# Figures of a GGUF header, behind the name of the architecture.
_OF_ARCHITECTURE = {
    **dict.fromkeys(("block_count", "nextn_predict_layers", "leading_dense_block_count"), LAYERS),
    **dict.fromkeys(("attention.shared_kv_layers", "full_attention_interval"), LAYERS),
    **dict.fromkeys(("context_length", "attention.sliding_window", "vocab_size"), _TOKENS),
    **dict.fromkeys(("embedding_length", "embedding_length_out", "feed_forward_length", "expert_feed_forward_length"), _WIDTH),
    **dict.fromkeys(("expert_count", "expert_used_count", "attention.head_count", "attention.head_count_kv"), _HEADS),
    **dict.fromkeys(
        (f"attention.{part}_length{form}" for part in ("key", "value") for form in ("", "_swa", "_mla")), _WIDTH
    ),
    # Of which layers the window is: a number, or a truth for each layer.
    "attention.sliding_window_pattern": LAYERS,
    "pooling_type": 100,
}  # fmt: skip
_GENERAL = {"split.count": 100_000, "split.no": 100_000, "general.file_type": 100_000}
# Of a configuration as transformers has it.
_OF_CONFIGURATION = {
    "num_hidden_layers": LAYERS, "hidden_size": _WIDTH, "intermediate_size": _WIDTH, "head_dim": _WIDTH,
    "num_attention_heads": _HEADS, "num_key_value_heads": _HEADS, "vocab_size": _TOKENS,
    "max_position_embeddings": _TOKENS,
}  # fmt: skip


def exceeded_limit(metadata: Mapping[str, object], architecture: str) -> str:
    """What in a GGUF header cannot be; empty where nothing is."""
    limits = _GENERAL | {f"{architecture}.{key}": limit for key, limit in _OF_ARCHITECTURE.items()}
    return next((told for key, limit in limits.items() if (told := _wrong(metadata, key, limit))), "")


def exceeded_configuration_limit(config: Mapping[str, object]) -> str:
    """What in a ``config.json`` cannot be, also in the part that a model of several kinds has for its text."""
    for part in (config, config.get("text_config")):
        if isinstance(part, Mapping):
            for key, limit in _OF_CONFIGURATION.items():
                if told := _wrong(part, key, limit):
                    return told
    return ""


def _wrong(values: Mapping[str, object], key: str, limit: int) -> str:
    given = values.get(key)
    for value in given if isinstance(given, list) else [given]:
        if value is None:
            continue
        if not isinstance(value, int):
            return f"{key} is {str(value)[:40]!r}, not an integer"
        if not (-1 if key.endswith("pooling_type") else 0) <= value <= limit:
            return f"{key} is {value:,}, more than the maximum of {limit:,}"
    return ""
