"""Memory of a training run by part, estimated in advance, and the nearest settings that fit.

Derived from what transformers, peft and TRL allocate: the weights as they are held, the adapter with its gradients and
optimizer, what autograd keeps of a layer for the backward pass, and a tile of the logits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from llmops_tui.errors import InputRefusedError
from llmops_tui.training.attention_costs import attention_bytes, rows_at_once
from llmops_tui.training.recipe import Changes, Recipe, changed
from llmops_tui.training.records import MemoryFacts, MemoryParts
from llmops_tui.training.shape import Shape

# The modules of both ends, as families.py names them, which takes long to import.
EMBEDDINGS, OUTPUT = "embed_tokens", "lm_head"
_BLOCK, _BLOCK_OF_BLOCKS = 64, 256
_OPTIMIZER_BYTES = {
    "adamw_torch": 8, "adamw_torch_fused": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2, "paged_adamw_32bit": 8,
    "adafactor": 1, "sgd": 0,
}  # fmt: skip
# What CUDA, its libraries and the allocator's rounding take of a card; and what Python with its libraries takes of a host.
GPU_OVERHEAD = 900_000_000
_HOST_OVERHEAD = 815_000_000
# Adapters are trained in 32 bits, whatever the base is held in.
_ADAPTER_BYTES = 4
# Tiles of the logits in TRL 1.16.
_TILE_TOKENS, _TILE_WORDS, _TILE_BYTES_ON_HOST = 4096, 32_768, 42


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes by part. ``factor`` is what measured runs of this shape came to beside their estimates.

    On a GPU ``logits`` are what they take beyond a layer at work, which is among the activations: both are never there at once.
    """

    weights: int
    adapter: int
    optimizer: int
    activations: int
    logits: int
    overhead: int
    factor: float = 1.0

    @property
    def total(self) -> int:
        """All of it, as measured runs corrected it."""
        parts = self.weights + self.adapter + self.optimizer + self.activations + self.logits + self.overhead
        return int(parts * self.factor)

    def as_dict(self) -> MemoryParts:
        """For JSON."""
        return cast("MemoryParts", asdict(self) | {"total": self.total})


def optimizer_on(recipe: Recipe, *, gpu: bool) -> str:
    """The optimizer of a recipe on a GPU or a processor, where it leaves that open."""
    if recipe.optimizer.name != "auto":
        return recipe.optimizer.name
    # bitsandbytes does not divide its state, and a recipe that names it for DoRA on fp4 is refused.
    small = gpu and not recipe.fsdp and not (recipe.lora.dora and recipe.quantization.type == "fp4")
    return "paged_adamw_8bit" if small else "adamw_torch"


