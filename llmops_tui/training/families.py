"""Tensor names and layouts of Hugging Face models in llama.cpp, by model family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.training import rearrangement

Array = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """How the tensors and figures of a family differ from llama.cpp's. It serves both directions.

    Attributes:
        architecture: llama.cpp's architecture.
        interleaved: whether rotated halves of a head become neighbouring pairs.
        norm_plus_one: whether the weights of norms are kept less one.
        tied: whether the output layer is the embedding again where ``config.json`` does not say it.
        fields: further figures of ``config.json``, and their keys in a GGUF file behind the architecture's name.
        fixed: what llama.cpp takes for granted of the family; a model that is otherwise cannot be written.
        experts: whether it is a mixture of experts.
    """

    architecture: gguf.MODEL_ARCH
    interleaved: bool = False
    norm_plus_one: bool = False
    tied: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    experts: bool = False


_WINDOW = "attention.sliding_window"
_EXPERTS = {"num_experts_per_tok": "expert_used_count"}
_SCALES = {
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "attention_multiplier": "attention.scale",
    "logits_scaling": "logit_scale",
}
# The families by the name in config.json: a new one is a line here. Of those that share an architecture the first is what
# a GGUF file is read as.
FAMILIES: dict[str, Layout] = {
    "llama": Layout(gguf.MODEL_ARCH.LLAMA, interleaved=True),
    "mistral": Layout(gguf.MODEL_ARCH.LLAMA, interleaved=True),
    "mixtral": Layout(
        gguf.MODEL_ARCH.LLAMA,
        interleaved=True,
        fields={"num_local_experts": "expert_count", **_EXPERTS},
        experts=True,
    ),
    "qwen2": Layout(gguf.MODEL_ARCH.QWEN2),
    "qwen3": Layout(gguf.MODEL_ARCH.QWEN3),
    "qwen3_moe": Layout(
        gguf.MODEL_ARCH.QWEN3MOE,
        fields={"num_experts": "expert_count", "moe_intermediate_size": "expert_feed_forward_length", **_EXPERTS},
        fixed={"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []},
        experts=True,
    ),
    "gemma": Layout(gguf.MODEL_ARCH.GEMMA, norm_plus_one=True, tied=True),
    "gemma2": Layout(
        gguf.MODEL_ARCH.GEMMA2,
        norm_plus_one=True,
        tied=True,
        fields={
            "attn_logit_softcapping": "attn_logit_softcapping",
            "final_logit_softcapping": "final_logit_softcapping",
            "sliding_window": _WINDOW,
        },
    ),
    "gemma3_text": Layout(
        gguf.MODEL_ARCH.GEMMA3,
        norm_plus_one=True,
        tied=True,
        fields={"sliding_window": _WINDOW, "final_logit_softcapping": "final_logit_softcapping"},
    ),
    "phi": Layout(gguf.MODEL_ARCH.PHI2),
    "phi3": Layout(gguf.MODEL_ARCH.PHI3),
    "smollm3": Layout(gguf.MODEL_ARCH.SMOLLM3, interleaved=True, fixed={"no_rope_layer_interval": 4}),
    "granite": Layout(gguf.MODEL_ARCH.GRANITE, interleaved=True, fields=_SCALES),
    "olmo2": Layout(gguf.MODEL_ARCH.OLMO2),
    "olmo3": Layout(gguf.MODEL_ARCH.OLMO2, fields={"sliding_window": _WINDOW}),
    "ministral3": Layout(gguf.MODEL_ARCH.MISTRAL3, interleaved=True),
    "lfm2": Layout(
        gguf.MODEL_ARCH.LFM2, tied=True, fields={"conv_L_cache": "shortconv.l_cache"}, fixed={"conv_bias": False}
    ),
    "gpt_oss": Layout(
        gguf.MODEL_ARCH.GPT_OSS,
        fields={"num_local_experts": "expert_count", "sliding_window": _WINDOW, **_EXPERTS},
        fixed={"swiglu_alpha": 1.702, "swiglu_limit": 7.0, "attention_bias": True},
        experts=True,
    ),
    "qwen3_5_text": Layout(
        gguf.MODEL_ARCH.QWEN35,
        norm_plus_one=True,
        fields={
            "linear_conv_kernel_dim": "ssm.conv_kernel",
            "linear_key_head_dim": "ssm.state_size",
            "linear_num_key_heads": "ssm.group_count",
            "linear_num_value_heads": "ssm.time_step_rank",
        },
    ),
    "glm4": Layout(gguf.MODEL_ARCH.GLM4),
}
EMBEDDINGS, OUTPUT = "embed_tokens", "lm_head"
# Models of one architecture for llama.cpp under two names: an adapter goes by the name that the served file has.
ALIKE = frozenset({"llama", "mistral3"})
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
# Qwen 3.5's norm of linear attention is kept as it is.
_NORM = re.compile(r"(?<!linear_attn\.)norm\.weight$")
# As llama.cpp's converter keeps them: routers, and the kernels of short convolutions.
_WIDE = re.compile(r"(?:_norm|ffn_gate_inp|ssm_conv1d|shortconv\.conv)\.weight$")
_EXPERT = re.compile(r"\.layers\.(\d+)\..*\bexperts\.(\d+)\.(\w+)\.weight$")
_PARTS_OF_EXPERTS = {"gate_proj": "gate", "w1": "gate", "up_proj": "up", "w3": "up", "down_proj": "down", "w2": "down"}


@dataclass(frozen=True)
class Family:
    """One model's mapping of names, and what happens to values on the way."""

    name: str
    config: dict[str, Any]

    def __post_init__(self) -> None:
        if self.name not in FAMILIES:
            raise InputRefusedError(
                "unknown_architecture",
                f"models of the architecture {self.name!r} cannot be converted to GGUF",
                f"Known: {', '.join(sorted(FAMILIES))}.",
            )

    @property
    def layout(self) -> Layout:
        """How its tensors differ."""
        return FAMILIES[self.name]

    @property
    def architecture(self) -> gguf.MODEL_ARCH:
        """llama.cpp's architecture."""
        return self.layout.architecture

    @property
    def layers(self) -> int:
        """How many layers the network has."""
        return int(self.config["num_hidden_layers"])

    @property
    def heads(self) -> tuple[int, int]:
        """Attention heads, and those of keys and values."""
        heads = int(self.config["num_attention_heads"])
        return heads, int(self.config.get("num_key_value_heads") or heads)

    def tensor_name(self, name: str) -> str:
        """llama.cpp's name of a tensor, with the suffix it had; of one that becomes several the first.

        Raises:
            InputRefusedError: ``unknown_tensor``.
        """
        return self.tensor_names(name)[0]

    def tensor_names(self, name: str) -> tuple[str, ...]:
        """llama.cpp's names of all that is made of a tensor.

        Raises:
            InputRefusedError: ``unknown_tensor``.
        """
        if (expert := _EXPERT.search(name)) and (part := _PARTS_OF_EXPERTS.get(expert[3])):
            return (f"blk.{expert[1]}.ffn_{part}_exps.weight",)
        if found := rearrangement.names(self.name, name):
            return found
        place = _names(self.architecture, self.layers).get_name(name, try_suffixes=(".weight", ".bias"))
        if place is None:
            raise InputRefusedError("unknown_tensor", f"llama.cpp's {self.name} has no place for the tensor {name}")
        return (str(place),)

    def places(self, names: Iterable[str]) -> dict[str, list[str]]:
        """llama.cpp's tensors, and of which of these tensors each is made: of one, or of one of each expert, in order.

        Raises:
            InputRefusedError: ``unknown_tensor``.
        """
        found: dict[str, list[str]] = {}
        for name in names:
            if not self.left_out(name):
                for place in self.tensor_names(name):
                    found.setdefault(place, []).append(name)
        for sources in found.values():
            sources.sort(key=_expert)
        return found

    def stacked(self, name: str) -> bool:
        """Whether a tensor is one of many, one of each expert, that are one in llama.cpp."""
        return _EXPERT.search(name) is not None

    def shape(self, sources: list[str], shape: tuple[int, ...], place: str) -> tuple[int, ...]:
        """The shape that a place has, of the names of its tensors and the shape that each of these has."""
        if self.stacked(sources[0]):
            return (len(sources), *shape)
        return rearrangement.shape(self.name, sources[0], shape, self.tensor_names(sources[0]).index(place))

    def rows(self, name: str, value: Array) -> Array:
        """A tensor, or the output side of an adapter, with its rows in llama.cpp's order.

        Llama-like models rotate halves of each head in Hugging Face's form and neighbouring pairs in llama.cpp's, so the
        rows of their query and key projections are interleaved.
        """
        if heads := self._heads_of(name):
            return interleave(value, heads)
        order = rearrangement.row_order(self.name, name, self.config)
        return value if order is None else np.ascontiguousarray(value[order])

    def columns(self, name: str, value: Array) -> Array:
        """A tensor, or the input side of an adapter, with its columns in llama.cpp's order."""
        order = rearrangement.column_order(self.name, name, self.config)
        return value if order is None else np.ascontiguousarray(value[..., order])

    def _heads_of(self, name: str) -> int:
        """How many heads have their rows in another order in this tensor; 0: none."""
        heads, key_heads = self.heads
        if not self.layout.interleaved:
            return 0
        return heads if ".q_proj" in name else key_heads if ".k_proj" in name else 0

    def value(self, name: str, value: Array, place: str = "") -> Array:
        """A tensor as llama.cpp wants it in one of its places; without one it has but one."""
        if self.layout.norm_plus_one and _NORM.search(name):
            # Gemma keeps the weight of a norm less one.
            return value + 1
        part = self.tensor_names(name).index(place) if place else 0
        whole = rearrangement.value(self.name, name, value, part)
        return self.columns(name, self.rows(name, whole))

    def restored(self, name: str, *values: Array) -> Array:
        """The inverse of :meth:`value`: a tensor as ``name`` has it in Hugging Face's form, of all its places."""
        value = values[0]
        if self.layout.norm_plus_one and _NORM.search(name):
            return value - 1
        if heads := self._heads_of(name):
            return separate(value, heads)
        order = rearrangement.row_order(self.name, name, self.config)
        value = value if order is None else value[np.argsort(order)]
        order = rearrangement.column_order(self.name, name, self.config)
        value = value if order is None else value[..., np.argsort(order)]
        return rearrangement.restored(self.name, name, (value, *values[1:]))

    def left_out(self, name: str) -> bool:
        """Whether a tensor has no place: an output layer that is the embedding again, buffers, and layers that guess ahead."""
        again = name == "lm_head.weight" and tied(self.name, self.config)
        return again or name.startswith("mtp.") or name.endswith(("rotary_emb.inv_freq", "attn.bias", "masked_bias"))


