"""Figures that some families have beyond the common ones: in ``config.json`` and in a GGUF file, both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmops_tui.training.families import Family

Figure = bool | int | float | str | list[bool] | list[int]
"""A value of a GGUF file's metadata."""

WINDOW, PATTERN = "attention.sliding_window", "attention.sliding_window_pattern"
_SLIDING, _FULL, _LINEAR, _CONV = "sliding_attention", "full_attention", "linear_attention", "conv"
_RECURRENT, _INTERVAL = "attention.recurrent_layers", "full_attention_interval"
# Every how many layers attention is not within a window, as llama.cpp takes it for granted of an architecture.
_PERIODS = {"gpt_oss": 2, "gemma2": 2, "gemma3_text": 6}
# Of Qwen 3.5's positions in time, height and width, which are one of a text.
_SECTIONS = [11, 11, 10, 0]


def extra_figures(family: Family, rotary: JsonObject) -> dict[str, Figure]:
    """The further figures of a network, by their keys behind the architecture's name."""
    config, name = family.config, family.name
    found: dict[str, Figure] = {}
    if name == "phi3" and config.get("sliding_window"):
        found[WINDOW] = int(config["sliding_window"])
    local = (config.get("rope_parameters") or {}).get(_SLIDING) or {}
    if base := local.get("rope_theta") or config.get("rope_local_base_freq"):
        found["rope.freq_base_swa"] = float(base)
    if name == "olmo3":
        kinds = config.get("layer_types") or [_FULL if (i + 1) % 4 == 0 else _SLIDING for i in range(family.layers)]
        found[PATTERN] = [kind == _SLIDING for kind in kinds]
    if name == "ministral3":
        found["rope.scaling.yarn_log_multiplier"] = float(rotary.get("mscale_all_dim") or 0)
        found["attention.temperature_scale"] = float(rotary.get("llama_4_scaling_beta") or 0)
    if name == "gpt_oss":
        found["expert_feed_forward_length"] = int(config["intermediate_size"])
    if name == "lfm2":
        _, key_heads = family.heads
        found["attention.head_count_kv"] = [0 if kind == _CONV else key_heads for kind in _lfm2_kinds(family)]
        found["feed_forward_length"] = lfm2_inner(config)
    if name == "qwen3_5_text":
        found["ssm.inner_size"] = int(config["linear_value_head_dim"]) * int(config["linear_num_value_heads"])
        kinds = config.get("layer_types")
        if kinds:
            found[_RECURRENT] = [kind == _LINEAR for kind in kinds]
        found[_INTERVAL] = int(config.get("full_attention_interval") or 4)
        sections = [int(n) for n in rotary.get("mrope_section") or _SECTIONS]
        found["rope.dimension_sections"] = [*sections, *[0] * 4][:4]
    return found


def _lfm2_kinds(family: Family) -> list[str]:
    kinds = family.config.get("layer_types")
    if kinds:
        return [str(kind) for kind in kinds]
    full = family.config.get("full_attn_idxs")
    return [_FULL if full is None or i in full else _CONV for i in range(family.layers)]