def estimate(shape: Shape, recipe: Recipe, longest: int, *, gpu: bool, factor: float = 1.0) -> TrainingMemory:
    """The peak of a run whose longest row has ``longest`` tokens; of several GPUs that of each."""
    part = recipe.reinforcement
    answered = recipe.facts.examples == "prompts"
    width = min(longest + part.max_tokens if answered else longest, recipe.batch.max_length)
    tokens = rows_at_once(recipe) * width
    wide = 4 if recipe.quantization.compute == "float32" else 2
    weights = shape.other * wide + shape.linear * wide
    if recipe.quantization.type != "none":
        constants = 1 / _BLOCK + 4 / (_BLOCK * _BLOCK_OF_BLOCKS) if recipe.quantization.double else 4 / _BLOCK
        weights = shape.other * wide + int(shape.linear * (0.5 + constants))
    full = recipe.tuning == "full"
    if full:
        # All weights in 32 bits; on a GPU those that are multiplied in 16 bits are there once more, as they are computed in.
        weights = 4 * (shape.linear + shape.other) + (wide * shape.linear if gpu and wide < 4 else 0)
        if recipe.method in {"dpo", "kto"}:
            # What preferences are measured from.
            weights += 4 * (shape.linear + shape.other)
        wide = wide if gpu else 4
    trainable = trainable_parameters(shape, recipe)
    # Gradients are there at the same time as the optimizer's state.
    optimizer = trainable * (_OPTIMIZER_BYTES[optimizer_on(recipe, gpu=gpu)] + _ADAPTER_BYTES)
    kept, working = _activations(shape, recipe, width, wide, gpu=gpu)
    activations = kept + working
    logits = _logits_bytes(shape, recipe, tokens, wide, gpu=gpu)
    if gpu and not recipe.facts.whole_logits:
        # They are gone when the gradients of the last layer are computed: of both the larger is the peak.
        logits = max(0, logits - working)
    if answered:
        # While it generates all answers of a step have their keys and values at once, and nothing is kept for gradients.
        cache = recipe.effective_batch * width * shape.layers * shape.key_value * wide
        activations = max(activations, cache)
    if recipe.fsdp and gpu:
        # A part of everything, and whole what is computed at the time: a layer, and what stands beside the layers.
        whole = (shape.linear // max(1, shape.layers) + shape.other) * wide
        weights = weights // recipe.ranks + whole
        trainable, optimizer = trainable // recipe.ranks, optimizer // recipe.ranks
    # Processes that train together have a card each, or share the host.
    together = 1 if gpu else recipe.ranks
    return TrainingMemory(
        weights * together,
        0 if full else trainable * _ADAPTER_BYTES * together,
        optimizer * together,
        activations * together,
        logits * together,
        (GPU_OVERHEAD if gpu else _HOST_OVERHEAD) * together,
        factor,
    )


def _logits_bytes(shape: Shape, recipe: Recipe, tokens: int, wide: int, *, gpu: bool) -> int:
    """The largest piece of the logits, with what is computed of it.

    TRL's supervised, DPO and KTO trainers never hold all of them: a tile of tokens and words at a time, on a GPU as one
    buffer. On a processor torch computes the tile with copies in 32 bits, which were measured to
    take 42 bytes a value.
    """
    if recipe.facts.whole_logits:
        # As computed, upcast to 32 bits, its log-softmax, and the gradient of both.
        return tokens * shape.vocabulary * (wide + 4 + 4 + 4)
    tile = min(tokens, _TILE_TOKENS) * min(shape.vocabulary, _TILE_WORDS)
    # The hidden states as the last norm has them, in 32 bits too, those that are scored, and their gradients.
    return tile * wide + tokens * shape.hidden * (8 + 4 * wide) if gpu else tile * _TILE_BYTES_ON_HOST


def trainable_parameters(shape: Shape, recipe: Recipe) -> int:
    """Numbers that are trained: rank × (inputs + outputs) of every module that gets an adapter, and what is trained whole."""
    if recipe.tuning == "full":
        return shape.linear + shape.other
    saved = (*recipe.lora.modules_to_save, *((EMBEDDINGS, OUTPUT) if recipe.tokens else ()))
    whole = sum(count for path, count in shape.modules if saved and _within(path, saved))
    targets = recipe.lora.targets
    names = {target.rpartition(".")[2] for target in targets}
    chosen = (width for name, width in shape.widths if targets == ["all-linear"] or name in names)
    if saved and OUTPUT.endswith(saved) and not any(path.endswith((OUTPUT, *saved)) for path, _ in shape.modules):
        # The output layer is the embedding again, which is then trained by its other name.
        whole += shape.vocabulary * shape.hidden
    return whole + sum(recipe.lora.rank * width for width in chosen)


def _within(path: str, saved: tuple[str, ...]) -> bool:
    """Whether a module is one of those that are trained whole, or in one: PEFT takes all whose path ends so."""
    names = path.split(".")
    return any(".".join(names[: end + 1]).endswith(saved) for end in range(len(names)))


def _activations(shape: Shape, recipe: Recipe, width: int, wide: int, *, gpu: bool) -> tuple[int, int]:
    """What is kept of all layers, and what is there beside it while the gradients of one are computed."""
    tokens = rows_at_once(recipe) * width
    layer, working = _layer_bytes(shape, recipe, tokens, wide, gpu=gpu)
    attention = attention_bytes(shape, recipe, width, wide, gpu=gpu)
    working += attention.working
    if recipe.quantization.type != "none":
        # The largest weight is held dequantized while it is multiplied.
        working += shape.hidden * shape.inner * wide
    if recipe.gradient_checkpointing:
        # What is recomputed of a layer is there while its gradients are.
        return shape.layers * shape.hidden * tokens * wide + attention.once, working + layer + attention.kept
    return shape.layers * layer + shape.attention_layers * attention.kept + attention.once, working


def _layer_bytes(shape: Shape, recipe: Recipe, tokens: int, wide: int, *, gpu: bool) -> tuple[int, int]:
    """What autograd keeps of one layer, and what is there beside it while the layer's gradients are computed.

    Kept are inputs of norms (in 32 bits too), of attention, of products, and of each adapter. On a GPU they were counted of
    transformers' code, with tensors that have no numbers (docs/benchmarks.md, "Long contexts"); on a host they are as measured
    there.
    """
    liger = recipe.kernels == "liger"
    queries = shape.queries or shape.hidden
    adapter = recipe.tuning == "lora"
    # Liger computes the gate's activation once more in the backward pass.
    feed_forward = (3 if liger else 4) * shape.inner * wide
    modules = max(1, len(shape.widths)) if recipe.lora.targets == ["all-linear"] else len(recipe.lora.targets)
    adapters = modules * recipe.lora.rank * (4 if recipe.quantization.type == "none" else 2) if adapter else 0
    if recipe.lora.dropout and adapter:
        adapters += modules * shape.hidden * 3
    if not gpu:
        norms = 2 * shape.hidden * (wide + 4 + wide)
        attention = (shape.hidden * 2 + shape.key_value) * wide * 2 + shape.hidden * wide
        return tokens * (norms + attention + feed_forward + adapters), 0
    norms = 2 * shape.hidden * ((wide if liger else 4) + wide)
    attention = (2 * queries + shape.key_value) * wide
    if adapter and recipe.quantization.type == "none" and wide < _ADAPTER_BYTES:
        # PEFT widens the input of each adapter for its weights, and autocast narrows it again, each time as a copy.
        adapters += (3 * shape.hidden + queries) * wide
    # Of the gate's product and of the residual two gradients each; Liger writes one of both over what was kept.
    gradients = (1 if liger else 2) * (shape.inner + shape.hidden) * wide
    return tokens * (norms + attention + feed_forward + adapters), tokens * gradients


@dataclass(frozen=True)
class Calibration:
    """What runs of a shape on a device tell: the factor of estimates, tokens a second, and how many runs there were.

    Tokens are those with padding, as if attention cost nothing: how much it costs goes by the length of rows.
    """

    factor: float = 1.0
    tokens_per_s: float | None = None
    runs: int = 0


@dataclass(frozen=True)
class Fit:
    """A change of the recipe with which the run fits, in words, and what it needs then."""

    changes: dict[str, Any]
    memory: TrainingMemory


def nearest_that_fits(
    shape: Shape, recipe: Recipe, longest: int, available: int, *, gpu: bool, factor: float = 1.0
) -> Fit | None:
    """The least change with which a run fits: what costs time first, then what changes the result; none where nothing helps."""
    changes: dict[str, Any] = {}
    for step in _steps(recipe):
        try:
            other = changed(recipe, {**changes, **step})
        except InputRefusedError:
            # Not every recipe can be changed so: a batch holds whole groups of answers, and some starts need 16 bits.
            continue
        changes.update(step)
        needed = estimate(shape, other, longest, gpu=gpu, factor=factor)
        if needed.total <= available:
            return Fit(dict(changes), needed)
    return None


def _steps(recipe: Recipe) -> list[Changes]:
    steps: list[Changes] = []
    if not recipe.gradient_checkpointing:
        steps.append({"gradient_checkpointing": True})
    size, accumulation = recipe.batch.size, recipe.batch.accumulation
    while size > 1:
        # The effective batch stays as it is.
        size, accumulation = size // 2, -(-recipe.batch.rows // (size // 2))
        steps.append({"batch.size": size, "batch.accumulation": accumulation})
    if recipe.optimizer.name not in {"auto", "adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd"}:
        steps.append({"optimizer.name": "paged_adamw_8bit"})
    if recipe.quantization.type == "none":
        # All weights cannot be trained in 4 bits: what fits then is an adapter, which does not go on from other weights.
        adapter = {"quantization.type": "nf4"}
        if recipe.tuning == "full":
            adapter |= {"tuning": "lora", **({"start": ""} if recipe.start else {})}
        steps.append(adapter)
    length = recipe.batch.max_length
    while length > 256:
        length //= 2
        steps.append({"batch.max_length": length})
    return steps


def calibrated(memory: TrainingMemory, factor: float) -> TrainingMemory:
    """An estimate corrected by what runs of its shape were measured to take."""
    return replace(memory, factor=factor)


def devices_told(memory: MemoryFacts) -> str:
    """The devices that a plan is for."""
    return " and ".join(memory.get("devices") or [memory["device"]])
