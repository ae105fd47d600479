"""The fields that say what is trained: what goes together, what it takes, and how datasets are mixed."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.models.safetensors import ModelFolder, Tensor
from llmops_tui.models.text_part import DEFAULTS, text_names, text_part
from llmops_tui.training.memory import _steps, estimate, nearest_that_fits, trainable_parameters
from llmops_tui.training.mixture import repeats, times
from llmops_tui.training.network import _share
from llmops_tui.training.preflight_ends import check_ends
from llmops_tui.training.preflight_memory import disk_needed
from llmops_tui.training.recipe import Recipe, changed, check
from llmops_tui.training.shape import shape_of


def recipe(**changes: Any) -> Recipe:
    return check({"name": "r", "base": "b", "data": ["d"]} | changes)


def folder(**config: Any) -> ModelFolder:
    """A network of two layers: 4 × 8 words, and matrices of 8 × 8."""
    names = {
        "model.embed_tokens.weight": (32, 8),
        "lm_head.weight": (32, 8),
        **{f"model.layers.{n}.self_attn.{p}_proj.weight": (8, 8) for n in range(2) for p in "qkvo"},
        "model.norm.weight": (8,),
    }
    figures = {
        "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
        "vocab_size": 32,
    }  # fmt: skip
    tensors = {name: Tensor("F32", shape, Path("w"), name) for name, shape in names.items()}
    return ModelFolder(Path(), figures | config, {}, tensors)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tuning": "full", "quantization": {"type": "nf4"}}, "quantization.type is nf4: set it to none"),
        ({"tuning": "full", "lora": {"dora": True}}, "lora.dora is of an adapter"),
        (
            {"tuning": "full", "lora": {"init": "olora", "modules_to_save": ["x"]}},
            "lora.init, lora.modules_to_save are of",
        ),
        ({"tuning": "full", "optimizer": {"lora_plus_ratio": 2}}, "optimizer.lora_plus_ratio is of an adapter"),
        ({"lora": {"init": "pissa"}}, "set quantization.type to none"),
        (
            {"lora": {"init": "pissa", "dora": True}, "quantization": {"type": "none"}},
            "cannot be combined with lora.init",
        ),
        ({"lora": {"init": "loftq"}, "quantization": {"type": "none"}}, "set quantization.type to nf4"),
        ({"lora": {"init": "eva"}}, "eva is a start of PEFT that is not offered: it is computed from the data"),
        ({"lora": {"init": "lora_ga"}}, "gradients of the whole base"),
        ({"optimizer": {"lora_plus_ratio": 2, "name": "adafactor"}}, "no learning rate by group"),
        ({"tokens": ["<a>", "<a>"]}, "each is named once"),
        ({"tokens": [" <a>"]}, "without blanks"),
        ({"tokens": ["<a>"], "serving": "b-Q4"}, "serving cannot be combined with tokens"),
        ({"mixture_temperature": 0.5}, "mixture_temperature"),
    ],
)
def test_what_cannot_go_together_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputRefusedError, match=told):
        recipe(**changes)


def test_new_fields_change_the_hash_where_they_say_something_and_only_there() -> None:
    plain = recipe(quantization={"type": "none"})
    known = {plain.sha256}
    for changes in (
        {"tuning": "full"}, {"start": "x-1"}, {"tokens": ["<a>"]}, {"mixture_temperature": 2.0}, {"lora.init": "pissa"},
        {"lora.modules_to_save": ["lm_head"]}, {"optimizer.lora_plus_ratio": 16.0},
    ):  # fmt: skip
        made = changed(plain, changes)
        assert made.sha256 not in known
        known.add(made.sha256)
        assert check(json.loads(json.dumps(made.body))) == made
    assert "tuning" not in plain.body
    assert recipe(tuning="full").quantization.type == "none"


def test_all_weights_take_their_memory_and_their_disk() -> None:
    shape = shape_of(folder())
    weights = 8 * 64 + 2 * 32 * 8 + 8
    full = recipe(tuning="full", quantization={"compute": "float32"}, optimizer={"name": "adamw_torch"})
    assert trainable_parameters(shape, full) == weights
    found = estimate(shape, full, 16, gpu=False)
    assert (found.weights, found.adapter, found.optimizer) == (4 * weights, 0, 12 * weights)
    # What preferences are measured from is there once more.
    assert estimate(shape, changed(full, {"method": "dpo"}), 16, gpu=False).weights == 8 * weights
    assert (
        estimate(shape, changed(full, {"quantization.compute": "auto"}), 16, gpu=True).weights == 4 * weights + 2 * 512
    )
    assert disk_needed(full, shape, 100) == 4 * (12 * weights + 20_000_000) + 8 * weights + 6 * weights
    adapter = recipe(lora={"rank": 2})
    assert trainable_parameters(shape, adapter) == 2 * 8 * 16
    assert trainable_parameters(shape, changed(adapter, {"tokens": ["<a>", "<b>"]})) == 2 * 8 * 16 + 2 * 32 * 8
    saved = changed(adapter, {"lora.modules_to_save": ["lm_head", "q_proj"]})
    assert trainable_parameters(shape, saved) == 2 * 8 * 16 + 32 * 8 + 2 * 64
    # Modules are found as PEFT finds them, by how their paths end, with all that is in them.
    beside = {"layers.0.self_attn.q_proj": 64, "self_attn.q_proj": 2 * 64, "layers.0": 4 * 64,
              "1.self_attn": 4 * 64, "norm": 8, "attn.q_proj": 2 * 64, "q_projection": 0}  # fmt: skip
    found = {name: trainable_parameters(shape, changed(adapter, {"lora.modules_to_save": [name]})) for name in beside}
    assert {name: count - 2 * 8 * 16 for name, count in found.items()} == beside
    # All weights cannot be trained in 4 bits: what is offered then is an adapter.
    assert {"quantization.type": "nf4", "tuning": "lora"} in _steps(full)


@pytest.mark.parametrize(
    "changes",
    [
        {"lora": {"init": "pissa"}, "quantization": {"type": "none"}},
        {"tuning": "full", "start": "r-1"},
        {
            "method": "grpo",
            "reinforcement": {"rewards": ["length"], "generations": 6, "max_tokens": 8},
            "batch": {"size": 6, "accumulation": 1},
        },
        {
            "method": "grpo",
            "reinforcement": {"rewards": ["length"], "generations": 5, "max_tokens": 8},
            "batch": {"size": 5, "accumulation": 1},
        },
    ],
)
def test_where_nothing_fits_no_recipe_is_offered_that_there_cannot_be(changes: dict[str, Any]) -> None:
    wanted, shape = recipe(**changes), shape_of(folder())
    assert nearest_that_fits(shape, wanted, 2048, 1000, gpu=True) is None
    # With room for what one row takes, what is offered is a recipe, and goes on from nothing that it cannot.
    enough = estimate(shape, wanted, 2048, gpu=True).total - 1
    fit = nearest_that_fits(shape, wanted, 2048, enough, gpu=True)
    assert fit is not None
    found = changed(wanted, fit.changes)
    assert found.tuning == wanted.tuning or not found.start
    assert found.batch.rows == wanted.batch.rows


def test_what_a_run_ends_as_is_told_before() -> None:
    def codes(wanted: Recipe, **config: Any) -> list[str]:
        return [finding.code for finding in check_ends(wanted, folder(**config))]

    assert codes(recipe()) == []
    assert codes(recipe(tuning="full")) == ["ends_whole"]
    assert codes(recipe(tuning="full", lora={"rank": 8})) == ["ends_whole", "lora_unused"]
    assert codes(recipe(tokens=["<a>"])) == ["ends_whole"]
    assert codes(recipe(lora={"modules_to_save": ["lm_haed"]})) == ["no_modules", "ends_whole"]
    assert codes(recipe(lora={"targets": ["q_proj"], "modules_to_save": ["q_proj"]})) == ["no_modules", "ends_whole"]
    assert codes(recipe(lora={"init": "pissa"}, quantization={"type": "none"})) == ["lora_init"]
    assert codes(recipe(), quantization_config={"quant_method": "mxfp4"}) == ["quantized_base"]
    assert codes(recipe(tuning="full"), model_type="seed_oss") == ["ends_whole", "no_gguf"]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0, 100.0])
def test_datasets_are_mixed_by_the_power_of_their_size(temperature: float) -> None:
    sizes, weights = [8000, 500, 1500, 0], [1.0, 2.0, 0.5, 1.0]
    found = repeats(sizes, weights, temperature)
    used = [size * each for size, each in zip(sizes, found, strict=True)]
    wanted = [(size * weight) ** (1 / temperature) if size else 0 for size, weight in zip(sizes, weights, strict=True)]
    assert sum(used) == pytest.approx(8000 + 1000 + 750)
    for one, other in itertools.combinations(range(3), 2):
        assert used[one] / used[other] == pytest.approx(wanted[one] / wanted[other])
    if temperature == 1:
        assert found == weights
    chance = Random(3)
    assert sum(times(found[1], chance) for _ in range(20_000)) == pytest.approx(20_000 * found[1], rel=0.03)
    assert repeats([0, 0], [1.0, 1.0], 2.0) == [0.0, 0.0]


def test_the_share_of_a_head_that_is_rotated_loses_no_dimension() -> None:
    for head in range(2, 257):
        for dimensions in range(1, head + 1):
            # transformers cuts off.
            assert int(head * _share(dimensions, head)) == dimensions


def test_the_text_part_of_a_model_of_text_and_images_is_a_text_model() -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 64, "num_hidden_layers": 2}
    config = {"model_type": "gemma3", "text_config": text, "tie_word_embeddings": True}
    found = text_part(config)
    assert found["num_attention_heads"] == DEFAULTS["gemma3_text"]["num_attention_heads"]
    assert found["hidden_size"] == 64
    assert (found["rope_theta"], found["tie_word_embeddings"]) == (1_000_000.0, True)
    older = [
        "language_model.model.norm.weight",
        "vision_tower.x",
        "language_model.lm_head.weight",
        "multi_modal_projector.y",
    ]
    newer = [
        "model.language_model.norm.weight",
        "model.vision_tower.x",
        "lm_head.weight",
        "model.multi_modal_projector.y",
    ]
    for names in (older, newer):
        assert sorted(text_names(names, config).values()) == ["lm_head.weight", "model.norm.weight"]
    other = {"model_type": "qwen2_vl", "text_config": {"model_type": "qwen2_vl_text"}}
    assert text_part(other) == other


def test_models_of_text_and_images_are_refused_as_such() -> None:
    from llmops_tui.training.worker.attention import refuse_unknown

    with pytest.raises(InputRefusedError, match="text and images") as error:
        refuse_unknown("qwen2_5_vl")
    assert "gemma3" in error.value.hint
    with pytest.raises(InputRefusedError, match="does not know"):
        refuse_unknown("perceptron")


def test_what_is_usual_is_what_transformers_takes_as_usual() -> None:
    from transformers import Gemma3TextConfig

    usual = Gemma3TextConfig().to_dict()
    assert {name: usual[name] for name in DEFAULTS["gemma3_text"]} == DEFAULTS["gemma3_text"]
