"""Configurations of other programs: every key is carried or named, and what would be learned otherwise is confirmed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.training import foreign_axolotl, foreign_factory
from llmops_tui.training.foreign_keys import DATA, Translation
from llmops_tui.training.foreign_recipes import read_foreign, read_recipe
from llmops_tui.training.recipe import value_at
from llmops_tui.training.recipe_parts import ONLY_BEST
from tests.training.foreign_keys import AXOLOTL, AXOLOTL_DATASETS, FACTORY, TRAINER

LORA: dict[str, Any] = {"base_model": "/m", "adapter": "lora", "datasets": [{"path": "a", "type": "chat_template"}]}
FACTORY_LORA: dict[str, Any] = {"model_name_or_path": "/m", "dataset": "a", "finetuning_type": "lora"}
# Values that each field of a recipe takes, for keys that are carried.
FITTING: dict[str, Any] = {
    "lora.rank": 4, "lora.alpha": 8, "lora.dropout": 0.1, "lora.dora": True, "lora.rslora": True, "batch.max_length": 64,
    "batch.packing": True, "batch.size": 2, "batch.accumulation": 3, "epochs": 2, "max_steps": 7, "beta": 0.3,
    "optimizer.name": "adafactor", "optimizer.schedule": "linear", "optimizer.learning_rate": 1e-3,
    "optimizer.weight_decay": 0.01, "optimizer.max_grad_norm": 0.5, "gradient_checkpointing": True, "seed": 9,
    "evaluation.every": 5, "checkpoints.every": 6, "checkpoints.keep": 3, "evaluation.patience": 2,
    "batch.group_by_length": True, "chat_template_kwargs": {"a": 1}, "mask_history": True,
    "chat_template_kwargs.enable_thinking": False,
}  # fmt: skip
ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.floats(0, 2),
    st.just("some"),
    st.just(["a", "b"]),
    st.just({"x": 1}),
)


def write(folder: Path, body: Any, name: str = "theirs.yaml") -> Path:
    file = folder / name
    file.write_text(yaml.safe_dump(body) if isinstance(body, dict) else body, encoding="utf-8")
    return file


def traced(made: Translation) -> set[str]:
    """The keys that a translation accounts for."""
    keys = {*made.origin.values(), *(left.key for left in made.left)}
    return {key.partition("[")[0].partition(".")[0] for key in keys} | set(DATA)


def chunks(keys: list[str], count: int) -> list[list[str]]:
    return [keys[at::count] for at in range(count)]


def made_set() -> list[tuple[str, dict[str, Any]]]:
    """Forty configurations that have every key of both programs."""
    found = []
    for keys in chunks(AXOLOTL, 20):
        body = {key: FITTING.get(foreign_axolotl.NAMES.get(key, ""), "given") for key in keys}
        found.append(("axolotl", body | LORA))
    places = [{"path": "a", "type": "chat_template", key: "given"} for key in AXOLOTL_DATASETS]
    found[0][1]["datasets"] = places
    for keys in chunks([*FACTORY, *TRAINER], 20):
        body = {key: FITTING.get(foreign_factory.NAMES.get(key, ""), "given") for key in keys}
        found.append(("LLaMA-Factory", body | FACTORY_LORA))
    return found


@pytest.mark.parametrize(("program", "body"), made_set())
def test_no_key_is_dropped_without_a_word(tmp_path: Path, program: str, body: dict[str, Any]) -> None:
    file = write(tmp_path, body)
    made = read_foreign(file)
    assert made is not None
    assert made.program == program
    made.finish(file)
    assert not {key for key, value in body.items() if value is not None} - traced(made)
    recipe, notes = read_recipe(file, ["all"])
    told = "\n".join(notes)
    for left in made.left:
        assert left.key in told
    for path, key in made.origin.items():
        assert f"{key} → {path} " in told
    if any(left.changes for left in made.left):
        with pytest.raises(InputRefusedError) as error:
            read_recipe(file)
        assert error.value.code == "foreign_recipe"
        assert all(left.told in error.value.message for left in made.left if left.changes)
        # What is named there is all that has to be confirmed.
        keys = (error.value.hint or "").partition("--accept ")[2].split(",")
        assert read_recipe(file, keys)[0] == recipe


def test_the_set_has_every_key() -> None:
    bodies = made_set()
    assert len(bodies) == 40
    assert set(AXOLOTL) <= {key for program, body in bodies if program == "axolotl" for key in body}
    assert {*FACTORY, *TRAINER} <= {key for program, body in bodies if program != "axolotl" for key in body}
    assert set(AXOLOTL_DATASETS) <= {key for dataset in bodies[0][1]["datasets"] for key in dataset}


@given(st.dictionaries(st.sampled_from([*AXOLOTL, "no_such_key"]), ANY, max_size=12))
def test_whatever_an_axolotl_file_says_is_accounted_for(tmp_path_factory: Any, body: dict[str, Any]) -> None:
    check_accounted(tmp_path_factory.mktemp("a"), LORA | body | {"base_model": "/m"})


@given(st.dictionaries(st.sampled_from([*FACTORY, "optim", "learning_rate", "no_such_key"]), ANY, max_size=12))
def test_whatever_a_llama_factory_file_says_is_accounted_for(tmp_path_factory: Any, body: dict[str, Any]) -> None:
    check_accounted(tmp_path_factory.mktemp("f"), FACTORY_LORA | body | {"model_name_or_path": "/m"})


def check_accounted(folder: Path, body: dict[str, Any]) -> None:
    file = write(folder, body)
    made = read_foreign(file)
    assert made is not None
    if not made.found.get("data"):
        return
    made.finish(file)
    assert not {key for key, value in body.items() if value is not None} - traced(made)
    if body.get("no_such_key"):
        assert any(left.key == "no_such_key" and left.changes for left in made.left)


@pytest.mark.parametrize(
    ("body", "path", "value"),
    [
        ({"adapter": None}, "tuning", "full"),
        ({"lora_modules_to_save": ["lm_head"]}, "lora.modules_to_save", ["lm_head"]),
        ({"loraplus_lr_ratio": 16}, "optimizer.lora_plus_ratio", 16.0),
    ],
)
def test_what_is_trained_is_carried(tmp_path: Path, body: dict[str, Any], path: str, value: Any) -> None:
    recipe, notes = read_recipe(write(tmp_path, LORA | body))
    assert value_at(recipe, path) == value
    assert any("carried" in note and path in note for note in notes)


BEST = LORA | {"load_best_model_at_end": True, "val_set_size": 0.1}


@pytest.mark.parametrize(
    ("body", "changes", "patience", "every"),
    [
        (BEST, [], ONLY_BEST, 0),
        (LORA | {"load_best_model_at_end": True}, ["load_best_model_at_end"], 0, 0),
        (LORA | {"load_best_model_at_end": False}, [], 0, 0),
        (BEST | {"early_stopping_patience": 3, "eval_steps": 20}, [], 3, 20),
        (BEST | {"metric_for_best_model": "eval_loss", "greater_is_better": False}, [], ONLY_BEST, 0),
        (BEST | {"metric_for_best_model": "eval_f1", "greater_is_better": True}, ["metric_for_best_model"], ONLY_BEST, 0),
        (BEST | {"greater_is_better": True}, ["greater_is_better"], ONLY_BEST, 0),
        # When is measured decides which weights there are to choose from, and when it is over.
        (BEST | {"evals_per_epoch": 2}, ["evals_per_epoch"], ONLY_BEST, 0),
        (BEST | {"evals_per_epoch": 5, "num_epochs": 2}, [], ONLY_BEST, 0),
        (BEST | {"eval_strategy": "epoch", "eval_steps": 5}, ["eval_strategy"], ONLY_BEST, 0),
        (BEST | {"eval_steps": 0.25}, ["eval_steps"], ONLY_BEST, 0),
        (BEST | {"eval_steps": 0.25, "max_steps": 90}, [], ONLY_BEST, 23),
        (BEST | {"eval_steps": 0.1}, [], ONLY_BEST, 0),
        (LORA | {"val_set_size": 0.1, "evals_per_epoch": 2, "eval_steps": 0.3}, [], 0, 0),
        (FACTORY_LORA | {"early_stopping_steps": 2, "eval_dataset": "b", "val_size": 0.1, "load_best_model_at_end": True},
         [], 2, 0),
    ],
)  # fmt: skip
def test_which_weights_are_returned_is_carried_or_asked(
    tmp_path: Path, body: dict[str, Any], changes: list[str], patience: int, every: int
) -> None:
    file = write(tmp_path, body)
    made = read_foreign(file)
    assert made is not None
    recipe = made.finish(file)
    assert [left.key for left in made.left if left.changes] == changes
    assert (recipe.evaluation.patience, recipe.evaluation.every) == (patience, every)
    assert not set(body) - traced(made)
    assert not (recipe.evaluation.dataset and recipe.evaluation.share)


@pytest.mark.parametrize(
    ("body", "path", "value", "changes"),
    [
        (LORA | {"tokens": ["<t>"]}, "tokens", ["<t>"], ["tokens"]),
        (LORA | {"tokens": ["<t>"], "lora_modules_to_save": ["embed_tokens", "lm_head"]}, "tokens", ["<t>"], []),
        (LORA | {"tokens": ["<t>"], "adapter": None}, "tokens", ["<t>"], []),
        (FACTORY_LORA | {"add_tokens": "<t>, <u>", "resize_vocab": True}, "tokens", ["<t>", "<u>"], ["add_tokens"]),
        (LORA | {"peft_init_lora_weights": "pissa"}, "lora.init", "pissa", []),
        (LORA | {"peft_init_lora_weights": True}, "lora.init", "default", []),
        (LORA | {"peft_init_lora_weights": "eva"}, "lora.init", "default", ["peft_init_lora_weights"]),
        (LORA | {"adapter": "qlora", "peft": {"loftq_config": {"loftq_bits": 4}}}, "lora.init", "loftq", []),
        (LORA | {"adapter": "qlora", "peft": {"loftq_config": {"loftq_bits": 2}}}, "lora.init", "loftq",
         ["peft.loftq_config"]),
        (FACTORY_LORA | {"pissa_init": True, "pissa_convert": True, "pissa_iter": 4}, "lora.init", "pissa", ["pissa_iter"]),
        # Fields that cannot be together are named as all others are, and not by the recipe's own words alone.
        (FACTORY_LORA | {"pissa_init": True, "quantization_bit": 4}, "lora.init", "default", ["pissa_init"]),
        (LORA | {"peft": {"loftq_config": {"loftq_bits": 4}}}, "lora.init", "default", ["peft.loftq_config"]),
        (LORA | {"peft_use_dora": True, "peft_init_lora_weights": "pissa"}, "lora.init", "pissa", ["peft_use_dora"]),
    ],
)  # fmt: skip
def test_what_a_recipe_has_is_carried(
    tmp_path: Path, body: dict[str, Any], path: str, value: Any, changes: list[str]
) -> None:
    file = write(tmp_path, body)
    made = read_foreign(file)
    assert made is not None
    assert value_at(made.finish(file), path) == value
    assert [left.key for left in made.left if left.changes] == changes
    assert not {key for key, given in body.items() if given is not None} - traced(made)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (LORA | {"datasets": [{"path": "a", "weight": 2}]}, "data has a weight for each"),
        (LORA | {"special_tokens": {"additional_special_tokens": ["<x>"]}}, "are named in tokens"),
        (LORA | {"lora_model_dir": "out"}, "start names a finished run"),
        (FACTORY_LORA | {"adapter_name_or_path": "out"}, "start names a finished run"),
    ],
)
def test_what_a_recipe_has_in_another_way_is_said(tmp_path: Path, body: dict[str, Any], words: str) -> None:
    with pytest.raises(InputRefusedError, match=words):
        read_recipe(write(tmp_path, body))


def test_grpo_is_said_to_exist_and_its_sampling_is_no_matter_of_answers_alone(tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match="'grpo' is a method here as well") as error:
        read_recipe(write(tmp_path, LORA | {"rl": "grpo", "temperature": 0.9}))
    assert error.value.hint == "Change the file, or confirm: --accept rl,temperature"
    nested = write(tmp_path, LORA | {"rl": "grpo", "trl": {"num_generations": 4}})
    with pytest.raises(InputRefusedError, match=r"trl.num_generations: 4 .* reinforcement.generations"):
        read_recipe(nested)
    assert "temperature" in "\n".join(read_recipe(write(tmp_path, LORA | {"temperature": 0.9}))[1])


def test_texts_beside_other_data_are_said_to_become_texts_all(tmp_path: Path) -> None:
    texts = {"pretraining_dataset": [{"path": "b", "type": "pretrain"}]}
    with pytest.raises(InputRefusedError, match="the rows of datasets become texts") as error:
        read_recipe(write(tmp_path, LORA | texts))
    assert error.value.hint == "Change the file, or confirm: --accept pretraining_dataset"
    alone = {key: value for key, value in (LORA | texts).items() if key != "datasets"}
    assert read_recipe(write(tmp_path, alone))[0].method == "pretrain"


LIGER = "axolotl.integrations.liger.LigerPlugin"


@pytest.mark.parametrize(
    ("body", "kernels"),
    [
        (LORA | {"plugins": [LIGER], "liger_rope": True, "liger_glu_activation": False}, "liger"),
        (LORA | {"liger_rms_norm": True, "liger_swiglu": True, "torch_compile": True}, "liger"),
        # The loss is computed in tiles here, whatever layers compute with.
        (LORA | {"plugins": [LIGER], "liger_fused_linear_cross_entropy": True, "liger_rope": False}, "torch"),
        (LORA | {"torch_compile": "auto", "torch_compile_backend": "inductor"}, "compiled"),
        (LORA | {"torch_compile": False, "torch_compile_backend": "inductor"}, "torch"),
        (FACTORY_LORA | {"enable_liger_kernel": True}, "liger"),
        (FACTORY_LORA | {"use_liger_kernel": True, "liger_kernel_config": {"rope": True}}, "liger"),
        (FACTORY_LORA | {"torch_compile": True, "torch_compile_mode": "max-autotune"}, "compiled"),
        (FACTORY_LORA | {"torch_compile_backend": "inductor"}, "compiled"),
        (FACTORY_LORA | {"enable_liger_kernel": False, "torch_compile": False}, "torch"),
    ],
)
def test_kernels_are_carried(tmp_path: Path, body: dict[str, Any], kernels: str) -> None:
    recipe, notes = read_recipe(write(tmp_path, body))
    assert recipe.kernels == kernels
    assert ("→ kernels " in "\n".join(notes)) == (kernels != "torch")
    for key in set(body) - set(LORA) - set(FACTORY_LORA):
        assert any(key in note for note in notes)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"load_in_8bit": True}, "load_in_8bit"),
        ({"s2_attention": True, "flash_attention": True}, "s2_attention"),
        ({"attn_implementation": "s2"}, "attn_implementation"),
        ({"rl": "ipo"}, "rl"),
        ({"rl": "grpo"}, "rl"),
        ({"chat_template": "llama3"}, "chat_template"),
        ({"special_tokens": {"eos_token": "<|x|>"}}, "special_tokens.eos_token"),
        ({"datasets": [{"path": "a", "type": "alpaca"}]}, "datasets.type"),
        ({"datasets": [{"path": "a", "type": {"field_instruction": "q", "format": "{instruction}"}}]}, "datasets.type"),
        ({"datasets": [{"path": "a", "shards": 8}]}, "datasets.shards"),
        ({"optimizer": "muon"}, "optimizer"),
        ({"lr_scheduler": "rex"}, "lr_scheduler"),
        ({"lora_target_modules": r"model.layers.[\d]+.mlp"}, "lora_target_modules"),
        ({"adam_beta2": 0.95}, "adam_beta2"),
        ({"neftune_noise_alpha": 5}, "neftune_noise_alpha"),
        ({"shuffle_merged_datasets": False}, "shuffle_merged_datasets"),
        # Two keys of one field: one of them counts, and the other is named.
        ({"bf16": True, "fp16": True}, "bf16"),
        ({"rl": "dpo", "rl_beta": 0.2, "dpo_beta": 0.3}, "rl_beta"),
        ({"lora_target_linear": True, "lora_target_modules": ["q_proj"]}, "lora_target_modules"),
    ],
)
def test_what_is_learned_otherwise_is_refused_until_it_is_confirmed(
    tmp_path: Path, body: dict[str, Any], key: str
) -> None:
    file = write(tmp_path, LORA | body)
    with pytest.raises(InputRefusedError) as error:
        read_recipe(file)
    assert error.value.hint == f"Change the file, or confirm: --accept {key}"
    recipe, notes = read_recipe(file, [key])
    assert recipe.base == "/m"
    assert any("(confirmed)" in note for note in notes)
    with pytest.raises(InputRefusedError, match="wandb_project: nothing of this name"):
        read_recipe(file, [key, "wandb_project"])


def test_a_file_of_llama_factorys_new_trainer_is_refused_by_name(tmp_path: Path) -> None:
    file = write(tmp_path, {"model": "some/base", "train_dataset": "data/demo.yaml", "micro_batch_size": 2})
    with pytest.raises(InputRefusedError, match="LLaMA-Factory's new trainer"):
        read_recipe(file)


def test_what_is_the_same_needs_no_word(tmp_path: Path) -> None:
    recipe, notes = read_recipe(
        write(
            tmp_path,
            LORA
            | {
                "load_in_8bit": False, "special_tokens": {"pad_token": "<pad>"}, "bf16": "auto", "wandb_project": "x",
                "flash_attention": True, "warmup_steps": 10, "warmup_ratio": 0.1, "max_steps": 100, "num_epochs": 1, "val_set_size": 40,
                "learning_rate": "2e-5", "adam_beta1": 0.9, "optimizer": "adamw_bnb_8bit", "deepspeed": "zero2.json",
                "test_datasets": [{"path": "measured", "split": "test"}], "orpo_alpha": 0.2, "rl": "orpo",
            },
        )
    )  # fmt: skip
    assert (recipe.method, recipe.beta, recipe.optimizer.name) == ("orpo", 0.2, "adamw_8bit")
    assert (recipe.optimizer.warmup_steps(100), recipe.steps(10), recipe.steps(10**6)) == (10, 100, 100)
    assert (recipe.evaluation.max_rows, recipe.evaluation.dataset) == (40, "measured")
    assert recipe.optimizer.learning_rate == 2e-5
    assert any("wandb_project" in note for note in notes)
    assert "warmup_ratio: does not count beside warmup_steps" in notes


def test_what_a_program_does_of_itself_is_done(tmp_path: Path) -> None:
    axolotl, _ = read_recipe(write(tmp_path, LORA))
    assert (axolotl.batch.size, axolotl.batch.accumulation, axolotl.epochs, axolotl.seed) == (1, 1, 1.0, 42)
    assert (axolotl.evaluation.share, axolotl.quantization.type) == (0.0, "none")
    for steps in (90, "90", 90.0):
        assert read_recipe(write(tmp_path, LORA | {"max_steps": steps, "num_epochs": 1}))[0].steps(10) == 90
    factory, _ = read_recipe(write(tmp_path, FACTORY_LORA | {"lora_rank": 4}))
    assert (factory.lora.rank, factory.lora.alpha, factory.optimizer.schedule) == (4, 8, "linear")
    assert (factory.optimizer.learning_rate, factory.optimizer.warmup, factory.batch.size) == (5e-5, 0, 8)


SCRIPT = """
from unsloth import FastLanguageModel
max_seq_length = 1024
model, tokenizer = FastLanguageModel.from_pretrained(
    model_name = "unsloth/some-8b", max_seq_length = max_seq_length, dtype = None, load_in_4bit = True)
