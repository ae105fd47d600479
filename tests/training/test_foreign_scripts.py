"""Scripts and notebooks of Unsloth: what in them is read, and what touches the training and is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.training.foreign_recipes import read_recipe
from llmops_tui.training.recipe import Recipe

SCRIPT = """
from unsloth import FastLanguageModel
from trl import SFTTrainer, SFTConfig
model, tokenizer = FastLanguageModel.from_pretrained("some/base", load_in_4bit=False, max_seq_length=256)
model = FastLanguageModel.get_peft_model(model, r=16PEFT)
dataset = load_dataset("triage", split="train")
BEFORE
trainer = SFTTrainer(model=model, tokenizer=tokenizer, train_dataset=datasetTRAINER, args=ARGS)
AFTER
trainer.train()
print(tokenizer.decode(model.generate(**tokenizer("Hello", return_tensors="pt"))[0]))
tokenizer.chat_template = "after"
model.save_pretrained_gguf("out", tokenizer)
"""


def script(
    folder: Path, before: str = "", after: str = "", trainer: str = "", args: str = "SFTConfig()", peft: str = ""
) -> Path:
    file = folder / "talks.py"
    text = SCRIPT.replace("BEFORE", before).replace("AFTER", after).replace("TRAINER", trainer)
    file.write_text(text.replace("ARGS", args).replace("PEFT", peft), encoding="utf-8")
    return file


def asked(file: Path) -> list[str]:
    """The keys that have to be confirmed."""
    try:
        read_recipe(file)
    except InputRefusedError as error:
        return (error.hint or "").partition("--accept ")[2].split(",")
    return []


def told(file: Path) -> str:
    return "\n".join(read_recipe(file, ["all"])[1])


def accepted(file: Path) -> Recipe:
    return read_recipe(file, ["all"])[0] if asked(file) else read_recipe(file)[0]


WRITTEN = "dict(per_device_train_batch_size=3, learning_rate=0.01, max_steps=7)"


@pytest.mark.parametrize(
    ("before", "args"),
    [
        (f"kw = {WRITTEN}", "SFTConfig(**kw)"),
        ("kw = {'per_device_train_batch_size': 3, 'learning_rate': 0.01, 'max_steps': 7}", "SFTConfig(**kw)"),
        ("lr = 0.01\ncommon = dict(learning_rate=lr)\nkw = {**common, 'max_steps': 7}",
         "SFTConfig(**kw, per_device_train_batch_size=3)"),
        ("a = dict(max_steps=7)", "SFTConfig(**(a | dict(learning_rate=0.01, per_device_train_batch_size=3)))"),
        (f"from trl import SFTConfig as Config\nkw = {WRITTEN}", "Config(**kw)"),
        (f"Config = trl.SFTConfig\nkw: dict = {WRITTEN}", "Config(**kw)"),
    ],
)  # fmt: skip
def test_arguments_in_a_written_mapping_are_read(tmp_path: Path, before: str, args: str) -> None:
    file = script(tmp_path, before, args=args)
    assert asked(file) == []
    recipe = accepted(file)
    assert (recipe.batch.size, recipe.optimizer.learning_rate, recipe.steps(10**6)) == (3, 0.01, 7)


@pytest.mark.parametrize(
    ("before", "args", "keys"),
    [
        ("", "SFTConfig(**settings())", ["SFTConfig.arguments"]),
        ("kw = dict(max_steps=7)\nkw['learning_rate'] = 1", "SFTConfig(**kw)", ["SFTConfig.arguments"]),
        ("kw = dict(max_steps=7)\nkw.update(more())", "SFTConfig(**kw)", ["SFTConfig.arguments"]),
        ("kw = dict(max_steps=7)\nif big():\n    kw = dict(max_steps=8)", "SFTConfig(**kw)", ["SFTConfig.arguments"]),
        ("kw = dict(max_steps=7, seed=pick())", "SFTConfig(**kw)", ["seed"]),
        ("", "SFTConfig(*places)", ["SFTConfig.arguments"]),
        ("", "build()", ["args"]),
        ("kw = dict(max_steps=7)\nsame = kw\nsame['seed'] = 1", "SFTConfig(**kw)", ["SFTConfig.arguments"]),
        ("kw = dict(max_steps=7)\ncomplete(kw)", "SFTConfig(**kw)", ["SFTConfig.arguments"]),
        # A name whose value changes on the way has none that can be read.
        ("n = 7\nn *= 2", "SFTConfig(max_steps=n)", ["max_steps"]),
        ("for n in (1, 2):\n    pass", "SFTConfig(max_steps=n)", ["max_steps"]),
        ("t = ['q_proj']\nt.append('k_proj')", "SFTConfig(report_to=t, label_names=t)", ["label_names"]),
        ("class Own(SFTConfig):\n    pass", "Own(max_steps=7)", ["SFTConfig", "args"]),
        ("make = partial(SFTConfig, max_steps=7)", "make()", ["SFTConfig", "args"]),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_read_are_refused(tmp_path: Path, before: str, args: str, keys: list[str]) -> None:
    assert sorted(asked(script(tmp_path, before, args=args))) == sorted(keys)


@pytest.mark.parametrize(
    ("before", "trainer", "after", "keys"),
    [
        ("", ", formatting_func=f", "", ["formatting_func"]),
        ("", ", data_collator=c", "", ["data_collator"]),
        ("", ", callbacks=[Mine(model)]", "", ["callbacks"]),
        ("", ", ref_model=other", "", ["ref_model"]),
        ("", ".select(range(50))", "", ["dataset.select"]),
        ("dataset = dataset.map(f, batched=True).filter(g)", "", "", ["dataset.map", "dataset.filter"]),
        ("rows = dataset.train_test_split(0.1)", "", "", ["dataset.train_test_split"]),
        ("dataset = clean(dataset)", "", "", ["clean"]),
        ("dataset = Dataset.from_list(rows)", "", "", ["dataset"]),
        ("dataset = Dataset.from_list([one for one in dataset])", "", "", ["from_list"]),
        ("rows = [one for one in dataset if one]\nother = Dataset.from_list(rows)", "", "", ["from_list"]),
        ("tokenizer.chat_template = read()", "", "", ["tokenizer.chat_template"]),
        ("tokenizer.eos_token = '<x>'", "", "", ["tokenizer.eos_token"]),
        ("tokenizer.add_tokens(words)", "", "", ["tokenizer.add_tokens"]),
        ("tokenizer.add_special_tokens({'eos_token': '<x>'})", "", "", ["tokenizer.add_special_tokens"]),
        ("", "", "trainer.args.learning_rate = 0.5", ["trainer.args.learning_rate"]),
        ("", "", "trainer.add_callback(Mine())", ["trainer.add_callback"]),
        ("", "", "setattr(trainer.args, 'seed', 5)", ["setattr"]),
        ("for p in model.model.embed_tokens.parameters(): p.requires_grad = False", "", "", ["p.requires_grad"]),
        ("for n, p in model.named_parameters():\n    p.requires_grad_(False)", "", "", ["p.requires_grad_"]),
        ("model.lm_head.weight.data[:] = 0", "", "", ["model.lm_head.weight.data"]),
        ("head = model.lm_head\nhead.weight.data.fill_(0)", "", "", ["head.fill_"]),
        ("freeze(model)", "", "", ["freeze"]),
    ],
)  # fmt: skip
def test_what_touches_the_training_is_named(
    tmp_path: Path, before: str, trainer: str, after: str, keys: list[str]
) -> None:
    file = script(tmp_path, before, after, trainer)
    assert asked(file) == keys
    for key in keys:
        assert f"{key}: " in told(file)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("dataset = standardize_sharegpt(dataset)", "standardize_sharegpt"),
        ("dataset = dataset.rename_column('a', 'b')", "dataset.rename_column"),
        ("dataset = dataset.shuffle(seed=3)", "dataset.shuffle"),
        ("tokenizer.pad_token = tokenizer.eos_token", "tokenizer.pad_token"),
        ("model.config.use_cache = False", "model.config.use_cache"),
        ("model.resize_token_embeddings(len(tokenizer))", "model.resize_token_embeddings"),
    ],
)
def test_what_changes_nothing_is_told_and_not_asked(tmp_path: Path, line: str, key: str) -> None:
    file = script(tmp_path, line)
    assert asked(file) == []
    assert key in "\n".join(read_recipe(file)[1])


def test_what_only_looks_needs_no_word(tmp_path: Path) -> None:
    before = """