def lfm2_inner(config: JsonObject) -> int:
    """The width of LFM2's feed-forward layers: as transformers computes it of the figures."""
    inner = int(config.get("block_ff_dim") or config["intermediate_size"])
    if not config.get("block_auto_adjust_ff_dim", True):
        return inner
    inner = int(2 * inner / 3)
    if (factor := config.get("block_ffn_dim_multiplier", 1.0)) is not None:
        inner = int(float(factor) * inner)
    step = int(config.get("block_multiple_of") or 256)
    return step * ((inner + step - 1) // step)


def unlike_in_layers(family: str, config: JsonObject) -> str:
    """In what a model's layers differ from what llama.cpp takes for granted of its family; empty where they do not."""
    kinds, period = config.get("layer_types"), _PERIODS.get(family)
    if kinds and period:
        usual = [_FULL if (i + 1) % period == 0 else _SLIDING for i in range(len(kinds))]
        if list(kinds) != usual and config.get("sliding_window"):
            return f"layer_types has attention within a window in other layers than models of the family {family} have"
    if family == "ministral3":
        rotary = config.get("rope_parameters") or {}
        if rotary.get("rope_type") != "yarn" or "llama_4_scaling_beta" not in rotary:
            return "rope_parameters lacks YaRN or llama_4_scaling_beta, which models of the family ministral3 have"
    if family == "qwen3_5_text":
        key, value = config.get("linear_key_head_dim"), config.get("linear_value_head_dim")
        if key != value:
            return f"linear_value_head_dim is {value} and linear_key_head_dim {key}; llama.cpp knows one width for both"
    return ""


# ── the other direction ──


def key_heads_of(name: str, value: Any, layers: int) -> tuple[Any, JsonObject]:
    """Heads of keys, which a file may have for each layer, and what they say of the layers."""
    if not isinstance(value, list) or name != "lfm2":
        return value, {}
    kinds = [_FULL if heads else _CONV for heads in value[:layers]]
    return next((heads for heads in value if heads), 0), {"layer_types": kinds}


def add_family(config: JsonObject, name: str, meta: JsonObject) -> None:
    """What llama.cpp computes of a family's other figures, or knows of it without any."""
    layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
    if name in {"gemma2", "gemma3_text"}:
        # Of the models of 27B alone attention is scaled by the width of the network's share, not by that of its heads.
        large = (name, layers) in {("gemma2", 46), ("gemma3_text", 62)}
        config["query_pre_attn_scalar"] = int(config["hidden_size"]) // heads if large else config["head_dim"]
    if name in {"gemma", "gemma2", "gemma3_text"}:
        config["hidden_activation"] = "gelu_pytorch_tanh"
    if name == "phi3":
        window = meta.get(WINDOW)
        config["sliding_window"] = int(window) if window else None
    if name == "mixtral":
        config["sliding_window"] = None
    if name == "qwen3_moe":
        # Every layer is a mixture, so it is not used.
        config.setdefault("intermediate_size", config["moe_intermediate_size"])
    if name == "gpt_oss":
        config["intermediate_size"] = int(said(meta, "expert_feed_forward_length"))
    if name == "olmo3":
        config["layer_types"] = _by_layer(meta, PATTERN, layers, _SLIDING, 4)
    if name == "lfm2":
        config["norm_eps"] = config.pop("rms_norm_eps")
        config["block_auto_adjust_ff_dim"] = False
    if name == "qwen3_5_text":
        inner, value_heads = int(said(meta, "ssm.inner_size")), int(said(meta, "ssm.time_step_rank"))
        config["linear_value_head_dim"] = inner // value_heads
        config["layer_types"] = _by_layer(meta, _RECURRENT, layers, _LINEAR, int(meta.get(_INTERVAL) or 4))


def add_rotary(rotary: JsonObject, name: str, meta: JsonObject) -> JsonObject:
    """The rotary parameters as ``config.json`` has them, with what is a family's own."""
    if name in {"gemma3_text", "olmo3"}:
        usual = 10000.0 if name == "gemma3_text" else rotary["rope_theta"]
        local = {"rope_type": "default", "rope_theta": plain(meta.get("rope.freq_base_swa") or usual)}
        return {_FULL: rotary, _SLIDING: local}
    if name == "ministral3":
        log = plain(meta.get("rope.scaling.yarn_log_multiplier") or 0.0)
        beta = plain(said(meta, "attention.temperature_scale"))
        return rotary | {"mscale": log, "mscale_all_dim": log, "llama_4_scaling_beta": beta}
    if name == "qwen3_5_text":
        sections = list(said(meta, "rope.dimension_sections"))
        return rotary | {"mrope_interleaved": True, "mrope_section": sections[:3]}
    return rotary


def _by_layer(meta: JsonObject, key: str, layers: int, kind: str, period: int) -> list[str]:
    """What each layer is: as the file says it, or every so many layers one of full attention."""
    listed = meta.get(key)
    flags = listed if isinstance(listed, list) else [(i + 1) % period != 0 for i in range(layers)]
    return [kind if flag else _FULL for flag in flags[:layers]]


def said(given: Mapping[str, object], key: str, why: str = "models of its family have") -> Any:
    """A figure or a tensor of a file that has to be there; ``why`` says what for.

    Raises:
        InputRefusedError: ``gguf_damaged``.
    """
    if key not in given:
        raise InputRefusedError("gguf_damaged", f"the file lacks {key}, which {why}")
    return given[key]


def plain(value: float) -> float:
    """A 32-bit number as it was written before: the shortest decimal number that is the same in 32 bits."""
    return float(str(np.float32(value)))
