"""Tensors that llama.cpp has otherwise than Hugging Face's models: other names, other parts, or another order.

Each is found by its family and by its name. The orders of heads are those of llama.cpp's own converters: where keys have fewer
heads than values, linear attention repeats them there as a whole, and in Hugging Face's form each head beside its copies.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmops_tui.foreign_text import JsonObject

_Array = NDArray[Any]
_LAYER = re.compile(r"\.layers\.(\d+)\.(.+)$")
# Names behind the layer that the table of names has not, by family.
_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "gpt_oss": {
        "mlp.experts.gate_up_proj": ("ffn_gate_exps.weight", "ffn_up_exps.weight"),
        "mlp.experts.gate_up_proj_bias": ("ffn_gate_exps.bias", "ffn_up_exps.bias"),
        "mlp.experts.down_proj": ("ffn_down_exps.weight",),
        "mlp.experts.down_proj_bias": ("ffn_down_exps.bias",),
        "self_attn.sinks": ("attn_sinks.weight",),
    },
    "qwen3_5_text": {"linear_attn.dt_bias": ("ssm_dt.bias",)},
}
_LINEAR = "linear_attn."


def _behind(name: str) -> tuple[str, str]:
    """A tensor's layer, and its name there."""
    found = _LAYER.search(name)
    return (found[1], found[2]) if found else ("", "")


def names(family: str, name: str) -> tuple[str, ...]:
    """llama.cpp's names of what is made of a tensor; empty where the table of names has it."""
    layer, own = _behind(name)
    return tuple(f"blk.{layer}.{each}" for each in _NAMES.get(family, {}).get(own, ()))


def value(family: str, name: str, whole: _Array, part: int) -> _Array:
    """A tensor as llama.cpp has it: one part of it, where it becomes several."""
    _, own = _behind(name)
    if own.endswith(("conv.conv.weight", "conv1d.weight")):
        # A kernel for each channel, in a dimension of its own.
        return whole.reshape(whole.shape[0], whole.shape[-1])
    if own.endswith("A_log"):
        # In 64 bits and rounded once: in 32, the last bit is another one by processor, and not that of llama.cpp's converter.
        found: _Array = -np.exp(whole.astype(np.float64)).astype(whole.dtype)
        return found
    if family == "gpt_oss" and own.startswith("mlp.experts."):
        turned = whole if own.endswith("_bias") else whole.swapaxes(1, 2)
        # Rows of gate and up take turns.
        return np.ascontiguousarray(turned[:, part::2] if "gate_up" in own else turned)
    return whole


def restored(family: str, name: str, parts: tuple[_Array, ...]) -> _Array:
    """The inverse of :func:`value`, but for dimensions of one."""
    _, own = _behind(name)
    whole = parts[0]
    if own.endswith("A_log"):
        found: _Array = np.log(-whole.astype(np.float64)).astype(whole.dtype)
        return found
    if family == "gpt_oss" and own.startswith("mlp.experts."):
        if "gate_up" in own:
            whole = np.stack(parts, axis=2).reshape(whole.shape[0], 2 * whole.shape[1], *whole.shape[2:])
        return whole if own.endswith("_bias") else np.ascontiguousarray(whole.swapaxes(1, 2))
    return whole


def shape(family: str, name: str, whole: tuple[int, ...], part: int) -> tuple[int, ...]:
    """The shape that :func:`value` has."""
    # Of numbers that are all the same one: nothing is held in memory.
    kind = np.broadcast_to(np.int8(0), whole)
    _, own = _behind(name)
    if own.endswith(("conv.conv.weight", "conv1d.weight")):
        return (whole[0], whole[-1])
    if family == "gpt_oss" and own.startswith("mlp.experts."):
        turned = kind if own.endswith("_bias") else kind.swapaxes(1, 2)
        return tuple((turned[:, part::2] if "gate_up" in own else turned).shape)
    return whole


def row_order(family: str, name: str, config: JsonObject) -> _Array | None:
    """Which row of a tensor is which in llama.cpp; none where they are in the same order."""
    _, own = _behind(name)
    if family != "qwen3_5_text" or not own.startswith(_LINEAR):
        return None
    own = own.removeprefix(_LINEAR)
    if own.startswith(("in_proj_qkv.", "conv1d.")):
        keys = 2 * int(config["linear_num_key_heads"]) * int(config["linear_key_head_dim"])
        return np.concatenate([np.arange(keys), keys + _heads_of_values(config, int(config["linear_value_head_dim"]))])
    if own.startswith("in_proj_z."):
        return _heads_of_values(config, int(config["linear_value_head_dim"]))
    if own.startswith(("in_proj_a.", "in_proj_b.", "A_log", "dt_bias")):
        return _heads_of_values(config, 1)
    return None


def column_order(family: str, name: str, config: JsonObject) -> _Array | None:
    """Which column of a tensor is which in llama.cpp; none where they are in the same order."""
    _, own = _behind(name)
    if family != "qwen3_5_text" or not own.startswith(f"{_LINEAR}out_proj."):
        return None
    return _heads_of_values(config, int(config["linear_value_head_dim"]))


def _heads_of_values(config: JsonObject, width: int) -> _Array:
    keys, values = int(config["linear_num_key_heads"]), int(config["linear_num_value_heads"])
    order = np.arange(values * width).reshape(keys, values // keys, width).swapaxes(0, 1)
    return np.ascontiguousarray(order).reshape(-1)
