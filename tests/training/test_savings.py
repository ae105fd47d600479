"""What a preflight says that settings save, beside what they saved of an H200: docs/benchmarks, 2026-11-27."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.cli.train_export import _plan_text as plan_text
from llmops_tui.training.memory import estimate
from llmops_tui.training.preflight_speed import padding, saving_lines, savings
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.shape import Shape

BENCHMARKS = json.loads(
    (Path(__file__).parents[2] / "docs" / "benchmarks" / "2026-11-27-gpu-h200.json").read_text("utf-8")
)
MEASURED, PACKED = BENCHMARKS["training"], BENCHMARKS["packing"]
# A Llama of 8B: inputs plus outputs of each kind of linear module in 32 layers.
WIDTHS = {
    "q_proj": 8192, "k_proj": 5120, "v_proj": 5120, "o_proj": 8192, "gate_proj": 18_432, "up_proj": 18_432,
    "down_proj": 18_432,
}  # fmt: skip
SHAPE = Shape(
    "llama", 32, 4096, 14_336, 32, 2048, 128_256,
    linear=32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336),
    other=2 * 128_256 * 4096 + 65 * 4096,
    widths=tuple((name, 32 * width) for name, width in WIDTHS.items()),
)  # fmt: skip


def recipe(**changes: Any) -> Recipe:
    body: dict[str, Any] = {
        "name": "r",
        "base": "b",
        "data": ["d"],
        "lora": {"rank": 32, "alpha": 64},
        "batch": {"size": 4, "accumulation": 1, "max_length": 2048},
    }
    return check(body | changes)


def found(wanted: Recipe, *, gpu: bool = True, lengths: tuple[int, ...] = (2048,) * 64, absent: str = "") -> Any:
    """By setting; what ``absent`` says is so of every recipe with Liger's kernels."""
    records = savings(
        wanted, SHAPE, max(lengths), lengths, gpu=gpu, absent=lambda one: absent if one.kernels == "liger" else ""
    )
    return {record["setting"]: record for record in records}


@pytest.mark.parametrize("kernels", ["torch", "liger", "compiled"])
def test_an_estimate_with_other_kernels_is_what_a_card_held(kernels: str) -> None:
    told = estimate(SHAPE, recipe(kernels=kernels), 2048, gpu=True).total
    assert told == pytest.approx(MEASURED[kernels]["peak_bytes"], rel=0.06)


