"""What attention holds as rows grow long, by arithmetic and, with tensors that have no numbers, by what a step holds of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from llmops_tui.training.attention_costs import WITHOUT_SDPA, AttentionBytes, attention_bytes, kind_of, masked
from llmops_tui.training.families import FAMILIES
from llmops_tui.training.memory import estimate
from llmops_tui.training.recipe import Recipe, check
from tests.later import Later
from tests.training.test_preflight import LLAMA_8B

attentions = Later("llmops_tui.training.worker.attention")
LONG = 32_768
MASK = LONG * LONG


def recipe(size: int = 1, **changes: Any) -> Recipe:
    batch = {"size": size, "accumulation": 2 if size == 1 else 1, "max_length": LONG, **changes.pop("batch", {})}
    return check({"name": "r", "base": "b", "data": ["d"], "batch": batch, **changes})


def test_one_row_needs_no_mask_and_several_or_packed_ones_hold_theirs() -> None:
    assert attention_bytes(LLAMA_8B, recipe(), LONG, 2) == AttentionBytes()
    packed = attention_bytes(LLAMA_8B, recipe(batch={"packing": True}), LONG, 2)
    # Truth values for all layers, and numbers of 16 bits of each layer.
    assert (packed.once, packed.kept) == (MASK, 2 * MASK)
    assert attention_bytes(LLAMA_8B, recipe(2), LONG, 2).kept == 2 * packed.kept
    # Of a pair both answers are a row.
    assert attention_bytes(LLAMA_8B, recipe(method="dpo"), LONG, 2).kept == 2 * packed.kept
    for kind in ("flex", "flash_attention_2"):
        assert attention_bytes(LLAMA_8B, recipe(2, attention=kind), LONG, 2) == AttentionBytes()


def test_eager_holds_the_scores_of_each_head() -> None:
    scores = 32 * 8192 * 8192
    found = attention_bytes(LLAMA_8B, recipe(attention="eager"), 8192, 2)
    assert found.kept == scores * (4 + 2)
    assert found.kept + found.working > 3 * estimate(LLAMA_8B, recipe(), 8192, gpu=True).logits
    gemma = dataclasses.replace(LLAMA_8B, family="gemma2")
    assert attention_bytes(gemma, recipe(), 8192, 2) == found
    assert attention_bytes(gemma, recipe(attention="flex"), 8192, 2) == AttentionBytes()


def test_a_window_is_a_mask_of_rows_that_are_longer() -> None:
    shape = dataclasses.replace(LLAMA_8B, windowed=16, window=4096)
    assert [masked(shape, recipe(), width) for width in (4095, 4096, 8192)] == [False, True, True]


def test_what_is_not_recomputed_holds_the_mask_of_each_layer() -> None:
    def activations(**changes: Any) -> int:
        return estimate(LLAMA_8B, recipe(batch={"packing": True}, **changes), LONG, gpu=True).activations

    def flex(**changes: Any) -> int:
        return activations(attention="flex", **changes)

    assert activations() - flex() < 6 * MASK
    assert activations(gradient_checkpointing=False) - flex(gradient_checkpointing=False) >= 32 * 2 * MASK


@pytest.mark.slow
def test_the_families_without_sdpa_are_those_of_transformers() -> None:
    found = {family for family in FAMILIES if attentions.attention_of(recipe(), family) == "eager"}
    assert found == WITHOUT_SDPA
    assert {kind_of(recipe(), family) for family in found} == {"eager"}
