"""The embedding context: text length, batch size, and memory next to the generating context.

The engine makes that context by the same figures as the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmops_tui.models.cache_shape import PAD, cache_shape, per_layer
from llmops_tui.models.engine_settings import EngineSettings
from llmops_tui.models.gguf_header import GgufHeader

# How many texts are evaluated together, and how many tokens of them, at most.
SEQUENCES = 64
PACK = 256
# A model that was made to generate embeds texts of up to so many tokens; one that was made to embed, of its context.
LONGEST = 2048
_SMALLEST_STEP = 64
# llama.cpp keeps a row of logits for every position that is embedded: steps are cut so that these stay small.
_LOGITS_BYTES = 64 * 1024 * 1024
# Mean, first token, last token, rank: the poolings that make one vector, or one score, of a text.
_POOLED = range(1, 5)


@dataclass(frozen=True)
class EmbeddingShape:
    """A context that embeds, in tokens.

    Attributes:
        longest: the longest text it takes.
        step: what one evaluation takes; a longer text is evaluated in pieces.
        cells: the context's own length.
    """

    longest: int
    step: int
    cells: int


@dataclass(frozen=True)
class EmbeddingMemory:
    """Bytes such a context needs: its cache in each layer, its largest step, and what is read from it, on the host."""

    cache: list[int]
    compute: int
    outputs: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.cache) + self.compute + self.outputs


def embedding_shape(*, context: int, vocabulary: int, causal: bool, pooling: int) -> EmbeddingShape:
    """The context that embeds, for a model loaded with ``context`` tokens a request; ``pooling`` is llama.cpp's number."""
    if not causal:
        # Every token looks at all others: a text is evaluated as a whole.
        step = _padded(max(context, PACK))
        return EmbeddingShape(longest=context, step=step, cells=step)
    longest = context if pooling in _POOLED else min(context, LONGEST)
    step = max(_SMALLEST_STEP, min(PACK, _LOGITS_BYTES // (4 * max(1, vocabulary))))
    # Beside a long text, which is evaluated in pieces, there is room for a step of short ones.
    return EmbeddingShape(longest=longest, step=step, cells=_padded(longest + step))


def embedding_memory(header: GgufHeader, settings: EngineSettings, context: int) -> EmbeddingMemory:
    """What embedding needs beside generating, for a model loaded with ``context`` tokens a request."""

    def fact(key: str, default: int) -> int:
        given = per_layer(header.metadata.get(f"{header.architecture}.{key}"), 1)[0]
        return default if given is None else int(given)

    causal = header.metadata.get(f"{header.architecture}.attention.causal") is not False
    vocabulary = header.array_lengths.get("tokenizer.ggml.tokens", 0)
    made = embedding_shape(context=context, vocabulary=vocabulary, causal=causal, pooling=fact("pooling_type", -1))
    one = replace(settings, parallel=1, micro_batch=made.step, swa_full=True)
    width = fact("embedding_length", 0)
    # What attention looks at is masked in 16 bits, and without flash attention in 32 for each head.
    scores = made.cells * (1 + fact("attention.head_count", 0)) if not settings.flash else made.cells // 2
    at_layer = 3 * fact("feed_forward_length", 0) + 4 * width + scores
    return EmbeddingMemory(
        cache=cache_shape(header).bytes_by_layer(one, made.cells),
        compute=4 * made.step * max(at_layer, vocabulary + 2 * width if causal else 0),
        outputs=4 * made.step * (vocabulary + width),
    )


def _padded(tokens: int) -> int:
    return -(-tokens // PAD) * PAD
