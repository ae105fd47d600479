"""The text part of models that see images, too: its configuration, and its tensors by the names that the text model has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from llmops_tui.foreign_text import JsonObject

# Models of text and images whose text part is a model of its own, which transformers loads alone.
WRAPPERS = frozenset({"gemma3", "mistral3", "qwen3_5"})
# As transformers has them where config.json is silent: files of text parts are written without what is usual.
DEFAULTS: Mapping[str, JsonObject] = {
    "gemma3_text": {
        "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-6, "sliding_window": 4096, "query_pre_attn_scalar": 256,
    },
}  # fmt: skip
# Bases of the rotary frequencies, where no parameters of them are given.
_ROTARY_DEFAULTS: Mapping[str, JsonObject] = {
    "gemma3_text": {"rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0},
}
_PREFIX = re.compile(r"^(?:model\.language_model\.|language_model\.model\.)")
_OUTPUT = re.compile(r"^language_model\.(lm_head\.)")
# As transformers takes renamings when it loads such files.
KEY_MAPPING = {
    r"^model\.language_model\.": "model.",
    r"^language_model\.model\.": "model.",
    r"^language_model\.lm_head\.": "lm_head.",
}


def wrapped(config: JsonObject) -> bool:
    """Whether a configuration is of text and images, with a text part that can be taken alone."""
    return config.get("model_type") in WRAPPERS and isinstance(config.get("text_config"), dict)


def text_part(config: JsonObject) -> JsonObject:
    """The configuration of the text part; of a text model it is the configuration itself."""
    if not wrapped(config):
        return _complete(config)
    text = dict(config["text_config"])
    if "tie_word_embeddings" in config:
        text.setdefault("tie_word_embeddings", config["tie_word_embeddings"])
    return _complete(text)


def _complete(config: JsonObject) -> JsonObject:
    family = str(config.get("model_type"))
    rotary = {} if config.get("rope_parameters") else _ROTARY_DEFAULTS.get(family, {})
    return {**DEFAULTS.get(family, {}), **rotary, **config}


def text_names(names: Iterable[str], config: JsonObject) -> dict[str, str]:
    """The text model's names of the tensors that belong to it, by their names in the file."""
    if not wrapped(config):
        return {name: name for name in names}
    found = {}
    for name in names:
        ours = _OUTPUT.sub(r"\1", _PREFIX.sub("model.", name))
        if ours != name or name.startswith("lm_head."):
            found[name] = ours
    return found
