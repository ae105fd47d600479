"""The sizes of a network that memory and time of its training depend on, read from its configuration and its tensors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from llmops_tui.foreign_text import JsonObject
from llmops_tui.models.safetensors import ModelFolder

_LAYER_OF_ATTENTION = re.compile(r"\.layers\.(\d+)\.(?:self_)?attn\b|\.layers\.(\d+)\.attention\b")
_WINDOWED = frozenset({"sliding_attention", "chunked_attention"})


@dataclass(frozen=True)
class Shape:
    """The sizes of a network that its memory and its time depend on.

    Attributes:
        key_value: numbers of the keys and values of a token in a layer.
        linear: numbers of all linear modules in the layers that can have an adapter; ``other`` are all others.
        widths: inputs plus outputs of each linear module of all layers, by the module's name.
        modules: the numbers of each module by its path, as modules that are trained whole are named.
        queries: numbers of the queries of a token in a layer; 0: as many as ``hidden``.
        experts: of a mixture of experts the numbers of those that a token is multiplied with, in all layers.
        attending: layers with attention to what is before; none: all layers.
        windowed: of these the layers whose attention ends ``window`` tokens before.
    """

    family: str
    layers: int
    hidden: int
    inner: int
    heads: int
    key_value: int
    vocabulary: int
    linear: int
    other: int
    widths: tuple[tuple[str, int], ...]
    modules: tuple[tuple[str, int], ...] = ()
    queries: int = 0
    experts: int = 0
    attending: int | None = None
    windowed: int = 0
    window: int = 0

    @property
    def key(self) -> str:
        """A name for this shape, under which measurements are kept; those of other formulas have other names."""
        return f"2 {self.family}-{self.layers}x{self.hidden}x{self.inner}-v{self.vocabulary}"

    @property
    def attention_layers(self) -> int:
        """Layers with attention."""
        return self.layers if self.attending is None else self.attending

    @property
    def multiplied(self) -> int:
        """The weights that each token is multiplied with: of the layers, of its experts and of the output layer."""
        return self.linear + self.experts + self.vocabulary * self.hidden


def shape_of(folder: ModelFolder) -> Shape:
    """The sizes of a model, from its configuration and the shapes of its tensors."""
    text = folder.config
    hidden, heads = int(text.get("hidden_size") or 0), int(text.get("num_attention_heads") or 1)
    head = int(text.get("head_dim") or hidden // heads)
    layers = int(text.get("num_hidden_layers") or 0)
    linear, other, all_experts = 0, 0, 0
    widths: dict[str, int] = {}
    modules: dict[str, int] = {}
    for name, tensor in folder.tensors.items():
        count = prod(tensor.shape)
        path = name.rpartition(".")[0]
        modules[path] = modules.get(path, 0) + count
        # Experts are matrices of all experts in torch: they have no adapter, and are not quantized.
        expert = ".experts." in name or ".block_sparse_moe." in name
        if len(tensor.shape) == 2 and ".layers." in name and name.endswith(".weight") and not expert:
            linear += count
            module = name.split(".")[-2]
            widths[module] = widths.get(module, 0) + sum(tensor.shape)
        else:
            other += count
            all_experts += count if expert else 0
    attending = len({m[1] or m[2] for path in modules if (m := _LAYER_OF_ATTENTION.search(path))}) or layers
    windowed, window = _windows(text, attending)
    return Shape(
        folder.family,
        layers,
        hidden,
        int(text.get("intermediate_size") or 4 * hidden),
        heads,
        2 * head * int(text.get("num_key_value_heads") or heads),
        int(text.get("vocab_size") or 0),
        linear,
        other,
        tuple(sorted(widths.items())),
        tuple(sorted(modules.items())),
        head * heads,
        int(all_experts * _share_of_experts(text)),
        attending,
        windowed,
        window,
    )


def _windows(config: JsonObject, attending: int) -> tuple[int, int]:
    """How many layers have attention that ends some tokens before, and how many tokens; 0 where none has."""
    window = config.get("sliding_window") or config.get("attention_chunk_size")
    if not isinstance(window, int) or not config.get("use_sliding_window", True):
        return 0, 0
    kinds = config.get("layer_types")
    windowed = sum(kind in _WINDOWED for kind in kinds) if isinstance(kinds, list) else attending
    return (windowed, window) if windowed else (0, 0)


def _share_of_experts(config: JsonObject) -> float:
    """The share of its experts that a token is multiplied with."""
    there = config.get("num_experts") or config.get("num_local_experts")
    chosen = config.get("num_experts_per_tok")
    return chosen / there if isinstance(there, int) and isinstance(chosen, int) and there else 1.0
