"""The shape of a model's KV cache: row width per layer, and the layers with sliding windows.

Where a header does not say which layers do, the families' own patterns hold, as llama.cpp has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmops_tui.models.engine_settings import CACHE_BLOCKS, EngineSettings, check_cache
from llmops_tui.models.gguf_header import GgufHeader

PAD = 256
# Of how many layers one looks at the whole context, and whether it is the first of them; else it is the last.
_PATTERNS: dict[str, tuple[int, bool]] = {
    "afmoe": (4, False), "cohere2": (4, False), "cohere2moe": (4, True), "exaone-moe": (4, False),
    "exaone4": (4, False), "gemma2": (2, False), "gemma3": (6, False), "gemma3n": (5, False), "gpt-oss": (2, False),
    "laguna": (4, True), "llama4": (4, False), "mellum": (4, False), "muse-glimmer": (4, False), "olmo2": (4, False),
    "plamo3": (8, False), "smallthinker": (4, True),
}  # fmt: skip
# Families whose headers name each layer, and those all of whose attention looks through the window.
_NAMED = {"gemma4", "granite_swa", "maple", "mimo2", "spark2_5", "step35", "dots3note"}
_ALL = {"deepseek4", "lfm2"}
# Windows of headers that do not say; a window that no header changes.
_WINDOWS = {"gemma2": 4096, "exaone-moe": 128, "llama4": 8192}
_FIXED = {"llama4": 8192, "smallthinker": 4096}
_WITHOUT_CACHE = {
    "bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert", "eurobert", "modern-bert",
    "gemma-embedding", "dream", "llada", "llada-moe", "rnd1", "wavtokenizer-dec",
}  # fmt: skip
_HYBRID_BY_INTERVAL = {"qwen3next", "qwen35", "qwen35moe", "qwen4exp", "minimax-01"}


@dataclass(frozen=True)
class CacheShape:
    """For each layer, the values a token's key and value take (0: the layer has no cache), and whether it has a window.

    ``heads`` is how wide one head's keys and values are.
    """

    keys: tuple[int, ...]
    values: tuple[int, ...]
    windowed: tuple[bool, ...]
    window: int
    heads: tuple[int, int]

    def cells(self, settings: EngineSettings, context: int) -> tuple[int, int]:
        """How many tokens of a request layers keep: those that look at all, and those with a window."""
        whole = -(-context // PAD) * PAD
        short = -(-(self.window + settings.micro_batch) // PAD) * PAD
        return whole, whole if settings.swa_full else min(whole, short)

    def bytes_by_layer(self, settings: EngineSettings, context: int) -> list[int]:
        """The cache's size in each layer, in bytes, for requests of ``context`` tokens each.

        Raises:
            InputRefusedError: a cache in blocks that the model's heads do not fill.
        """
        check_cache(settings, self.heads)
        whole, short = self.cells(settings, context)
        key_kind, value_kind = settings.cache_types
        # Without flash attention values lie transposed, all rows as wide as the widest.
        widest = max(self.values, default=0) if not settings.flash else 0
        found = []
        for key, value, windowed in zip(self.keys, self.values, self.windowed, strict=True):
            cells = short if windowed else whole
            row = _bytes(key_kind, key) + _bytes(value_kind, max(value, widest) if value else 0)
            found.append(row * cells * settings.parallel)
        return found


def cache_shape(header: GgufHeader) -> CacheShape:
    """The shape of a model's cache, from its header."""
    name = header.architecture
    layers = int(_fact(header, "block_count") or 0)
    heads = per_layer(_fact(header, "attention.head_count"), layers)
    kv_heads = per_layer(_fact(header, "attention.head_count_kv"), layers)
    windowed, window = _windows(header, layers)
    width = int(_fact(header, "embedding_length") or 0)
    first = int(heads[0] or 0) if heads else 0
    key = int(_fact(header, "attention.key_length") or (width // first if first else 0))
    value = int(_fact(header, "attention.value_length") or (width // first if first else 0))
    key_swa = int(_fact(header, "attention.key_length_swa") or key)
    value_swa = int(_fact(header, "attention.value_length_swa") or value)
    # Latent attention keeps one row for both.
    latent = bool(_fact(header, "attention.key_length_mla") and _fact(header, "attention.value_length_mla"))
    keys, values = [], []
    for layer in range(layers):
        count = int((kv_heads[layer] if kv_heads[layer] is not None else heads[layer]) or 0)
        count = count if name not in _WITHOUT_CACHE and _has_cache(header, layer, layers) else 0
        keys.append(count * (key_swa if windowed[layer] else key))
        values.append(0 if latent else count * (value_swa if windowed[layer] else value))
    return CacheShape(tuple(keys), tuple(values), tuple(windowed), window, (key, key if latent else value))


def per_layer(value: Any, layers: int) -> list[Any]:
    """A figure that is given once for all layers or for each."""
    if isinstance(value, list):
        return [value[n] if n < len(value) else value[-1] for n in range(layers)] if value else [None] * layers
    return [value] * layers


def _windows(header: GgufHeader, layers: int) -> tuple[list[bool], int]:
    """Which layers look through a window, and its width in tokens."""
    name = header.architecture
    given = _fact(header, "attention.sliding_window")
    window = int(given) if given is not None else _WINDOWS.get(name, 0)
    none = [False] * layers
    if not window or name not in {*_PATTERNS, *_NAMED, *_ALL} or (name == "exaone4" and layers != 64):
        return none, 0
    window = _FIXED.get(name, window)
    if name in _ALL:
        return [True] * layers, window
    pattern = _fact(header, "attention.sliding_window_pattern")
    if isinstance(pattern, list):
        return [bool(x) for x in per_layer(pattern, layers)], window
    if name in _NAMED:
        return none, 0
    period, first = _PATTERNS[name]
    period = int(pattern) if pattern is not None else period
    if period == 0:
        return [True] * layers, window
    return [n % period != (0 if first else period - 1) for n in range(layers)], window


def _has_cache(header: GgufHeader, layer: int, layers: int) -> bool:
    """Whether a layer keeps rows of its own: not those that share, predict ahead, or remember otherwise."""
    name = header.architecture
    if layer >= layers - int(_fact(header, "nextn_predict_layers") or 0):
        return False
    if name == "gemma3n":
        return layer < 20
    if name in _HYBRID_BY_INTERVAL:
        return (layer + 1) % int(_fact(header, "full_attention_interval") or 4) == 0
    return layer < layers - int(_fact(header, "attention.shared_kv_layers") or 0)


def _fact(header: GgufHeader, key: str) -> Any:
    return header.metadata.get(f"{header.architecture}.{key}")


def _bytes(kind: str, values: int) -> int:
    in_block, size = CACHE_BLOCKS[kind]
    return values // in_block * size