@lru_cache(maxsize=8)
def _names(architecture: gguf.MODEL_ARCH, layers: int) -> gguf.TensorNameMap:
    """It takes a tenth of a second to make."""
    return gguf.get_tensor_name_map(architecture, layers)


def linear_targets(family: str) -> str | list[str]:
    """What ``all-linear`` stands for, as PEFT takes it: every linear module, or of a mixture of experts those of attention.

    PEFT would train the experts and their router, too, as one matrix each for all experts, for which llama.cpp has no adapter.
    """
    layout = FAMILIES.get(family)
    return list(ATTENTION) if layout is not None and layout.experts else "all-linear"


def tied(family: str, config: JsonObject) -> bool:
    """Whether a model's output layer is its embedding again."""
    layout = FAMILIES.get(family)
    return bool(config.get("tie_word_embeddings", layout is not None and layout.tied))


def architectures() -> set[str]:
    """llama.cpp's names of the architectures that some family has."""
    return {gguf.MODEL_ARCH_NAMES[layout.architecture] for layout in FAMILIES.values()}


def family_of(architecture: str, meta: JsonObject) -> str:
    """The family that a GGUF file of an architecture is read as, by what its figures say; empty where there is none."""
    experts = bool(meta.get("expert_count"))
    if architecture == "mistral3" and not meta.get("attention.temperature_scale"):
        return "mistral"
    if architecture == "olmo2" and meta.get(_WINDOW):
        return "olmo3"
    for name, layout in FAMILIES.items():
        if gguf.MODEL_ARCH_NAMES[layout.architecture] == architecture and layout.experts == experts:
            return name
    return ""