model = FastLanguageModel.get_peft_model(model, r = 8, target_modules = ["q_proj", "v_proj"], lora_alpha = 16,
    lora_dropout = 0, bias = "none", use_gradient_checkpointing = "unsloth", random_state = 3407, use_rslora = False,
    loftq_config = None)
dataset = load_dataset("someone/talks", split = "train")
trainer = SFTTrainer(model = model, tokenizer = tokenizer, train_dataset = dataset, dataset_text_field = "text",
    packing = False, args = SFTConfig(per_device_train_batch_size = 2, gradient_accumulation_steps = 4, warmup_steps = 5,
    max_steps = 60, learning_rate = 2e-4, bf16 = is_bfloat16_supported(), logging_steps = 1, optim = "adamw_8bit",
    weight_decay = 0.01, lr_scheduler_type = "linear", seed = 3407, output_dir = "outputs"EXTRA))
trainer = train_on_responses_only(trainer, instruction_part = "<|user|>", response_part = "<|assistant|>")
"""


@pytest.mark.parametrize("ending", [".py", ".ipynb"])
def test_a_notebook_of_unsloth_is_read_and_not_run(tmp_path: Path, ending: str) -> None:
    def put(extra: str) -> Path:
        code = SCRIPT.replace("EXTRA", extra)
        cells = {"cells": [{"cell_type": "code", "source": ["!pip install unsloth\n", code]}]}
        return write(tmp_path, code if ending == ".py" else json.dumps(cells), "talks" + ending)

    assert read_recipe(put(", use_liger_kernel = True"))[0].kernels == "liger"
    recipe, notes = read_recipe(put(""))
    assert (recipe.name, recipe.base, recipe.data[0].dataset) == ("talks", "unsloth/some-8b", "talks")
    assert (recipe.lora.rank, recipe.lora.targets, recipe.batch.max_length) == (8, ["q_proj", "v_proj"], 1024)
    assert (recipe.batch.size, recipe.batch.accumulation, recipe.optimizer.warmup) == (2, 4, 5)
    assert (recipe.quantization.type, recipe.assistant_only, recipe.steps(10**6)) == ("nf4", True, 60)
    told = "\n".join(notes)
    for key in (
        "dtype",
        "bias",
        "loftq_config",
        "dataset_text_field",
        "bf16",
        "random_state",
        "response_part",
        "split",
    ):
        assert key in told, key
    with pytest.raises(InputRefusedError) as error:
        read_recipe(put(", neftune_noise_alpha = 5, max_grad_norm = chosen()"))
    assert error.value.hint == "Change the file, or confirm: --accept max_grad_norm,neftune_noise_alpha"


def test_what_a_notebook_loads_behind_its_training_is_not_its_base(tmp_path: Path) -> None:
    behind = """