@pytest.mark.parametrize("attention", ["sdpa", "flex"])
def test_an_estimate_of_packed_rows_is_what_a_card_held(attention: str) -> None:
    # The same in eight layers.
    shape = dataclasses.replace(
        SHAPE,
        layers=8,
        linear=SHAPE.linear // 4,
        other=2 * 128_256 * 4096 + 17 * 4096,
        widths=tuple((name, width // 4) for name, width in SHAPE.widths),
    )
    wanted = recipe(batch={"size": 4, "accumulation": 1, "max_length": 2048, "packing": True}, attention=attention)
    held = PACKED["packed, flex" if attention == "flex" else "packed, 4 sequences"]["peak_bytes"]
    assert estimate(shape, wanted, 2048, gpu=True).total == pytest.approx(held, rel=0.03)


def test_what_the_recipe_itself_lacks_is_said_of_no_setting() -> None:
    told = found(recipe(kernels="liger", gradient_checkpointing=False), absent="no liger-kernel")
    assert not any(record["absent"] for record in told.values())
    told = found(recipe(gradient_checkpointing=False), absent="no liger-kernel")
    assert [setting for setting, record in told.items() if record["absent"]] == ["kernels: liger"]


def test_what_liger_saves_is_near_to_what_it_saved() -> None:
    saved = MEASURED["torch"]["peak_bytes"] - MEASURED["liger"]["peak_bytes"]
    told = found(recipe())["kernels: liger"]
    assert told["memory"] == pytest.approx(saved, rel=0.15)
    for kernels in ("liger", "compiled"):
        step = MEASURED[kernels]["step_s"] / MEASURED["torch"]["step_s"]
        assert found(recipe())[f"kernels: {kernels}"]["step"] == pytest.approx(step, abs=0.01)


def test_kernels_leave_attention_as_long_as_it_is_and_flex_leaves_out_what_a_mask_leaves_out() -> None:
    long = {"batch": {"size": 1, "max_length": 32_768}}
    told = found(recipe(**long), lengths=(32_768,) * 8)
    # Attention takes 46 % of such a step, which none of them makes shorter.
    assert told["kernels: liger"]["step"] == pytest.approx(1 - 0.16 * 1.054 / 1.858, abs=0.001)
    assert told["kernels: compiled"]["step"] == pytest.approx(1 - 0.18 * 1.054 / 1.858, abs=0.001)
    packed = {"batch": {"size": 1, "max_length": 32_768, "packing": True}}
    flex = found(recipe(**packed), lengths=(32_768,) * 8)["attention: flex"]
    # Both halves are computed beside one, and 32,768² truth values with as many numbers are held.
    assert flex["step"] == pytest.approx(1.858 / 2.716, abs=0.001)
    assert flex["memory"] == pytest.approx(3 * 32_768**2, rel=0.15)
    packing = {"batch": {"size": 4, "max_length": 2048, "packing": True}}
    short = found(recipe(**packing), lengths=(2048,) * 8)["attention: flex"]
    assert short["step"] == pytest.approx(0.93, abs=0.001)


def test_padding_is_what_packing_saves() -> None:
    assert padding(recipe(), [2048] * 64) == 0
    # Two by two by chance, and each beside its like.
    lengths = [100, 300] * 50
    assert padding(recipe(batch={"size": 100}), lengths) == pytest.approx(1 / 3)
    assert padding(recipe(batch={"size": 50, "group_by_length": True}), lengths) == 0
    short = found(recipe(batch={"size": 100}), lengths=tuple(lengths))["batch.packing: true"]
    assert short["padding"] == pytest.approx(1 / 3)
    assert "batch.packing: true" not in found(recipe())
    assert found(recipe(batch={"packing": True}))["batch.packing: true"]["used"]


def test_what_is_in_use_what_is_not_here_and_what_needs_a_card_are_told_apart() -> None:
    told = found(recipe(kernels="liger"))
    assert (told["kernels: liger"]["used"], told["kernels: compiled"]["used"]) == (True, False)
    assert told["optimizer.name: paged_adamw_8bit"]["used"]
    assert not found(recipe(optimizer={"name": "adamw_torch"}))["optimizer.name: paged_adamw_8bit"]["used"]
    assert set(found(recipe(), gpu=False)) == {"gradient_checkpointing: true"}
    assert "attention: flex" in found(recipe(batch={"packing": True}))
    lines = saving_lines(list(found(recipe(), absent="no liger-kernel").values()))
    liger = next(line for line in lines if line.startswith("kernels: liger"))
    assert "is not in use; it would save 0.67 GB and 16% of the time" in liger
    assert liger.endswith("not here: no liger-kernel")
    checkpointing = next(line for line in lines if line.startswith("gradient_checkpointing "))
    assert "is in use; it saves" in checkpointing
    assert "not here" not in checkpointing


def test_a_plan_in_the_shell_has_a_line_for_each() -> None:
    records = list(found(recipe(), absent="no liger-kernel").values())
    plan: Any = {
        "problems": [],
        "data": {"examples": 64, "packed": 0, "held_out": 0, "trained_tokens": 9, "mixture": [], "overlaps": [],
                 "tokens": {"p50": 1, "p95": 2, "max": 3, "total": 4}},
        "memory": estimate(SHAPE, recipe(), 2048, gpu=True).as_dict()
        | {"device": "gpu0", "available": 10**11, "measured_runs": 0},
        "time": {"steps": 16, "seconds": None, "tokens_per_s": None, "tokens": 1},
        "disk": {"needed": 1, "free": 2},
        "parity": None, "energy_kwh": None, "dry_run": None, "examples": [], "savings": records,
    }  # fmt: skip
    lines = plan_text(plan).splitlines()
    assert [line for line in lines if line.startswith("saves ")] == [
        f"saves     {one}" for one in saving_lines(records)
    ]
    # A plan of before.
    del plan["savings"]
    assert not any(line.startswith("saves ") for line in plan_text(plan).splitlines())
