"""The memory a model needs before it is loaded: weights, cache and buffers, on each GPU and on the host.

The figures follow llama.cpp's own allocation: the weights as they lie in the file, a cache of key and value rows for
each layer and token, one buffer for the largest step, and both once more, smaller, for the context that embeds.
They are estimates; those of the buffer are the roughest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

from llmops_tui.models.cache_shape import PAD, CacheShape, cache_shape, per_layer
from llmops_tui.models.embedding_memory import embedding_memory
from llmops_tui.models.engine_settings import EngineSettings
from llmops_tui.models.gguf_header import GgufHeader
from llmops_tui.models.records import MemoryRecord

# What the server's two Python processes hold besides the model.
PROCESS_BYTES = 180_000_000
# What the CUDA runtime takes on a GPU before anything is loaded.
CUDA_BYTES = 350_000_000


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes a model needs with so many layers on GPUs; ``gpus`` is what each of them holds, in the order of the plan.

    ``on`` is how many layers each has, the output being one more. ``embedding`` is the context that embeds, all of it.
    """

    context: int
    parallel: int
    layers: int
    on: tuple[int, ...]
    weights: int
    kv_cache: int
    compute: int
    embedding: int
    gpus: tuple[int, ...]
    host: int

    @property
    def gpu_layers(self) -> int:
        """Layers on GPUs."""
        return sum(self.on)

    @property
    def gpu(self) -> int:
        """Bytes on all GPUs together."""
        return sum(self.gpus)

    @property
    def total(self) -> int:
        """All of it."""
        return self.gpu + self.host

    @property
    def processes(self) -> int:
        """What the server's two processes hold besides the model."""
        return PROCESS_BYTES

    @property
    def gpu_overhead(self) -> int:
        """What GPUs take besides: their runtime, and buffers and a matrix that are there more than once."""
        return self.total - self.weights - self.kv_cache - self.compute - self.embedding - self.processes

    def parts(self) -> dict[str, int]:
        """All of it by part, by the names people read; the sum is :attr:`total`."""
        found = {
            "weights": self.weights,
            "KV cache": self.kv_cache,
            "compute": self.compute,
            "embeddings": self.embedding,
            "processes": self.processes,
        }
        return found | ({"GPU runtime and copies": self.gpu_overhead} if self.gpus else {})

    def as_dict(self) -> MemoryRecord:
        """For JSON."""
        sums = ("gpu_layers", "gpu", "processes", "gpu_overhead", "total")
        return cast("MemoryRecord", asdict(self) | {name: getattr(self, name) for name in sums})


def context_note(header: GgufHeader, context: int) -> str:
    """What there is to be told where more tokens are asked for than a model was made for; else nothing."""
    trained = header.context_length
    if trained is None or context <= trained:
        return ""
    return f"context: {context:,} tokens were requested, and the model was trained for {trained:,}; it is loaded with {trained:,}"


def default_context(header: GgufHeader, context: int) -> int:
    """The context in tokens that a model is loaded with: what was asked, or the model's own, up to 4,096."""
    trained = header.context_length or 4096
    return min(context, trained) if context else min(trained, 4096)


@dataclass(frozen=True)
class _Needs:
    """What each part takes: of every layer, the output being the last, its weights and its caches; and steps' buffers.

    ``cache`` and ``compute`` are of both contexts, the one that generates, which ``generating`` has alone, and the one
    that embeds, whose ``embedding`` is all of it and ``outputs`` what it has on the host.
    """

    context: int
    weights: list[int]
    cache: list[int]
    compute: int
    generating: tuple[int, int]
    embedding: int
    outputs: int

    @property
    def layers(self) -> int:
        return len(self.cache) - 1

    def held(self, begin: int, end: int) -> int:
        """What a GPU holds that has these layers."""
        if begin == end:
            return 0
        return sum(self.weights[begin:end]) + sum(self.cache[begin:end]) + self.compute + CUDA_BYTES


def _needs(header: GgufHeader, settings: EngineSettings) -> _Needs:
    context = default_context(header, settings.context)
    shape = cache_shape(header)
    cache = shape.bytes_by_layer(settings, context)
    layers = len(cache)
    # Experts that stay on the host are no part of what a GPU gets.
    weights = [
        header.layer_bytes.get(n, 0) - (header.expert_bytes.get(n, 0) if n < settings.cpu_moe else 0)
        for n in range(layers)
    ]
    compute = _compute_bytes(header, settings, shape, context)
    beside = embedding_memory(header, settings, context)
    return _Needs(
        context=context,
        weights=[*weights, header.output_bytes],
        cache=[own + other for own, other in zip(cache, beside.cache, strict=True)] + [0],
        compute=compute + beside.compute,
        generating=(sum(cache), compute),
        embedding=beside.total,
        outputs=beside.outputs,
    )