trainer.train()
if False:
    model, tokenizer = FastLanguageModel.from_pretrained(model_name = "lora_model", max_seq_length = 99)
"""
    recipe, _ = read_recipe(write(tmp_path, SCRIPT.replace("EXTRA", "") + behind, "talks.py"))
    assert (recipe.base, recipe.batch.max_length) == ("unsloth/some-8b", 1024)
    again = "\ntrainer = DPOTrainer(args = DPOConfig(learning_rate = 5e-6, output_dir = 'other'))\nseed = 1\nseed = 2\n"
    file = write(tmp_path, SCRIPT.replace("EXTRA", "") + again + "DPOConfig(max_grad_norm = seed)", "talks.py")
    with pytest.raises(InputRefusedError, match="learning_rate: 5e-06 is given as well") as error:
        read_recipe(file)
    assert error.value.hint == "Change the file, or confirm: --accept trainer,learning_rate,max_grad_norm"


@pytest.mark.parametrize("given", [7, [[1]], {"a": 1}, "x", True, [1], [None]])
def test_values_of_another_type_are_named_or_refused(tmp_path: Path, given: Any) -> None:
    keys = (
        "adapter",
        "rl",
        "optimizer",
        "lora_target_modules",
        "datasets",
        "test_datasets",
        "plugins",
        "chat_template",
    )
    bodies = [LORA | {"chat_template_jinja": "{{ messages }}", key: given} for key in keys]
    theirs = ("optim", "lora_target", "dataset", "eval_dataset", "stage", "pref_loss", "template")
    bodies += [FACTORY_LORA | {key: given} for key in theirs]
    numbered: Any = {5: given}
    for body in (*bodies, LORA | numbered):
        made = read_foreign(write(tmp_path, body))
        assert made is not None
        if made.found.get("data"):
            made.finish(tmp_path)
    cells = write(tmp_path, json.dumps({"cells": given}), "odd.ipynb")
    assert read_foreign(cells) is None
    recipe, _ = read_recipe(write(tmp_path, LORA, "modèle.yaml"))
    assert recipe.name == "mod-le"


@pytest.mark.slow
@pytest.mark.parametrize(("package", "least"), [("axolotl==0.19.0", 271), ("llamafactory==0.9.5", 49)])
def test_every_example_of_the_packages_is_accounted_for(tmp_path: Path, package: str, least: int) -> None:
    fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "-d", str(tmp_path), package]
    done = subprocess.run(fetch, capture_output=True, text=True, timeout=400, check=False)
    archives = list(tmp_path.glob("*.tar.gz"))
    if not archives:
        pytest.skip(f"no package registry has the sources of {package} here: {done.stderr[-300:]}")
    read = 0
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.name.endswith((".yaml", ".yml")) else None
            if stream is None:
                continue
            file = write(tmp_path, io.TextIOWrapper(stream, "utf-8").read(), "example.yaml")
            if "/examples/v1/train_" in member.name and not member.name.endswith("export_lora.yaml"):
                with pytest.raises(InputRefusedError, match="new trainer"):
                    read_foreign(file)
                continue
            made = read_foreign(file)
            if made is None or not made.found.get("data"):
                continue
            made.finish(file)
            assert not {k for k, v in made.given.items() if v is not None} - traced(made), member.name
            read += 1
    assert read >= least