def architecture_beside(family: Family, served: str) -> str:
    """The architecture that an adapter names to go beside a file: llama.cpp takes none of another name."""
    own = gguf.MODEL_ARCH_NAMES[family.architecture]
    return served if own in ALIKE and served in ALIKE else own


def wide(place: str, dimensions: int) -> bool:
    """Whether llama.cpp holds a tensor in 32 bits in any file: vectors, what is no weight, and a few small matrices."""
    return dimensions < 2 or not place.endswith(".weight") or _WIDE.search(place) is not None


def _expert(name: str) -> int:
    found = _EXPERT.search(name)
    return int(found[2]) if found else 0


def interleave(value: Array, heads: int) -> Array:
    """Rows from two halves a head to pairs: the inverse order of rotate-half. Shape (heads × width, ...)."""
    return _swap_rows(value, heads, 2)


def separate(value: Array, heads: int) -> Array:
    """The inverse of :func:`interleave`: rows from pairs to two halves a head."""
    return _swap_rows(value, heads, value.shape[0] // heads // 2)


def _swap_rows(value: Array, heads: int, groups: int) -> Array:
    """Within each head: from the order (group, member) to (member, group)."""
    apart = value.reshape(heads, groups, value.shape[0] // heads // groups, *value.shape[1:])
    return np.ascontiguousarray(apart.swapaxes(1, 2).reshape(value.shape))
