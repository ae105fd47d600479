"""Tensor names and layouts of Hugging Face models in llama.cpp, by model family."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject

Array = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """How the tensors and figures of a family differ from llama.cpp's. It serves both directions.

    Attributes:
        architecture: llama.cpp's architecture.
        interleaved: whether rotated halves of a head become neighbouring pairs.
        norm_plus_one: whether the weights of norms are kept less one, and the output layer is mostly the embedding.
        fields: further figures of ``config.json``, and their keys in a GGUF file behind the architecture's name.
        fixed: what llama.cpp takes for granted of the family; a model that is otherwise cannot be written.
        experts: whether it is a mixture of experts.
    """

    architecture: gguf.MODEL_ARCH
    interleaved: bool = False
    norm_plus_one: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    experts: bool = False


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
    "gemma": Layout(gguf.MODEL_ARCH.GEMMA, norm_plus_one=True),
    "gemma2": Layout(
        gguf.MODEL_ARCH.GEMMA2,
        norm_plus_one=True,
        fields={
            "attn_logit_softcapping": "attn_logit_softcapping",
            "final_logit_softcapping": "final_logit_softcapping",
            "sliding_window": "attention.sliding_window",
        },
    ),
    "gemma3_text": Layout(
        gguf.MODEL_ARCH.GEMMA3, norm_plus_one=True, fields={"sliding_window": "attention.sliding_window"}
    ),
    "phi": Layout(gguf.MODEL_ARCH.PHI2),
    "phi3": Layout(gguf.MODEL_ARCH.PHI3),
    "smollm3": Layout(gguf.MODEL_ARCH.SMOLLM3, interleaved=True, fixed={"no_rope_layer_interval": 4}),
    "granite": Layout(gguf.MODEL_ARCH.GRANITE, interleaved=True, fields=_SCALES),
    "olmo2": Layout(gguf.MODEL_ARCH.OLMO2),
    "glm4": Layout(gguf.MODEL_ARCH.GLM4),
}
EMBEDDINGS, OUTPUT = "embed_tokens", "lm_head"
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_NORM = re.compile(r"norm\.weight$")
_PARTS = {
    "lora_A": "A",
    "lora_B": "B",
    "lora_embedding_A": "eA",
    "lora_embedding_B": "eB",
    "lora_magnitude_vector": "m",
}
_EXPERT = re.compile(r"\.layers\.(\d+)\..*\bexperts\.(\d+)\.(\w+)\.weight$")
_PARTS_OF_EXPERTS = {"gate_proj": "gate", "w1": "gate", "up_proj": "up", "w3": "up", "down_proj": "down", "w2": "down"}
_ADAPTER = re.compile(
    rf"^(?:base_model\.model\.)?(?P<module>.+)\.(?P<part>{'|'.join(_PARTS)})(?:\.(?!weight$)[A-Za-z0-9_]+)?(?:\.weight)?$"
)


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
        """llama.cpp's name of a tensor, with the suffix it had.

        Raises:
            InputRefusedError: ``unknown_tensor``.
        """
        if (expert := _EXPERT.search(name)) and (part := _PARTS_OF_EXPERTS.get(expert[3])):
            return f"blk.{expert[1]}.ffn_{part}_exps.weight"
        found = _names(self.architecture, self.layers).get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise InputRefusedError("unknown_tensor", f"llama.cpp's {self.name} has no place for the tensor {name}")
        return str(found)

    def places(self, names: Iterable[str]) -> dict[str, list[str]]:
        """llama.cpp's tensors, and of which of these tensors each is made: of one, or of one of each expert, in order.

        Raises:
            InputRefusedError: ``unknown_tensor``.
        """
        found: dict[str, list[str]] = {}
        for name in names:
            if not self.left_out(name):
                found.setdefault(self.tensor_name(name), []).append(name)
        for sources in found.values():
            sources.sort(key=_expert)
        return found

    def rows(self, name: str, value: Array) -> Array:
        """A tensor, or the output side of an adapter, with its rows in llama.cpp's order.

        Llama-like models rotate halves of each head in Hugging Face's form and neighbouring pairs in llama.cpp's, so the
        rows of their query and key projections are interleaved.
        """
        heads = self._heads_of(name)
        return interleave(value, heads) if heads else value

    def _heads_of(self, name: str) -> int:
        """How many heads have their rows in another order in this tensor; 0: none."""
        heads, key_heads = self.heads
        if not self.layout.interleaved:
            return 0
        return heads if ".q_proj" in name else key_heads if ".k_proj" in name else 0

    def value(self, name: str, value: Array) -> Array:
        """A tensor as llama.cpp wants it."""
        if self.layout.norm_plus_one and _NORM.search(name):
            # Gemma keeps the weight of a norm less one.
            return value + 1
        return self.rows(name, value)

    def restored(self, name: str, value: Array) -> Array:
        """The inverse of :meth:`value`: a tensor as ``name`` has it in Hugging Face's form."""
        if self.layout.norm_plus_one and _NORM.search(name):
            return value - 1
        heads = self._heads_of(name)
        return separate(value, heads) if heads else value

    def left_out(self, name: str) -> bool:
        """Whether a tensor has no place: an output layer that is the embedding again, and buffers."""
        again = name == "lm_head.weight" and tied(self.name, self.config)
        return again or name.endswith(("rotary_emb.inv_freq", "attn.bias", "masked_bias"))


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
    return bool(config.get("tie_word_embeddings", layout is not None and layout.norm_plus_one))


