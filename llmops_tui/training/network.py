"""The figures of a network: what ``config.json`` calls them, and what a GGUF file does. One table, both directions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.training.families import FAMILIES, Array, Family, family_of
from llmops_tui.training.network_of_families import (
    Figure,
    add_family,
    add_rotary,
    extra_figures,
    key_heads_of,
    plain,
    said,
    unlike_in_layers,
)

# By their names in config.json and in a GGUF file, behind the architecture's name there.
_COMMON = {
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "vocab_size": "vocab_size",
}
_RMS, _LAYER = "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"
# How the keys end of what is no whole number.
_REAL = ("scale", "softcapping")
_SCALING = "rope.scaling"
_ORIGINAL = f"{_SCALING}.original_context_length"
# Of YaRN the figures that are taken for granted, as config.json calls them; behind "yarn_" as GGUF does.
_SCALES = "its rotary scaling needs"
_YARN: Mapping[str, float] = {"beta_fast": 32, "beta_slow": 1, "mscale": 0, "mscale_all_dim": 0, "truncate": True}
_BOUNDS = ("beta_fast", "beta_slow")
_YARN_GGUF: Mapping[str, float] = {
    "yarn_beta_fast": 32, "yarn_beta_slow": 1, "yarn_ext_factor": 1, "yarn_attn_factor": 1, "attn_factor": 1,
    "yarn_log_multiplier": 0,
}  # fmt: skip
# Any will do: with other bounds beside it, it gives the same frequencies.
_LLAMA3_ORIGINAL = 8192


def figures(family: Family) -> dict[str, Figure]:
    """A network's figures by their keys in a GGUF file, behind the architecture's name.

    Raises:
        InputRefusedError: ``unknown_rotary``, or ``other_network``: llama.cpp computes such a model otherwise.
    """
    config = family.config
    if told := unlike(family.name, config):
        raise InputRefusedError("other_network", f"{told}, which llama.cpp computes otherwise")
    _, key_heads = family.heads
    head = _head(family)
    given = {"max_position_embeddings": 2048, **{k: v for k, v in config.items() if v is not None}}
    if "num_local_experts" in given:
        # The same under its newer name.
        given.setdefault("num_experts", given["num_local_experts"])
    found: dict[str, Figure] = {key: int(given[name]) for name, key in _COMMON.items() if name in given}
    found["attention.head_count_kv"] = key_heads
    found["attention.key_length"] = found["attention.value_length"] = head
    rotary = _rotary(config)
    share = float(rotary.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1)
    found["rope.dimension_count"] = int(head * share)
    found["rope.freq_base"] = float(rotary.get("rope_theta") or config.get("rope_theta") or 10000.0)
    if family.name == "phi":
        found[_LAYER] = float(config.get("layer_norm_eps") or 1e-5)
    else:
        found[_RMS] = float(config.get("rms_norm_eps") or config.get("norm_eps") or 1e-6)
    for name, key in family.layout.fields.items():
        if given.get(name) is not None:
            value = given[name]
            found[key] = float(value) if key.endswith(_REAL) else int(value)
    return found | _scaling(family) | extra_figures(family, rotary)


def unlike(family: str, config: JsonObject) -> str:
    """In what a model differs from what llama.cpp takes for granted of its family, in words; empty where it does not."""
    layout = FAMILIES.get(family)
    for name, value in layout.fixed.items() if layout is not None else ():
        if name in config and config[name] != value:
            return f"{name} is {config[name]!r} in this model, and {value!r} in others of the family {family}"
    return unlike_in_layers(family, config)


def _head(family: Family) -> int:
    return int(family.config.get("head_dim") or int(family.config["hidden_size"]) // family.heads[0])


def _rotary(config: JsonObject) -> JsonObject:
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    # Models with two kinds of attention have parameters for each.
    return dict(found.get("full_attention") or found) if isinstance(found, dict) else {}


def _scaling(family: Family) -> dict[str, Figure]:
    rotary = _rotary(family.config)
    kind = rotary.get("rope_type") or rotary.get("type") or "default"
    if kind == "linear":
        return {f"{_SCALING}.type": "linear", f"{_SCALING}.factor": float(rotary["factor"])}
    if kind == "yarn":
        factor = float(rotary["factor"])
        usual = {**_YARN, "attention_factor": 0.1 * math.log(max(1.0, factor)) + 1}
        if family.name == "ministral3":
            # Both are the same, and are written beside.
            usual |= {"mscale": float(rotary.get("mscale_all_dim") or 0), "attention_factor": 1.0}
            del usual["mscale_all_dim"]
        if family.name == "gpt_oss":
            # llama.cpp rounds the bounds of the blend also for this family, which its own converter does not say either.
            del usual["truncate"]
        _refuse_other_yarn(rotary, usual)
        return {
            f"{_SCALING}.type": "yarn",
            f"{_SCALING}.factor": float(rotary["factor"]),
            _ORIGINAL: int(rotary["original_max_position_embeddings"]),
            **{f"{_SCALING}.yarn_{name}": float(rotary[name]) for name in _BOUNDS if rotary.get(name)},
        }
    if kind in {"longrope", "su"}:
        original = int(
            rotary.get("original_max_position_embeddings") or family.config["original_max_position_embeddings"]
        )
        scale = int(family.config["max_position_embeddings"]) / original
        factor = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
        return {_ORIGINAL: original, f"{_SCALING}.attn_factor": factor}
    if kind not in {"default", "llama3"}:
        raise InputRefusedError("unknown_rotary", f"rotary scaling of the kind {kind!r} cannot be converted to GGUF")
    return {}


def _refuse_other_yarn(given: JsonObject, usual: Mapping[str, float]) -> None:
    for name, value in usual.items():
        said = given.get(name)
        if said is not None and not math.isclose(float(said), value, rel_tol=1e-4):
            raise InputRefusedError(
                "unknown_rotary",
                f"the rotary scaling is YaRN with {name} {said}, of which only {value:g} is known here",
            )


def rotary_factors(family: Family) -> list[tuple[str, Array]]:
    """The tensors of frequencies that some scalings need."""
    rotary = _rotary(family.config)
    kind = rotary.get("rope_type") or rotary.get("type")
    if kind in {"longrope", "su"}:
        return [
            (f"rope_factors_{side}.weight", np.array(rotary[f"{side}_factor"], np.float32))
            for side in ("long", "short")
        ]
    if kind != "llama3":
        return []
    # Llama 3.1: long waves are slowed by the factor, short ones stay, those between are blended (Meta, reference code).
    base = float(rotary.get("rope_theta") or family.config.get("rope_theta") or 10000.0)
    factor, low, high = (float(rotary[n]) for n in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(rotary["original_max_position_embeddings"])
    factors = []
    for wave in _waves(base, _head(family)):
        if wave < original / high:
            factors.append(1.0)
        elif wave > original / low:
            factors.append(factor)
        else:
            smooth = (original / wave - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return [("rope_freqs.weight", np.array(factors, np.float32))]


def _waves(base: float, head: int) -> list[float]:
    return [2 * math.pi * base ** (index / head) for index in range(0, head, 2)]


# ── the other direction ──


def configuration(
    metadata: JsonObject, shapes: Mapping[str, tuple[int, ...]], factors: Mapping[str, Array]
) -> JsonObject:
    """The ``config.json`` of a GGUF file, of its metadata, the shapes of its tensors, and those that are rotary factors.

    Raises:
        InputRefusedError: ``unknown_architecture``, ``other_network`` or ``unknown_rotary``.
    """
    architecture = str(metadata.get("general.architecture"))
    meta = {key.removeprefix(f"{architecture}."): value for key, value in metadata.items()}
    name = family_of(architecture, meta)
    if not name:
        raise InputRefusedError(
            "unknown_architecture",
            f"GGUF models of the architecture {architecture!r}{' with experts' if meta.get('expert_count') else ''} cannot "
            "be trained here",
            f"Known: {', '.join(sorted(FAMILIES))}. A folder of safetensors of the model can be.",
        )
    layout = FAMILIES[name]
    config: JsonObject = {"model_type": name, **layout.fixed}
    for ours, theirs in (*_COMMON.items(), *layout.fields.items()):
        value = meta.get(theirs)
        if theirs == "attention.head_count_kv":
            value, kinds = key_heads_of(name, value, int(meta.get("block_count") or 0))
            config |= kinds
        if isinstance(value, list):
            if len(set(value)) != 1:
                raise InputRefusedError(
                    "other_network", f"{theirs} differs between layers, which models of the family {name} do not have"
                )
            value = value[0]
        if value is not None:
            config[ours] = plain(value) if isinstance(value, float) else value
    # Layers behind the network that guess several tokens ahead.
    config["num_hidden_layers"] = int(config.get("num_hidden_layers") or 0) - int(meta.get("nextn_predict_layers") or 0)
    missing = sorted({"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"} - set(config))
    if missing or "token_embd.weight" not in shapes:
        raise InputRefusedError("gguf_damaged", f"the file does not say its {', '.join(missing) or 'embedding'}")
    config.setdefault("num_key_value_heads", config["num_attention_heads"])
    config["vocab_size"] = shapes["token_embd.weight"][0]
    config["tie_word_embeddings"] = "output.weight" not in shapes
    head = int(meta.get("attention.key_length") or config["hidden_size"] // config["num_attention_heads"])
    if int(meta.get("attention.value_length") or head) != head:
        raise InputRefusedError("other_network", "heads of values are wider than those of keys")
    config["head_dim"] = head
    config["layer_norm_eps" if _LAYER in meta else "rms_norm_eps"] = plain(meta.get(_LAYER) or meta.get(_RMS) or 1e-6)
    _add_biases(config, name, shapes)
    add_family(config, name, meta)
    config["rope_parameters"] = add_rotary(_rotary_of(meta, config, factors, name), name, meta)
    return config


def _add_biases(config: JsonObject, name: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if name in {"llama", "granite", "glm4", "smollm3", "qwen3", "qwen3_moe", "olmo2", "olmo3"}:
        config["attention_bias"] = "blk.0.attn_q.bias" in shapes
    if name in {"llama", "granite"}:
        config["mlp_bias"] = "blk.0.ffn_up.bias" in shapes


def _share(dimensions: int, head: int) -> float:
    """The share of a head that is rotated, of which transformers, which cuts off, makes these dimensions again."""
    share = dimensions / head
    return share if int(head * share) == dimensions else math.nextafter(share, 1.0)


def _kind_of(meta: JsonObject) -> tuple[str, float | None]:
    """The kind of scaling, and by what; llama.cpp takes a factor without a kind as linear, under its older name, too."""
    factor = meta.get(f"{_SCALING}.factor", meta.get("rope.scale_linear"))
    scaled = factor is not None and float(factor) not in {0.0, 1.0}
    return str(meta.get(f"{_SCALING}.type") or ("linear" if scaled else "none")), factor


def _rotary_of(meta: JsonObject, config: JsonObject, factors: Mapping[str, Array], name: str) -> JsonObject:
    head = int(config["head_dim"])
    base = plain(meta.get("rope.freq_base") or 10000.0)
    found: JsonObject = {"rope_type": "default", "rope_theta": base}
    dimensions = int(meta.get("rope.dimension_count") or head)
    if dimensions != head:
        found["partial_rotary_factor"] = config["partial_rotary_factor"] = _share(dimensions, head)
    kind, factor = _kind_of(meta)
    if kind in {"linear", "yarn"}:
        if factor is None:
            said(meta, f"{_SCALING}.factor", _SCALES)
        found |= {"rope_type": kind, "factor": plain(float(factor or 0))}
        if kind == "yarn":
            own = {"yarn_log_multiplier"} if name == "ministral3" else set()
            usual = {k: v for k, v in _YARN_GGUF.items() if k not in own}
            _refuse_other_yarn({k.removeprefix(f"{_SCALING}."): v for k, v in meta.items()}, usual)
            found["original_max_position_embeddings"] = int(said(meta, _ORIGINAL, _SCALES))
            bounds = {name: meta.get(f"{_SCALING}.yarn_{name}") for name in _BOUNDS}
            found |= {name: plain(value) for name, value in bounds.items() if value is not None}
    elif kind not in {"none", "longrope"}:
        raise InputRefusedError("unknown_rotary", f"rotary scaling of the kind {kind!r} cannot be trained")
    if "rope_factors_long.weight" in factors:
        original = int(said(meta, _ORIGINAL, _SCALES))
        config["original_max_position_embeddings"] = original
        found |= {"rope_type": "longrope", "original_max_position_embeddings": original}
        for side in ("long", "short"):
            found[f"{side}_factor"] = [plain(v) for v in said(factors, f"rope_factors_{side}.weight", _SCALES)]
    if "rope_freqs.weight" in factors:
        found |= _llama3_of(factors["rope_freqs.weight"], base, dimensions)
    return found


def _llama3_of(factors: Array, base: float, head: int) -> JsonObject:
    """The scaling of Llama 3.1 that has these factors.

    A blended wave has 1/f = (1 - s)/F + s with s = a/wave - b, where a = original/(high - low) and b = low/(high - low).

    Raises:
        InputRefusedError: ``unknown_rotary``: they are not of this kind.
    """
    factor = float(factors.max())
    waves = np.array(_waves(base, head))
    between = (factors > 1.0001) & (factors < factor * 0.9999)
    low, high = 1.0, 4.0
    if len(factors) == len(waves) and factor > 1 and between.sum() >= 2:
        smooth = (1 / factors[between].astype(np.float64) - 1 / factor) / (1 - 1 / factor)
        a, b = np.polyfit(1 / waves[between], smooth, 1)
        span = _LLAMA3_ORIGINAL / a
        low, high = -b * span, (1 - b) * span
    found = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": float(f"{low:.5g}"),
        "high_freq_factor": float(f"{high:.5g}"),
        "original_max_position_embeddings": _LLAMA3_ORIGINAL,
    }
    config = {"rope_parameters": found | {"rope_theta": base}, "head_dim": head, "num_attention_heads": 1}
    (again,) = rotary_factors(Family("llama", config))
    if len(factors) != len(waves) or not np.allclose(again[1], factors, rtol=1e-4):
        raise InputRefusedError("unknown_rotary", "the file slows rotary frequencies by factors of an unknown kind")
    return found