EOS = tokenizer.eos_token
def texts(rows):
    return {"text": [tokenizer.apply_chat_template(one, tokenize=False) + EOS for one in rows]}
print(len(dataset), dataset[0], dataset.column_names)
model.print_trainable_parameters()
for name, p in model.named_parameters():
    if name.startswith("lm_head"):
        print(name, p.numel(), p.requires_grad)
"""
    plain, _ = read_recipe(script(tmp_path))
    file = script(tmp_path, before)
    assert asked(file) == []
    assert accepted(file) == plain


def test_what_a_recipe_has_is_carried(tmp_path: Path) -> None:
    before = "tokenizer.chat_template = '{{ messages }}'\ncollate = DataCollatorForSeq2Seq(tokenizer=tokenizer)"
    stop = ", data_collator=collate, eval_dataset=held, callbacks=[EarlyStoppingCallback(early_stopping_patience=3)]"
    file = script(tmp_path, before + "\nheld = load_dataset('triage-test', split='test')", trainer=stop)
    assert asked(file) == []
    recipe = accepted(file)
    assert recipe.chat_template == "{{ messages }}"
    assert ([source.dataset for source in recipe.data], recipe.evaluation.dataset) == (["triage"], "triage-test")
    assert recipe.evaluation.patience == 3
    assert accepted(script(tmp_path, trainer=", callbacks=[EarlyStoppingCallback()]")).evaluation.patience == 1
    loss = accepted(script(tmp_path, args="SFTConfig(completion_only_loss=True)"))
    assert loss.assistant_only


@pytest.mark.parametrize(
    "line",
    [
        "tokenizer.add_tokens(['<t>'])",
        "count = tokenizer.add_tokens('<t>')",
        "tokenizer.add_special_tokens({'additional_special_tokens': ['<t>']})",
        "add_new_tokens(model, tokenizer, new_tokens=['<t>'])",
    ],
)
def test_tokens_are_carried_and_what_is_trained_with_them_is_asked(tmp_path: Path, line: str) -> None:
    file = script(tmp_path, line)
    assert asked(file) == ["tokens"]
    assert accepted(file).tokens == ["<t>"]
    whole = script(tmp_path, line, peft=", modules_to_save=['embed_tokens', 'lm_head']")
    assert asked(whole) == []
    assert accepted(whole).tokens == ["<t>"]


def test_modules_that_unsloth_trains_whole_are_trained_whole(tmp_path: Path) -> None:
    recipe = accepted(script(tmp_path, peft=", target_modules=['q_proj', 'embed_tokens', 'lm_head']"))
    assert (recipe.lora.targets, recipe.lora.modules_to_save) == (["q_proj"], ["embed_tokens", "lm_head"])
    saved = script(tmp_path, peft=", target_modules=['q_proj', 'lm_head'], modules_to_save=['embed_tokens']")
    assert accepted(saved).lora.modules_to_save == ["embed_tokens", "lm_head"]
    alone = script(tmp_path, peft=", target_modules=['lm_head']")
    assert asked(alone) == ["target_modules"]
    # PEFT itself gives them an adapter.
    own = script(tmp_path, "config = LoraConfig(target_modules=['q_proj', 'lm_head'])", trainer=", peft_config=config")
    assert accepted(own).lora.targets == ["q_proj", "lm_head"]


@pytest.mark.parametrize(
    ("peft", "start", "keys"),
    [
        (", init_lora_weights='pissa'", "pissa", []),
        (", init_lora_weights='pissa_niter_4'", "pissa", []),
        (", init_lora_weights=True, loftq_config={}", "default", []),
        (", init_lora_weights='gaussian'", "default", ["init_lora_weights"]),
        # The base is in 16 bits.
        (", init_lora_weights='loftq'", "default", ["init_lora_weights"]),
    ],
)
def test_starts_of_an_adapter_are_carried(tmp_path: Path, peft: str, start: str, keys: list[str]) -> None:
    file = script(tmp_path, peft=peft)
    assert asked(file) == keys
    assert accepted(file).lora.init == start


def test_rewards_are_said_to_be_missing(tmp_path: Path) -> None:
    args = "GRPOConfig(temperature=0.7, num_generations=4, top_p=0.9, vllm_sampling_params=None)"
    file = script(tmp_path, "SFTTrainer = GRPOTrainer", trainer=", reward_funcs=[right]", args=args)
    text = file.read_text(encoding="utf-8").replace("trainer = SFTTrainer", "trainer = GRPOTrainer")
    file.write_text(text.replace("SFTTrainer = GRPOTrainer\n", "\n"), encoding="utf-8")
    assert set(asked(file)) == {"trainer", "reward_funcs", "temperature", "num_generations", "top_p"}
    notes = told(file)
    assert "'grpo' is a method here as well" in notes
    assert "num_generations: 4 is not carried; a recipe with method: grpo has it in reinforcement.generations" in notes


def test_a_function_may_be_called_before_a_line_above_it(tmp_path: Path) -> None:
    file = script(tmp_path)
    body = file.read_text(encoding="utf-8").replace("\n", "\n    ")
    body = body.replace('tokenizer.chat_template = "after"', "")
    later = "def freeze():\n    model.lm_head.requires_grad_(False)\nif True:\n    main()\n"
    file.write_text(f"def main():{body}\n{later}", encoding="utf-8")
    assert asked(file) == ["model.requires_grad_"]


def test_a_part_of_the_data_that_is_measured_on_is_told(tmp_path: Path) -> None:
    file = script(tmp_path, trainer="['train'], eval_dataset=dataset['test']")
    assert asked(file) == []
    assert "eval_dataset: is not measured on" in "\n".join(read_recipe(file)[1])


def test_an_ordinary_notebook_asks_for_its_template_and_its_rows_alone(tmp_path: Path) -> None:
    before = """