def estimate(
    header: GgufHeader, settings: EngineSettings, on: Sequence[int] = (), *, rows: Sequence[float] = ()
) -> MemoryEstimate:
    """What a model needs with ``on[n]`` layers on the n-th GPU; layers count from the last, the output being one more.

    With ``rows`` each GPU has such a share of every matrix instead, and the first has the cache.

    Raises:
        InputRefusedError: a cache in blocks that the model's heads do not fill.
    """
    needs = _needs(header, settings)
    on_gpu = min(sum(on), needs.layers + 1)
    start = needs.layers + 1 - on_gpu
    weights = sum(needs.weights[start:])
    gpus: list[int] = []
    if rows and on_gpu:
        gpus = [int(weights * share / sum(rows)) + needs.compute + CUDA_BYTES for share in rows]
        gpus[0] += sum(needs.cache[start:])
    elif on_gpu:
        ends = [start + sum(on[: n + 1]) for n in range(len(on))]
        gpus = [needs.held(end - count, end) for end, count in zip(ends, on, strict=True)]
    # The weights stay mapped on the host only as far as they are not on a GPU; a matrix that serves both as the input
    # and as the output stays there, and the GPU has a copy.
    host = header.tensor_bytes - weights + (header.output_bytes if on_gpu and header.tied else 0)
    host += sum(needs.cache[:start]) + PROCESS_BYTES + needs.outputs + (0 if on_gpu > needs.layers else needs.compute)
    return MemoryEstimate(
        context=needs.context,
        parallel=settings.parallel,
        layers=needs.layers,
        on=tuple(on) if on_gpu else (),
        weights=header.tensor_bytes,
        kv_cache=needs.generating[0],
        compute=needs.generating[1],
        embedding=needs.embedding,
        gpus=tuple(gpus),
        host=host,
    )


def choose_layers(
    header: GgufHeader,
    settings: EngineSettings,
    free: Sequence[int],
    count: int = -1,
    *,
    shares: Sequence[float] = (),
    insist: bool = False,
) -> MemoryEstimate:
    """The most layers, up to ``count``, that fit on GPUs with so many ``free`` bytes, by ``shares`` or by their room.

    With ``insist`` so many it is, whether they fit or not.
    """
    needs = _needs(header, settings)
    wanted = _wanted(needs, count)
    for total in range(wanted, 0, -1):
        start = needs.layers + 1 - total
        ways = (
            [_by_shares(total, shares)] if shares else [_by_shares(total, free), _one_after_another(needs, start, free)]
        )
        for on in ways:
            ends = [start + sum(on[: n + 1]) for n in range(len(on))]
            held = [needs.held(end - count, end) for end, count in zip(ends, on, strict=True)]
            if sum(on) == total and all(need <= room for need, room in zip(held, free, strict=True)):
                return estimate(header, settings, on)
        if insist:
            return estimate(header, settings, ways[0])
    return estimate(header, settings)


def choose_rows(
    header: GgufHeader,
    settings: EngineSettings,
    rows: Sequence[float],
    free: Sequence[int],
    count: int,
    *,
    insist: bool,
) -> MemoryEstimate:
    """The same where each GPU has a share of every matrix, and the first has the cache."""
    for total in range(_wanted(_needs(header, settings), count), 0, -1):
        found = estimate(header, settings, (total,), rows=rows)
        if insist or all(need <= room for need, room in zip(found.gpus, free, strict=True)):
            return found
    return estimate(header, settings)


def _wanted(needs: _Needs, count: int) -> int:
    return needs.layers + 1 if count < 0 else min(count, needs.layers + 1)


def _by_shares(total: int, shares: Sequence[float]) -> list[int]:
    """So many layers shared out; the sums are rounded, so that none is lost."""
    parts = [max(0, share) for share in shares]
    if not any(parts):
        parts = [1] * len(parts)
    ends = [round(total * sum(parts[: n + 1]) / sum(parts)) for n in range(len(parts))]
    return [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def _one_after_another(needs: _Needs, start: int, free: Sequence[int]) -> list[int]:
    """As many of the layers from ``start`` on as fit, each GPU filled before the next."""
    on = []
    for room in free:
        end = start
        while end <= needs.layers and needs.held(start, end + 1) <= room:
            end += 1
        on.append(end - start)
        start = end
    return on


def _compute_bytes(header: GgufHeader, settings: EngineSettings, shape: CacheShape, context: int) -> int:
    """One buffer for the largest step: logits of every token, or the widest layer and what attention masks."""
    layers = len(shape.keys)

    def widest(key: str) -> int:
        given = per_layer(header.metadata.get(f"{header.architecture}.{key}"), layers)
        return max((int(value or 0) for value in given), default=0)

    width = widest("embedding_length")
    forward = max(widest("feed_forward_length"), widest("expert_feed_forward_length") * widest("expert_used_count"))
    whole, short = shape.cells(settings, context)
    masked = whole + (short if any(shape.windowed) else 0)
    # Flash attention masks in 16 bits and keeps no scores.
    attended = masked + widest("attention.head_count") * whole if not settings.flash else masked // 2
    at_output = header.array_lengths.get("tokenizer.ggml.tokens", 0) + 2 * width
    return 4 * settings.micro_batch * max(at_output, 3 * forward + 4 * width + attended)


def largest_that_fits(header: GgufHeader, settings: EngineSettings, free: int, *, gpu: bool) -> tuple[int, int] | None:
    """The nearest smaller setting that fits, as context and parallel requests: fewer requests first, then a shorter context."""
    wanted = default_context(header, settings.context)
    layers = len(cache_shape(header).keys)
    while wanted >= PAD:
        for parallel in (4, 2, 1):
            found = estimate(header, replace(settings, context=wanted, parallel=parallel), (layers + 1,) if gpu else ())
            if (found.gpu if gpu else found.host) <= free:
                return wanted, parallel
        wanted //= 2
    return None
