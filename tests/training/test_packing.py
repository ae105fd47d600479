"""Packed rows do not see each other: by their masks, their positions, and the loss of the same rows apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.training.example import IGNORED, examples_told
from llmops_tui.training.examples import Examples, Report
from llmops_tui.training.history import read_history
from llmops_tui.training.packing import pack
from llmops_tui.training.recipe import check
from tests.later import Later
from tests.training.models import make_model
from tests.training.test_limits import run, small

torch, transformers = Later("torch"), Later("transformers")
attentions, batches = Later("llmops_tui.training.worker.attention"), Later("llmops_tui.training.worker.batches")

ROWS: Any = [
    {"input_ids": list(range(n + 5, n + 9 + n % 9)), "labels": [IGNORED, IGNORED, *range(n + 7, n + 9 + n % 9)]}
    for n in range(24)
]


@given(st.lists(st.integers(2, 32), min_size=1, max_size=60))
def test_packing_keeps_every_row_whole_and_begins_its_positions_anew(lengths: list[int]) -> None:
    rows: Any = [
        {"input_ids": [100 * at + i for i in range(size)], "labels": [100 * at + i for i in range(size)]}
        for at, size in enumerate(lengths)
    ]
    packed = pack(rows, 32)
    found = []
    for one in packed:
        assert len(one["input_ids"]) == len(one["labels"]) == len(one["position_ids"]) <= 32
        begins = [at for at, position in enumerate(one["position_ids"]) if position == 0]
        for begin, end in zip(begins, [*begins[1:], len(one["input_ids"])], strict=True):
            assert one["position_ids"][begin:end] == list(range(end - begin))
            # The first token of a row is never predicted from the row before.
            assert one["labels"][begin] == IGNORED
            assert one["labels"][begin + 1 : end] == one["input_ids"][begin + 1 : end]
            found.append(one["input_ids"][begin:end])
    assert sorted(found) == sorted(row["input_ids"] for row in rows)
    # Two that are both not half full would have been one.
    assert sum(len(one["input_ids"]) <= 16 for one in packed) <= 1


def test_packed_examples_are_told_as_examples_and_as_sequences() -> None:
    packed: Any = {"packed": 24, "examples": 5}
    apart: Any = {"packed": 0, "examples": 24}
    assert examples_told(packed) == "24 examples packed into 5 sequences"
    assert examples_told(apart) == "24 examples"


def test_a_batch_of_packed_rows_counts_its_tokens_and_pads_each_token_alone() -> None:
    packed: Any = pack(ROWS, 24)
    batch = batches.PackedCollator(0, flat=False)(packed[-3:])
    assert set(batch) == {"input_ids", "labels", "position_ids"}
    assert batches.tokens_of(batch["position_ids"]) == sum(len(row["input_ids"]) for row in packed[-3:])
    flat = batches.PackedCollator(0, flat=True)(packed[-3:])
    assert flat["input_ids"].shape == (1, sum(len(row["input_ids"]) for row in packed[-3:]))
    assert batches.tokens_of(flat["position_ids"]) == flat["input_ids"].numel()
    # What is not packed, such as held-out rows, has a mask as ever.
    assert set(batches.PackedCollator(0, flat=False)(ROWS[:3])) == {"input_ids", "labels", "attention_mask"}


@pytest.mark.parametrize(
    ("family", "attention"), [("llama", "sdpa"), ("llama", "eager"), ("gemma2", "eager"), ("gemma3_text", "sdpa")]
)
def test_attention_stays_within_a_row(tmp_path: Path, family: str, attention: str) -> None:
    folder = make_model(family, tmp_path / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    )
    model.config.use_cache = False
    model.eval()
    packed: Any = pack(ROWS[:9], 32)
    batch = batches.PackedCollator(0, flat=False)(packed)
    with torch.no_grad():
        together = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
        for at, one in enumerate(packed):
            begins = [i for i, position in enumerate(one["position_ids"]) if position == 0]
            for begin, end in zip(begins, [*begins[1:], len(one["input_ids"])], strict=True):
                alone = model(input_ids=torch.tensor([one["input_ids"][begin:end]]), use_cache=False).logits[0]
                assert torch.allclose(together[at, begin:end], alone, atol=2e-4)
    if attention == "eager":
        with torch.no_grad():
            weights = model(
                input_ids=batch["input_ids"],
                position_ids=batch["position_ids"],
                use_cache=False,
                output_attentions=True,
            ).attentions
        rows = (batch["position_ids"] == 0).cumsum(-1)
        apart = (rows[:, :, None] != rows[:, None, :])[:, None]
        assert all(float((layer * apart).abs().max()) == 0 for layer in weights)


def test_the_loss_of_packed_rows_is_that_of_the_same_rows_apart(tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base")
    packed = pack(ROWS, 32)
    report = Report()
    apart = small(max_steps=1, batch={"size": 24, "accumulation": 1, "max_length": 32})
    run(apart, base, tmp_path / "apart", Examples(ROWS, [], [], report))
    together = small(max_steps=1, batch={"size": len(packed), "accumulation": 1, "max_length": 32, "packing": True})
    # Held-out rows are measured as they are, beside packed ones.
    outcome = run(together, base, tmp_path / "packed", Examples(packed, ROWS[:4], [], report))
    one, other = read_history(tmp_path / "apart"), read_history(tmp_path / "packed")
    assert other.series["loss"][1] == pytest.approx(one.series["loss"][1], abs=1e-5)
    assert other.series["grad_norm"][1] == pytest.approx(one.series["grad_norm"][1], rel=1e-4)
    assert outcome.eval_loss is not None
    # Both know how many tokens they saw.
    told = [h.series["tokens_per_s"][1] * h.series["seconds"][1] for h in (one, other)]
    assert told == pytest.approx([sum(len(row["input_ids"]) for row in ROWS)] * 2, rel=1e-6)


def test_gemma_2_is_trained_and_a_family_has_the_attention_it_has(tmp_path: Path) -> None:
    base = make_model("gemma2", tmp_path / "base")
    assert run(small(max_steps=1), base, tmp_path / "run", Examples(ROWS, [], [], Report())).steps == 1
    recipe = check({"name": "r", "base": "b", "data": ["d"]})
    chosen = {family: attentions.attention_of(recipe, family) for family in ("llama", "gemma2", "qwen3", "phi")}
    assert chosen == {"llama": "sdpa", "gemma2": "eager", "qwen3": "sdpa", "phi": "sdpa"}
    flex = recipe.model_copy(update={"attention": "flex"})
    if torch.cuda.is_available():
        assert attentions.attention_of(flex, "gemma2") == "flex_attention"
    else:
        with pytest.raises(InputRefusedError, match="no gradients"):
            attentions.attention_of(flex, "gemma2")
    with pytest.raises(InputRefusedError, match="'gemma2' cannot be trained with sdpa") as error:
        attentions.attention_of(recipe.model_copy(update={"attention": "sdpa"}), "gemma2")
    assert "eager" in error.value.hint
    (found,) = attentions.attention_findings(recipe.model_copy(update={"attention": "flash_attention_2"}), "llama")
    assert (found.level, found.code) == ("error", "no_attention")
    assert attentions.attention_findings(recipe, "gemma2") == []
    (found,) = attentions.attention_findings(recipe, "perceptron")
    assert (found.level, found.code) == ("error", "unknown_architecture")