tokenizer = get_chat_template(tokenizer, "llama-3.1")
def texts(rows):
    return {"text": [tokenizer.apply_chat_template(one, tokenize=False) for one in rows["conversations"]]}
dataset = standardize_sharegpt(dataset).map(texts, batched=True)
dataset[5]["conversations"]
"""
    after = """
trainer = train_on_responses_only(trainer, instruction_part="u", response_part="a")
tokenizer.decode(trainer.train_dataset[5]["input_ids"])
space = tokenizer(" ", add_special_tokens=False).input_ids[0]
tokenizer.decode([space if x == -100 else x for x in trainer.train_dataset[5]["labels"]])
gpu = torch.cuda.get_device_properties(0)
print(gpu.name, f"{gpu.total_memory}")
FastLanguageModel.for_inference(model)
model.generate(**tokenizer("Hello", return_tensors="pt").to("cuda"))
"""
    file = script(tmp_path, before, after, trainer=", data_collator=DataCollatorForSeq2Seq(tokenizer=tokenizer)")
    assert asked(file) == ["chat_template", "standardize_sharegpt.map"]


def test_long_chains_and_long_lists_take_no_time(tmp_path: Path) -> None:
    chain = "frame = pd" + ".assign(a=1)" * 60
    file = script(tmp_path, f"{chain}\nwords = {['w'] * 500}", args="SFTConfig(label_names=words)")
    assert asked(file) == ["label_names"]


def test_data_that_are_loaded_and_not_trained_on_are_asked(tmp_path: Path) -> None:
    file = script(tmp_path, "other = load_dataset('other', split='train')")
    assert asked(file) == ["load_dataset"]
    assert [source.dataset for source in accepted(file).data] == ["triage"]
    both = script(tmp_path, "other = load_dataset('other')\ndataset = concatenate_datasets([dataset, other])")
    assert [source.dataset for source in accepted(both).data] == ["triage", "other"]
