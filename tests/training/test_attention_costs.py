"""What attention holds as rows grow long, by arithmetic and, with tensors that have no numbers, by what a step holds of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.models.safetensors import ModelFolder, Tensor
from llmops_tui.training.attention_costs import WITHOUT_SDPA, AttentionBytes, attention_bytes, kind_of, masked
from llmops_tui.training.families import FAMILIES
from llmops_tui.training.memory import _activations, estimate
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.shape import Shape, shape_of
from tests.later import Later
from tests.training.test_preflight import LLAMA_8B

attentions = Later("llmops_tui.training.worker.attention")
LONG = 32_768
MASK = LONG * LONG


def recipe(size: int = 1, **changes: Any) -> Recipe:
    batch = {"size": size, "accumulation": 2 if size == 1 else 1, "max_length": LONG, **changes.pop("batch", {})}
    return check({"name": "r", "base": "b", "data": ["d"], "batch": batch, **changes})


def held(shape: Shape, wanted: Recipe, width: int = LONG) -> AttentionBytes:
    return attention_bytes(shape, wanted, width, 2, gpu=True)


def test_one_row_needs_no_mask_and_several_or_packed_ones_hold_theirs() -> None:
    assert held(LLAMA_8B, recipe()) == AttentionBytes()
    packed = held(LLAMA_8B, recipe(batch={"packing": True}))
    # Truth values for all layers, and of each layer numbers of 16 bits, and 8 heads of keys and values for 32 of queries.
    assert (packed.once, packed.kept) == (MASK, 2 * MASK + LONG * (2 * 4096 - 2048) * 2)
    assert held(LLAMA_8B, recipe(2)).kept == 2 * packed.kept
    # Of a pair both answers are a row.
    assert held(LLAMA_8B, recipe(method="dpo")).kept == 2 * packed.kept
    for kind in ("flex", "flash_attention_2"):
        assert held(LLAMA_8B, recipe(2, attention=kind)) == AttentionBytes()


def test_eager_holds_the_scores_of_each_head() -> None:
    scores = 32 * 8192 * 8192
    found = held(LLAMA_8B, recipe(attention="eager"), 8192)
    assert scores * (4 + 2) < found.kept < scores * 6.1
    # At the most the softmax, its gradient, and in 16 bits that of the scores.
    assert found.kept + found.working == pytest.approx(scores * (4 + 4 + 2), rel=0.01)
    gemma = dataclasses.replace(LLAMA_8B, family="gemma2")
    assert held(gemma, recipe(), 8192) == found
    assert held(gemma, recipe(attention="flex"), 8192) == AttentionBytes()
    # 21 GB, which a plan did not have.
    assert estimate(gemma, recipe(), 8192, gpu=True).total - estimate(LLAMA_8B, recipe(), 8192, gpu=True).total > 21e9


def test_a_window_is_a_mask_of_rows_that_are_longer() -> None:
    shape = dataclasses.replace(LLAMA_8B, windowed=16, window=4096)
    assert [masked(shape, recipe(), width) for width in (4095, 4096, 8192)] == [False, True, True]


def folder(layers: dict[str, tuple[int, ...]], **config: Any) -> ModelFolder:
    tensors = {f"model.layers.{name}.weight": Tensor("F32", shape, Path("w"), name) for name, shape in layers.items()}
    figures = {
        "model_type": "llama",
        "hidden_size": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 4,
        "vocab_size": 32,
    }
    return ModelFolder(Path(), figures | config, {}, tensors)


ATTENTION = {f"{layer}.self_attn.q_proj": (16, 8) for layer in range(3)}


def test_a_shape_has_the_layers_with_attention_and_their_windows() -> None:
    found = shape_of(folder(ATTENTION | {"3.conv.in_proj": (8, 8)}, head_dim=8, sliding_window=512))
    assert (found.queries, found.attending, found.windowed, found.window) == (16, 3, 3, 512)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    found = shape_of(folder(ATTENTION, sliding_window=512, layer_types=kinds))
    assert (found.queries, found.attending, found.windowed) == (8, 3, 2)
    for unused in ({"sliding_window": None}, {"sliding_window": 512, "use_sliding_window": False}):
        assert shape_of(folder(ATTENTION, **unused)).window == 0
    # What is told of layers that have no such name is told of all.
    assert shape_of(folder({})).attention_layers == 4


def test_a_token_is_multiplied_with_the_experts_that_it_goes_to() -> None:
    experts = {f"0.mlp.experts.{n}.up_proj": (4, 8) for n in range(8)}
    found = shape_of(folder(ATTENTION | experts, num_experts=8, num_experts_per_tok=2))
    assert found.multiplied == 3 * 16 * 8 + 2 * 4 * 8 + 32 * 8


def test_what_is_not_recomputed_holds_the_mask_of_each_layer() -> None:
    def activations(**changes: Any) -> int:
        return estimate(LLAMA_8B, recipe(batch={"packing": True}, **changes), LONG, gpu=True).activations

    def flex(**changes: Any) -> int:
        return activations(attention="flex", **changes)

    assert 3 * MASK <= activations() - flex() < 3.5 * MASK
    assert activations(gradient_checkpointing=False) - flex(gradient_checkpointing=False) >= 32 * 2 * MASK


@pytest.mark.slow
def test_the_families_without_sdpa_are_those_of_transformers() -> None:
    found = {family for family in FAMILIES if attentions.attention_of(recipe(), family) == "eager"}
    assert found == WITHOUT_SDPA
    assert {kind_of(recipe(), family) for family in found} == {"eager"}


# Small enough to be computed, and in the proportions of a Llama of 8B. With one head of keys there would be no copies of it.
HIDDEN, INNER, HEADS, KEYS, RANK, WIDTH = 64, 224, 8, 2, 2, 192
# Inputs and outputs of what has an adapter.
WIDTHS = (
    ("q", 2 * HIDDEN), ("k", HIDDEN + HIDDEN // 4), ("v", HIDDEN + HIDDEN // 4), ("o", 2 * HIDDEN),
    ("gate", HIDDEN + INNER), ("up", HIDDEN + INNER), ("down", INNER + HIDDEN),
)  # fmt: skip


def small_shape(layers: int) -> Shape:
    return Shape("llama", layers, HIDDEN, INNER, HEADS, 2 * KEYS * HIDDEN // HEADS, 32, 1, 1, WIDTHS)


def peak(layers: int, wanted: Recipe, *, mask: bool = False) -> int:
    """Bytes of tensors that are alive at the peak of a step besides weights, with an adapter of PEFT on a frozen Llama."""
    import contextlib
    import weakref

    import torch
    from peft import LoraConfig, get_peft_model
    from peft.helpers import disable_input_dtype_casting
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from transformers import AutoModelForCausalLM, LlamaConfig

    class Alive(TorchDispatchMode):
        now = most = 0

        def __init__(self, known: set[int]) -> None:
            super().__init__()
            self.known = known

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            # Each recomputation keeps the state of the random numbers, as bytes, of which long rows need no more.
            tensors = [one for one in tree_leaves(made) if isinstance(one, torch.Tensor) and one.dtype != torch.uint8]
            for tensor in tensors:
                if (key := tensor.untyped_storage()._cdata) not in self.known:
                    storage = tensor.untyped_storage()
                    self.known.add(key)
                    self.now += storage.nbytes()
                    self.most = max(self.most, self.now)
                    weakref.finalize(storage, self.freed, key, storage.nbytes())
            return made

        def freed(self, key: int, size: int) -> None:
            self.known.discard(key)
            self.now -= size

    config = LlamaConfig(
        vocab_size=32, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=layers, num_attention_heads=HEADS,
        num_key_value_heads=KEYS, attn_implementation=kind_of(wanted, "llama"),
    )  # fmt: skip
    made: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model: Any = get_peft_model(made, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if wanted.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
    model.train()
    given: dict[str, Any] = {"input_ids": torch.zeros((1, WIDTH), dtype=torch.long), "use_cache": False}
    if mask:
        given["position_ids"] = torch.arange(WIDTH)[None] % (WIDTH // 2)
    alive = Alive({tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]})
    # The base in 4 bits takes inputs of adapters as they are.
    narrow = disable_input_dtype_casting(model) if wanted.quantization.type != "none" else contextlib.nullcontext()
    with narrow, torch.autocast("cpu", torch.bfloat16):
        with alive:
            last = model.get_base_model().model(**given).last_hidden_state
        with alive:
            last.sum().backward()
    return alive.most


def per_token(layers: int, wanted: Recipe, *, mask: bool = False) -> float:
    """Bytes of a token at the peak, without the adapter in 16 bits as autocast keeps it: it is the same for rows of any length."""
    return (peak(layers, wanted, mask=mask) - 2 * layers * RANK * sum(width for _, width in WIDTHS)) / WIDTH


def of_one_layer(wanted: Recipe, *, mask: bool = False) -> float:
    """Bytes of a token that each further layer adds."""
    return (per_token(4, wanted, mask=mask) - per_token(2, wanted, mask=mask)) / 2


def told(wanted: Recipe, layers: int = 2, width: int = WIDTH) -> float:
    """Bytes of a token that are estimated, of activations without the weight that is held dequantized."""
    kept, working = _activations(small_shape(layers), wanted, width, 2, gpu=True)
    return (kept + working - (2 * HIDDEN * INNER if wanted.quantization.type != "none" else 0)) / width


@pytest.mark.slow
@pytest.mark.parametrize("quantized", ["nf4", "none"])
@pytest.mark.parametrize(("attention", "packing"), [("sdpa", False), ("sdpa", True), ("eager", False)])
def test_what_a_step_holds_is_what_is_estimated(quantized: str, attention: str, packing: bool) -> None:
    changes: dict[str, Any] = {
        "attention": attention, "batch": {"packing": packing}, "lora": {"rank": RANK}, "quantization": {"type": quantized},
    }  # fmt: skip
    kept = recipe(gradient_checkpointing=False, **changes)
    assert of_one_layer(kept, mask=packing) == pytest.approx((told(kept, 4) - told(kept)) / 2, rel=0.03)
    recomputed = recipe(**changes)
    assert of_one_layer(recomputed, mask=packing) == pytest.approx(2 * HIDDEN, rel=0.03)
    # On a host the gradient of eager's scores is in 32 bits, but what feed-forward kept is gone by then. That of the widest
    # adapter's input is in 32 bits there too, where the base is in 16: figures of a card had no room for it.
    widened = 4 * INNER if quantized == "none" and attention != "eager" else 0
    assert per_token(2, recomputed, mask=packing) == pytest.approx(
        told(recomputed) + widened, rel=0.15 if attention == "eager" else 0.05
    )