def refuse_tied(family: str, config: JsonObject, changes: Iterable[Delta]) -> None:
    """Refuse an adapter of one side of a matrix that is both the embedding and the output layer.

    Raises:
        InputRefusedError: ``tied``.
    """
    ends = [c.module for c in changes if c.module.rpartition(".")[2] in {EMBEDDINGS, OUTPUT}]
    if ends and tied(family, config):
        raise InputRefusedError(
            "tied",
            f"the adapter changes {', '.join(ends)}, which is one matrix for input and output in this base: it can be "
            "written neither beside the base nor into it",
            "Train without it in lora.targets; all-linear leaves it out.",
        )


def architectures() -> set[str]:
    """llama.cpp's names of the architectures that some family has."""
    return {gguf.MODEL_ARCH_NAMES[layout.architecture] for layout in FAMILIES.values()}


def family_of(architecture: str, *, experts: bool) -> str:
    """The family that a GGUF file of an architecture is read as; empty where there is none."""
    for name, layout in FAMILIES.items():
        if gguf.MODEL_ARCH_NAMES[layout.architecture] == architecture and layout.experts == experts:
            return name
    return ""


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


@dataclass(frozen=True)
class Delta:
    """What an adapter adds to one module: ``scale × B @ A``, with A of shape (rank, inputs) and B of (outputs, rank).

    Of an embedding the inputs are the width, and the outputs the words, as in its weight. ``magnitude``, of shape
    (outputs,), are the lengths that DoRA gives the rows of the sum; none of a plain LoRA.
    """

    module: str
    a: Array
    b: Array
    scale: float
    magnitude: Array | None = None
    embedding: bool = False

    @property
    def rank(self) -> int:
        """The adapter's rank in this module."""
        return int(self.a.shape[0])

    def matrix(self) -> Array:
        """The change of the module's weight, shape (outputs, inputs), in 32-bit floats."""
        return np.float32(self.scale) * (self.b.astype(np.float32) @ self.a.astype(np.float32))

    def merged(self, value: Array, rows: Callable[[Array], Array] = lambda array: array) -> Array:
        """The weight with the change in it; ``rows`` is the order in which the weight has its rows."""
        total: Array = value + rows(self.matrix())
        if self.magnitude is None:
            return total
        # Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024: the direction of the sum, a learned length.
        lengths = np.linalg.norm(total, axis=1, keepdims=True)
        scaled: Array = total * (rows(self.magnitude.astype(np.float32)[:, None]) / lengths)
        return scaled


def deltas(config: JsonObject, tensors: dict[str, Array]) -> list[Delta]:
    """The changes an adapter makes, from PEFT's configuration and tensors.

    The scale is alpha/rank, or alpha/√rank with rsLoRA (Kalajdzievski 2023); patterns by module are followed.

    Raises:
        InputRefusedError: ``unknown_adapter``.
    """
    sides: dict[str, dict[str, Array]] = {}
    for name, value in tensors.items():
        match = _ADAPTER.match(name)
        if match is None:
            raise InputRefusedError("unknown_adapter", f"the adapter has a tensor that is not part of a LoRA: {name}")
        sides.setdefault(match["module"], {})[_PARTS[match["part"]]] = value
    found = []
    for module, pair in sides.items():
        magnitude = pair.pop("m", None)
        embedding = set(pair) == {"eA", "eB"}
        # Of an embedding PEFT has them the other way around: (rank, words) and (width, rank).
        two = {"A": pair["eB"].T, "B": pair["eA"].T} if embedding else pair
        if set(two) != {"A", "B"} or (bool(config.get("use_dora")) and magnitude is None):
            raise InputRefusedError("unknown_adapter", f"the adapter has not all of its matrices for {module}")
        rank = two["A"].shape[0]
        alpha = _pattern(config.get("alpha_pattern"), module, float(config.get("lora_alpha") or rank))
        scale = alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
        found.append(Delta(module, two["A"], two["B"], scale, magnitude, embedding))
    return found


def _pattern(patterns: JsonObject | None, module: str, default: float) -> float:
    """PEFT's own rule: a pattern stands for the end of a module's name."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return float(value)
    return default
