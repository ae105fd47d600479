"""The memory a model needs before it is loaded: weights, cache and buffers, on the GPU and on the host.

The figures follow llama.cpp's own allocation: the weights as they lie in the file, a cache of key and value rows for
each layer and token, and one buffer for the largest step. They are estimates; those of the buffer are the roughest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from llmops_tui.models.gguf import GgufHeader

MICRO_BATCH = 512
_PAD = 256
# What the server's two Python processes hold besides the model.
PROCESS_BYTES = 180_000_000
# What the CUDA runtime takes on a GPU before anything is loaded.
_CUDA_BYTES = 350_000_000


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes a model needs with so many layers on the GPU."""

    context: int
    parallel: int
    gpu_layers: int
    layers: int
    weights: int
    kv_cache: int
    compute: int
    gpu: int
    host: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.gpu + self.host

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"total": self.total}


def default_context(header: GgufHeader, context: int) -> int:
    """The context in tokens that a model is loaded with: what was asked, or the model's own, up to 4,096."""
    trained = header.context_length or 4096
    return min(context, trained) if context else min(trained, 4096)


def kv_bytes_per_token(header: GgufHeader, *, exact: bool = False) -> list[int]:
    """Bytes one token takes in the cache, for each layer; none for layers without attention."""
    name = header.architecture
    layers = int(header.metadata.get(f"{name}.block_count") or 0)
    width = int(header.metadata.get(f"{name}.embedding_length") or 0)
    heads = _per_layer(header.metadata.get(f"{name}.attention.head_count"), layers)
    kv_heads = _per_layer(header.metadata.get(f"{name}.attention.head_count_kv"), layers)
    size = 4 if exact else 2
    found = []
    for layer in range(layers):
        count = kv_heads[layer] if kv_heads[layer] is not None else heads[layer]
        head_width = width // heads[layer] if heads[layer] else 0
        key = int(header.metadata.get(f"{name}.attention.key_length") or head_width)
        value = int(header.metadata.get(f"{name}.attention.value_length") or head_width)
        found.append(int(count or 0) * (key + value) * size)
    return found


def estimate(
    header: GgufHeader, *, context: int = 0, parallel: int = 1, gpu_layers: int = 0, exact: bool = False
) -> MemoryEstimate:
    """What a model needs. ``gpu_layers`` counts from the last layer, the output being one more; -1 is all."""
    name = header.architecture
    context = default_context(header, context)
    cells = -(-context // _PAD) * _PAD * parallel
    per_token = kv_bytes_per_token(header, exact=exact)
    layers = len(per_token)
    on_gpu = layers + 1 if gpu_layers < 0 else min(gpu_layers, layers + 1)
    inner = max(0, on_gpu - 1) if on_gpu > layers else on_gpu
    kv = [bytes_ * cells for bytes_ in per_token]
    width = int(header.metadata.get(f"{name}.embedding_length") or 0)
    forward = max((v or 0 for v in _per_layer(header.metadata.get(f"{name}.feed_forward_length"), layers)), default=0)
    vocabulary = header.array_lengths.get("tokenizer.ggml.tokens", 0)
    at_output = vocabulary + 2 * width
    at_layer = 3 * forward + 4 * width + (context // 2 if not exact else context * 2)
    compute = 4 * MICRO_BATCH * max(at_output, at_layer)
    weights = header.tensor_bytes
    by_layer = [header.layer_bytes.get(n, 0) for n in range(layers)]
    gpu_weights = sum(by_layer[layers - inner :]) + (header.output_bytes if on_gpu > layers else 0)
    gpu = 0
    if on_gpu:
        gpu = gpu_weights + sum(kv[layers - inner :]) + compute + _CUDA_BYTES
    # The weights stay mapped on the host only as far as they are not on the GPU.
    host = weights - gpu_weights + sum(kv[: layers - inner]) + PROCESS_BYTES + (0 if on_gpu > layers else compute)
    return MemoryEstimate(context, parallel, on_gpu, layers, weights, sum(kv), compute, gpu, host)


def choose_gpu_layers(
    header: GgufHeader, free: int, *, context: int = 0, parallel: int = 1, exact: bool = False
) -> MemoryEstimate:
    """The most layers that fit into ``free`` bytes of GPU memory."""
    layers = len(kv_bytes_per_token(header))
    for count in range(layers + 1, 0, -1):
        found = estimate(header, context=context, parallel=parallel, gpu_layers=count, exact=exact)
        if found.gpu <= free:
            return found
    return estimate(header, context=context, parallel=parallel, gpu_layers=0, exact=exact)


def largest_that_fits(header: GgufHeader, free: int, *, context: int, gpu: bool) -> MemoryEstimate | None:
    """The nearest smaller setting that fits: fewer parallel requests first, then a shorter context."""
    wanted = default_context(header, context)
    while wanted >= _PAD:
        for parallel in (4, 2, 1):
            found = estimate(header, context=wanted, parallel=parallel, gpu_layers=-1 if gpu else 0)
            if (found.gpu if gpu else found.host) <= free:
                return found
        wanted //= 2
    return None


def _per_layer(value: Any, layers: int) -> list[Any]:
    """A figure that is given once for all layers or for each."""
    if isinstance(value, list):
        return [value[n] if n < len(value) else value[-1] for n in range(layers)]
    return [value] * layers
