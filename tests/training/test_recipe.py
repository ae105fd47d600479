"""Recipes: typos named, foreign configurations read, presets, and fields by path."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.training import presets
from llmops_tui.training.foreign_recipes import read_recipe
from llmops_tui.training.recipe import changed, check, fields, parse, unknown_field, value_at
from llmops_tui.training.recipe_input import from_text

BODY = {"name": "r", "base": "b", "data": ["d"]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("name: r\nbase: b\ndata: d\nlora:\n  rnak: 8\n", ["lora.rnak", "lora.rank"]),
        ("name: r\nbase: b\ndata: d\nlearning_rate: 1e-4\n", ["learning_rate", "optimizer.learning_rate"]),
        ("name: r\nbase: b\ndata: d\nepochs: many\n", ["epochs"]),
        ("name: r\nbase: b\n", ["data"]),
        ("name: r\nbase: b\ndata: d\nmethod: ppo\n", ["method", "sft"]),
        ("name: a b\nbase: b\ndata: d\n", ["name"]),
        ("- a\n", ["mapping"]),
        ("a: [\n", ["line", "YAML"]),
        ("name: r\nbase: b\ndata: d\nmethod: dpo\nbatch: {packing: true}\n", ["packing"]),
        ("name: !!python/object/apply:os.system [echo]\n", ["YAML"]),
    ],
)
def test_what_is_wrong_is_named_with_what_was_meant(text: str, names: list[str]) -> None:
    with pytest.raises(InputRefusedError) as error:
        parse(text, "file.yaml")
    for name in names:
        assert name in error.value.message


def test_a_recipe_survives_its_file() -> None:
    recipe = check(BODY | {"data": [{"dataset": "a@2", "weight": 2.5}, "b"], "lora": {"targets": "q_proj"}, "seed": 9})
    assert parse(recipe.to_yaml()) == recipe
    assert recipe.effective_batch == 16
    assert check(BODY | {"name": "other"}).sha256 == check(BODY).sha256 != recipe.sha256


@given(st.sampled_from([path for path, _ in fields() if path != "data"]))
def test_every_field_is_described_and_read_back_from_its_text(path: str) -> None:
    recipe = check(BODY)
    info = dict(fields())[path]
    assert info.description
    value = value_at(recipe, path)
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    assert changed(recipe, {path: from_text(path, text)}) == recipe


def test_datasets_that_are_typed_anew_keep_their_variables() -> None:
    recipe = check(BODY | {"data": [{"dataset": "a", "chat_template_kwargs": {"enable_thinking": False}}]})
    found = changed(recipe, {"data": from_text("data", "a*2, b")})
    assert [(one.dataset, one.weight, one.chat_template_kwargs) for one in found.data] == [
        ("a", 2.0, {"enable_thinking": False}),
        ("b", 1.0, {}),
    ]


def test_what_other_programs_say_of_masks_is_followed_or_named(tmp_path: Path) -> None:
    factory = tmp_path / "factory.yaml"
    factory.write_text(
        "model_name_or_path: /m\ndataset: a\nmask_history: true\nenable_thinking: false\n", encoding="utf-8"
    )
    recipe, _ = read_recipe(factory)
    assert (recipe.mask_history, recipe.chat_template_kwargs) == (True, {"enable_thinking": False})
    axolotl = tmp_path / "axolotl.yml"
    axolotl.write_text(
        "base_model: /m\nadapter: lora\nchat_template: jinja\nchat_template_jinja: '{{ messages }}'\ndatasets:\n  - path: a\n"
        "    type: chat_template\n    roles_to_train: [assistant, user]\n    train_on_eos: last\n"
        "    message_field_training: train\n    message_field_training_detail: train_detail\n",
        encoding="utf-8",
    )
    recipe, notes = read_recipe(axolotl, ["all"])
    assert recipe.chat_template == "{{ messages }}"
    named = {note.partition(":")[0] for note in notes if note.endswith("(confirmed)")}
    assert named == {
        f"datasets[0].{key}" for key in ("roles_to_train", "train_on_eos", "message_field_training_detail")
    }


@pytest.mark.parametrize("name", [*presets.TASKS, *presets.MEMORY])
def test_every_preset_is_a_recipe(name: str) -> None:
    assert presets.apply(check(BODY), name).name == "r"
    with pytest.raises(InputRefusedError, match="not a preset"):
        presets.apply(check(BODY), "nope")


def test_axolotl_is_read(tmp_path: Path) -> None:
    file = tmp_path / "qlora.yml"
    file.write_text(
        "base_model: /models/llama\nload_in_4bit: true\nadapter: qlora\nlora_r: 32\nlora_alpha: 16\nlora_target_linear: true\n"
        "datasets:\n  - path: data/alpaca.jsonl\n    type: alpaca\nmicro_batch_size: 2\ngradient_accumulation_steps: 4\n"
        "num_epochs: 4\noptimizer: adamw_bnb_8bit\nlr_scheduler: cosine\nlearning_rate: 0.0002\nsequence_len: 4096\n"
        "train_on_inputs: false\nval_set_size: 0.05\nneftune_noise_alpha: 5\noutput_dir: ./out\n",
        encoding="utf-8",
    )
    recipe, notes = read_recipe(file, ["neftune_noise_alpha", "datasets.type"])
    assert (recipe.base, recipe.data[0].dataset, recipe.lora.rank, recipe.batch.size) == (
        "/models/llama",
        "alpaca",
        32,
        2,
    )
    assert (recipe.optimizer.name, recipe.quantization.type, recipe.evaluation.share) == ("adamw_8bit", "nf4", 0.05)
    assert recipe.lora.targets == ["all-linear"]
    assert any("neftune_noise_alpha: 5" in note for note in notes)
    assert any("output_dir" in note for note in notes)


def test_llama_factory_is_read(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(
        "model_name_or_path: /m\nstage: dpo\ndo_train: true\nfinetuning_type: lora\nlora_target: q_proj,v_proj\nlora_rank: 8\n"
        "dataset: pairs,more\ntemplate: llama3\ncutoff_len: 1024\nper_device_train_batch_size: 1\n"
        "gradient_accumulation_steps: 8\nlearning_rate: 5.0e-6\nnum_train_epochs: 3.0\nquantization_bit: 4\npref_beta: 0.2\n",
        encoding="utf-8",
    )
    recipe, notes = read_recipe(file, ["template"])
    assert any(note.startswith("template: 'llama3' is a template by name") for note in notes)
    assert (recipe.method, recipe.beta, recipe.lora.targets) == ("dpo", 0.2, ["q_proj", "v_proj"])
    assert [source.dataset for source in recipe.data] == ["pairs", "more"]
    assert recipe.quantization.type == "nf4"


def test_a_switch_is_yes_or_no_and_nothing_else() -> None:
    assert from_text("assistant_only", " Yes ") is True
    assert from_text("assistant_only", "off") is False
    with pytest.raises(InputRefusedError, match="'ture' is neither yes nor no"):
        from_text("assistant_only", "ture")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("optimizer.lr", "optimizer.learning_rate"),
        ("optimizer.wd", "optimizer.weight_decay"),
        ("optimizer.learningrate", "optimizer.learning_rate"),
        ("lora.rnk", "lora.rank"),
        ("batchsize", "batch.size"),
        ("lr", "optimizer.learning_rate"),
        ("evaluation.packing", "batch.packing"),
        ("epoch", "epochs"),
    ],
)
def test_the_field_that_is_meant(path: str, field: str) -> None:
    assert f"did you mean {field}?" in str(unknown_field(path))
