"""Tensor names and layouts of Hugging Face models in llama.cpp, by model family."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.training.export.tensors import Array


@dataclass(frozen=True)
class Layout:
    """How the tensors of a family differ from llama.cpp's.

    Attributes:
        architecture: llama.cpp's architecture.
        interleaved: whether rotated halves of a head become neighbouring pairs.
        norm_plus_one: whether the weights of norms are kept less one, and the output layer is mostly the embedding.
    """

    architecture: gguf.MODEL_ARCH
    interleaved: bool = False
    norm_plus_one: bool = False


# The families by the name in config.json: a new one is a line here.
FAMILIES: dict[str, Layout] = {
    "llama": Layout(gguf.MODEL_ARCH.LLAMA, interleaved=True),
    "mistral": Layout(gguf.MODEL_ARCH.LLAMA, interleaved=True),
    "qwen2": Layout(gguf.MODEL_ARCH.QWEN2),
    "qwen3": Layout(gguf.MODEL_ARCH.QWEN3),
    "gemma": Layout(gguf.MODEL_ARCH.GEMMA, norm_plus_one=True),
    "gemma2": Layout(gguf.MODEL_ARCH.GEMMA2, norm_plus_one=True),
    "gemma3_text": Layout(gguf.MODEL_ARCH.GEMMA3, norm_plus_one=True),
    "phi": Layout(gguf.MODEL_ARCH.PHI2),
    "phi3": Layout(gguf.MODEL_ARCH.PHI3),
}
EMBEDDINGS, OUTPUT = "embed_tokens", "lm_head"
_NORM = re.compile(r"norm\.weight$")
_PARTS = {
    "lora_A": "A",
    "lora_B": "B",
    "lora_embedding_A": "eA",
    "lora_embedding_B": "eB",
    "lora_magnitude_vector": "m",
}
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
        found = gguf.get_tensor_name_map(self.architecture, self.layers).get_name(
            name, try_suffixes=(".weight", ".bias")
        )
        if found is None:
            raise InputRefusedError("unknown_tensor", f"llama.cpp's {self.name} has no place for the tensor {name}")
        return str(found)

    def rows(self, name: str, value: Array) -> Array:
        """A tensor, or the output side of an adapter, with its rows in llama.cpp's order.

        Llama-like models rotate halves of each head in Hugging Face's form and neighbouring pairs in llama.cpp's, so the
        rows of their query and key projections are interleaved.
        """
        if not self.layout.interleaved:
            return value
        heads, key_heads = self.heads
        if ".q_proj" in name:
            return interleave(value, heads)
        return interleave(value, key_heads) if ".k_proj" in name else value

    def value(self, name: str, value: Array) -> Array:
        """A tensor as llama.cpp wants it."""
        if self.layout.norm_plus_one and _NORM.search(name):
            # Gemma keeps the weight of a norm less one.
            return value + 1
        return self.rows(name, value)

    def left_out(self, name: str) -> bool:
        """Whether a tensor has no place: an output layer that is the embedding again, and buffers."""
        again = name == "lm_head.weight" and tied(self.name, self.config)
        return again or name.endswith(("rotary_emb.inv_freq", "attn.bias", "masked_bias"))


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


def interleave(value: Array, heads: int) -> Array:
    """Rows from two halves a head to pairs: the inverse order of rotate-half. Shape (heads × width, ...)."""
    rows = value.shape[0]
    return np.ascontiguousarray(
        value.reshape(heads, 2, rows // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
    )


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
