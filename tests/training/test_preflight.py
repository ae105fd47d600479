"""The preflight: what it finds, whether the memory it tells is right arithmetic, and what would fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.cli.train import warnings_told
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.models.safetensors import read_folder
from llmops_tui.sample_files import sample_folder
from llmops_tui.training import device_queue, preflight
from llmops_tui.training.examples import EMPTY_ANSWER, SAME_ANSWERS, Examples, Report, build
from llmops_tui.training.history import Recorder, read_history
from llmops_tui.training.memory import (
    Calibration,
    TrainingMemory,
    estimate,
    nearest_that_fits,
    trainable_parameters,
)
from llmops_tui.training.parity import check_parity, compare_with_serving
from llmops_tui.training.preflight_data import evaluation_findings
from llmops_tui.training.preflight_ends import check_ends
from llmops_tui.training.preflight_findings import Finding, refuse
from llmops_tui.training.preflight_memory import Room, room_findings
from llmops_tui.training.preflight_template import check_template
from llmops_tui.training.recipe import check
from llmops_tui.training.recipe_parts import ONLY_BEST
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.training.shape import Shape, shape_of
from llmops_tui.training.worker.job import _preflight
from llmops_tui.workspace.layout import Workspace
from tests.training.conftest import Llmops
from tests.training.test_methods import dataset, recipe

LLAMA_8B = Shape(
    "llama", 32, 4096, 14336, 32, 2048, 128_256, 6_979_321_856, 1_050_939_392,
    (("down_proj", 32 * 18432), ("gate_proj", 32 * 18432), ("k_proj", 32 * 5120), ("o_proj", 32 * 8192),
     ("q_proj", 32 * 8192), ("up_proj", 32 * 18432), ("v_proj", 32 * 5120)),
)  # fmt: skip
# So many weights that attention costs nothing beside them.
SHORT = Shape("llama", 2, 8, 16, 2, 16, 32, 10**15, 520, (("q_proj", 32),))
BODY: dict[str, Any] = {"name": "r", "base": "b", "data": ["d"]}


def test_the_arithmetic_of_a_model_everybody_knows() -> None:
    needed = estimate(LLAMA_8B, check(BODY | {"batch": {"size": 1, "max_length": 2048}}), 2048, gpu=True)
    # 7.0 billion weights in 4.127 bits and 1.05 billion in 16.
    assert needed.weights == pytest.approx(6_979_321_856 * (0.5 + 1 / 64 + 4 / 16384) + 2 * 1_050_939_392, rel=1e-9)
    # Rank 16 on every linear module of Llama 3 8B is known to be 41.9 million numbers.
    assert trainable_parameters(LLAMA_8B, check(BODY)) == 41_943_040
    assert needed.adapter == 4 * 41_943_040
    whole = estimate(LLAMA_8B, check(BODY | {"quantization": {"type": "none"}}), 2048, gpu=True)
    assert whole.weights == 2 * (6_979_321_856 + 1_050_939_392)
    assert 5.5e9 < needed.total < 12e9


@given(st.integers(1, 32), st.integers(64, 4096), st.booleans(), st.sampled_from(["nf4", "none"]))
def test_more_of_anything_never_needs_less(size: int, length: int, saving: bool, kind: str) -> None:
    def total(**changes: Any) -> int:
        body = BODY | {
            "batch": {"size": size, "max_length": 8192},
            "gradient_checkpointing": saving,
            "quantization": {"type": kind},
        }
        return estimate(LLAMA_8B, check(body | changes), length, gpu=True).total

    assert total() <= total(batch={"size": size + 1, "max_length": 8192})
    assert total() <= total(lora={"rank": 64})
    assert total(gradient_checkpointing=True) <= total(gradient_checkpointing=False)
    assert (
        estimate(LLAMA_8B, check(BODY), length, gpu=True).total
        <= estimate(LLAMA_8B, check(BODY), length + 64, gpu=True).total
    )


@pytest.mark.parametrize("available", [8e9, 12e9, 24e9, 48e9, 80e9])
def test_what_is_proposed_fits_and_keeps_the_effective_batch(available: float) -> None:
    body = BODY | {
        "batch": {"size": 16, "accumulation": 2, "max_length": 4096},
        "gradient_checkpointing": False,
        "quantization": {"type": "none"},
    }
    wanted = check(body)
    found = nearest_that_fits(LLAMA_8B, wanted, 4096, int(available), gpu=True)
    assert found is not None
    assert found.memory.total <= available
    size, accumulation = found.changes.get("batch.size", 16), found.changes.get("batch.accumulation", 2)
    assert size * accumulation == wanted.effective_batch
    assert nearest_that_fits(LLAMA_8B, wanted, 4096, int(2e9), gpu=True) is None


def test_the_shape_of_the_sample() -> None:
    shape = shape_of(read_folder(sample_folder() / "models" / "support-base"))
    assert (shape.layers, shape.hidden, shape.inner, shape.vocabulary) == (5, 256, 768, 2048)
    # As counted by peft for rank 32 on every linear module.
    assert trainable_parameters(shape, check(BODY | {"lora": {"rank": 32}})) == 778_240


def codes(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(finding.level, finding.code) for finding in findings}


def changed_folder(tmp_path: Path, file: str, change: Any) -> Path:
    folder = tmp_path / "changed"
    shutil.copytree(sample_folder() / "models" / "support-base", folder)
    path = folder / file
    if file.endswith(".json"):
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    else:
        path.write_text(change, encoding="utf-8")
    return folder


def settings_findings(folder: Path, **changes: Any) -> set[tuple[str, str]]:
    found = read_folder(folder)
    wanted = check(BODY | changes)
    return codes([*preflight.check_settings(wanted, found), *check_ends(wanted, found)])


def test_traps_of_tokenizers_and_settings_are_found(tmp_path: Path) -> None:
    good = sample_folder() / "models" / "support-base"
    assert settings_findings(good) == set()
    same = changed_folder(tmp_path / "1", "tokenizer_config.json", {"pad_token": "<|im_end|>"})
    assert settings_findings(same) == {("info", "pad_is_end")}
    endless = changed_folder(tmp_path / "2", "tokenizer_config.json", {"eos_token": None})
    assert ("error", "no_end") in settings_findings(endless)
    assert settings_findings(good, optimizer={"learning_rate": 0.5}) == {("warn", "learning_rate")}
    assert settings_findings(good, lora={"targets": ["query_key_value"]}) == {("error", "no_targets")}


@pytest.mark.parametrize(
    ("lora", "told"),
    [
        ({"targets": ["q_proj", "self_attn.v_proj"]}, set()),
        # One name of a list that matches nothing would train the others alone.
        ({"targets": ["q_proj", "v_porj"]}, {("error", "no_targets")}),
        ({"targets": ["all-linear", "q_proj"]}, {("error", "no_targets")}),
        ({"targets": ["q_proj", "embed_tokens"]}, {("error", "tied")}),
        ({"targets": ["lm_head"]}, {("error", "tied")}),
        ({"dora": True}, {("warn", "dora")}),
    ],
)
def test_what_the_adapter_can_end_as_is_said_before(lora: dict[str, Any], told: set[tuple[str, str]]) -> None:
    assert settings_findings(sample_folder() / "models" / "support-base", lora=lora) == told


def test_families_that_train_and_cannot_end_as_gguf_are_told_before(tmp_path: Path) -> None:
    unknown = changed_folder(tmp_path / "1", "config.json", {"model_type": "stablelm"})
    assert settings_findings(unknown) == {("warn", "no_gguf")}
    found = check_ends(check(BODY), read_folder(unknown))[0]
    assert "'stablelm'" in found.message
    assert "qwen3" in found.hint
    # One of a known family that llama.cpp would compute otherwise.
    unlike = changed_folder(tmp_path / "2", "config.json", {"model_type": "smollm3", "no_rope_layer_interval": 2})
    assert settings_findings(unlike) == {("warn", "no_gguf")}
    assert "no_rope_layer_interval is 2" in check_ends(check(BODY), read_folder(unlike))[0].message


def test_of_a_mixture_of_experts_attention_alone_gets_an_adapter(tmp_path: Path) -> None:
    experts = changed_folder(tmp_path, "config.json", {"model_type": "mixtral"})
    assert settings_findings(experts) == {("info", "experts")}
    assert settings_findings(experts, lora={"targets": ["q_proj", "v_proj"]}) == set()
    assert settings_findings(experts, lora={"targets": ["q_proj", "down_proj"]}) == {("warn", "expert_targets")}


def test_another_template_than_the_base_s_is_told() -> None:
    own = "{% for m in messages %}{{ m.content }}{% endfor %}"
    for wanted, told in ((own, set()), ("{{ messages[0].content }}", {("warn", "template_differs")})):
        assert codes(check_template(check(BODY | {"chat_template": wanted}), own, None, ())) == told


def test_a_device_that_another_run_holds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_queue, "holder_of", lambda _device: "first (pid 7)")
    needed = TrainingMemory(1, 1, 1, 1, 1, 1)
    (found,) = room_findings(Room("host", ("host",), needed, 10**9, 10**9, None, Calibration()))
    assert (found.level, found.code) == ("warn", "queue")
    assert "first (pid 7)" in found.message


def test_pairs_that_prefer_nothing_and_empty_answers_are_told_once_a_row(sample: Workspace) -> None:
    store = RunStore(sample)

    def pair(chosen: str, rejected: str) -> dict[str, Any]:
        return {"prompt": "Say it:", "chosen": chosen, "rejected": rejected}

    rows = [pair(" yes", " no"), pair(" same", " same"), pair("", " no"), pair(" a" * 99, " b" * 99)]
    dataset(store, "preference", rows, "pairs")
    with ModelText(store.registry.get("support-base-hf")) as text:
        made = build(recipe("dpo", "pairs", evaluation={"share": 0.0}), store.datasets, text)
    assert made.report.cut == 1
    told = {problem: (count, where) for problem, (count, where) in made.report.problems.items()}
    assert told[SAME_ANSWERS] == (1, ["pairs@1 row 1"])
    assert told[EMPTY_ANSWER] == (1, ["pairs@1 row 2"])
    # It is said why a row is skipped, and said once.
    (skipped,) = [
        f for f in preflight.check_data(recipe("dpo", "pairs"), made) if "same" in f.message or "skipped" in f.message
    ]
    assert (skipped.code, skipped.message) == ("without_target", f"1 of 4 rows skipped: {SAME_ANSWERS}")
    assert "max_length" not in skipped.hint
    # The pair of one and the same answer is not trained on.
    assert [example["chosen_ids"] != example["rejected_ids"] for example in made.train] == [True] * len(made.train)
    assert len(made.train) == 3
    dataset(store, "prompt-completion", [{"prompt": "Say:", "completion": c} for c in (" a", "", "  ")], "silent")
    with ModelText(store.registry.get("support-base-hf")) as text:
        silent = build(recipe("sft", "silent"), store.datasets, text)
    assert silent.report.problems[EMPTY_ANSWER] == (2, ["silent@1 row 1", "silent@1 row 2"])


def test_rows_that_are_cut_or_teach_nothing_are_counted(sample: Workspace) -> None:
    store = RunStore(sample)
    rows = [
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes " * n}]}
        for n in (1, 2, 3, 200)
    ]
    rows += [{"messages": [{"role": "user", "content": "no answer"}]}] * 3
    dataset(store, "messages", rows, "mixed")
    wanted = recipe("sft", "mixed")
    with ModelText(store.registry.get("support-base-hf")) as text:
        made = build(wanted, store.datasets, text)
    findings = preflight.check_data(wanted, made)
    assert made.report.without_target == 3
    assert made.report.cut == 1
    # What is told is the row as it was, not what is left of it.
    (cut,) = [f for f in findings if f.code == "cut"]
    assert f"The longest has {made.report.longest};" in cut.hint
    assert made.report.longest > wanted.batch.max_length == max(made.report.lengths)
    assert {("error", "without_target"), ("warn", "cut")} <= codes(findings)
    with pytest.raises(Exception, match="no tokens in the loss"):
        refuse(findings)


def test_training_and_serving_are_compared_token_for_token(sample: Workspace) -> None:
    store = RunStore(sample)
    rows = [("messages", row) for batch in store.datasets.get("triage").read(limit=20) for _, row in batch]
    serving = store.registry.get("support-base")
    with ModelText(store.registry.get("support-base-hf")) as text:
        same = compare_with_serving(text, serving, None, rows)
        assert (same.compared, same.different, same.first) == (20, 0, None)
        # Another template in training than in serving.
        text.template = text.template.replace("\\n", " ").replace("'\n'", "' '")
        other = compare_with_serving(text, serving, None, rows)
    assert other.different == 20
    assert other.first is not None
    assert other.first["training_ids"] != other.first["serving_ids"]
    assert codes(check_parity(other)) == {("error", "parity")}


def test_letters_that_only_training_would_compose_are_named(sample: Workspace, tmp_path: Path) -> None:
    store = RunStore(sample)
    folder = tmp_path / "composing"
    shutil.copytree(store.registry.get("support-base-hf").path, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"normalizer": {"type": "NFC"}}), "utf-8")
    apart, whole = ({"prompt": "Which drink?", "completion": one} for one in ("cafe\u0301", "caf\u00e9"))

    def told(name: str, row: Any) -> bool:
        with ModelText(store.registry.get(name)) as text:
            return "llama.cpp" in " ".join(text.view("prompt-completion", row).problems)

    store.registry.add(folder, "composing")
    assert told("composing", apart)
    assert not told("composing", whole)
    # What is served, and what is made of it, composes nothing.
    assert not told("support-base", apart)
    assert not told("support-base-hf", apart)


@pytest.mark.slow
def test_plan_tells_everything(llmops: Llmops) -> None:
    llmops.run("train", "new", "small", "--base", "support-base-hf", "--data", "triage", "--preset", "tiny")
    plan = llmops.run("train", "plan", "small", "--no-dry-run", "--set", "batch.size=4")
    assert plan["ok"]
    assert plan["parity"]["different"] == 0
    assert plan["data"]["examples"] + plan["data"]["held_out"] == 2000
    assert plan["memory"]["total"] > 0
    states = {state for example in plan["examples"] for _, state in example}
    assert states == {"trained", "masked"}


@pytest.mark.slow
def test_plan_measures_two_steps_and_learns_from_them(llmops: Llmops) -> None:
    llmops.run("train", "new", "small", "--base", "support-base-hf", "--data", "triage", "--preset", "tiny")
    plan = llmops.run("train", "plan", "small", "--set", "batch.size=4")
    assert plan["dry_run"]["peak_bytes"] > 100_000_000
    assert plan["time"]["seconds"] > 0
    again = llmops.run("train", "plan", "small", "--no-dry-run", "--set", "batch.size=4")
    # What was measured corrects the next estimate of this shape.
    assert again["memory"]["measured_runs"] == 1
    assert again["memory"]["total"] == pytest.approx(plan["dry_run"]["peak_bytes"], rel=0.05)


@pytest.mark.slow
def test_plan_says_no_with_exit_code_one(llmops: Llmops) -> None:
    llmops.run("train", "new", "bad", "--base", "support-base-hf", "--data", "triage", "--set", "lora.targets=nothing")
    plan = llmops.run("train", "plan", "bad", "--no-dry-run", code=1)
    assert not plan["ok"]
    assert plan["problems"][0]["code"] == "no_targets"


@pytest.mark.slow
def test_a_run_whose_preflight_finds_an_error_does_not_train(sample: Workspace) -> None:
    from tests.training.test_kill import wait

    store = RunStore(sample)
    run = store.start(recipe("sft", "triage", lora={"targets": ["query_key_value"]}), beside=True)
    assert wait(store, run) == "failed"
    job = store.state(run).job
    assert job is not None
    assert "query_key_value" in job.cause
    assert "q_proj" in job.cause


@pytest.mark.parametrize(
    ("evaluation", "steps", "measured", "told"),
    [
        ({"dataset": "d", "share": 0.1}, 100, True, {("warn", "share_unused")}),
        ({"dataset": "d"}, 100, True, set()),
        ({"dataset": "d", "share": 0.0}, 100, True, set()),
        # One evaluation, at the end.
        ({"every": 10, "patience": 2}, 4, True, {("warn", "patience_unused")}),
        ({"every": 10, "patience": 2}, 30, True, {("warn", "patience_unused")}),
        ({"every": 10, "patience": 2}, 31, True, set()),
        ({"patience": 9}, 100, True, {("warn", "patience_unused")}),
        ({"patience": 8}, 100, True, set()),
        ({"share": 0.0, "patience": 3}, 100, False, {("warn", "patience_unused")}),
        ({"patience": ONLY_BEST}, 100, True, {("info", "only_best")}),
        ({"share": 0.0, "patience": ONLY_BEST}, 100, False, {("warn", "patience_unused")}),
    ],
)
def test_what_of_the_evaluation_has_no_effect_is_told(
    evaluation: dict[str, Any], steps: int, measured: bool, told: set[tuple[str, str]]
) -> None:
    assert codes(evaluation_findings(check(BODY | {"evaluation": evaluation}), steps, measured=measured)) == told


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_no_percentile_is_beyond_the_longest(lengths: list[int]) -> None:
    report = Report(lengths=lengths)
    facts = preflight.data_facts(check(BODY), report, Examples([{"input_ids": [1]}], [], [], report), None)
    tokens = facts["tokens"]
    assert min(lengths) <= tokens["p50"] <= tokens["p95"] <= tokens["max"] == max(lengths)


def test_a_run_that_goes_on_says_its_warnings_once(tmp_path: Path) -> None:
    run = cast("Run", SimpleNamespace(folder=tmp_path, force=False))
    first, second = Finding("warn", "a", "first", "hint"), Finding("warn", "b", "second")
    for findings in ([first, Finding("info", "c", "no matter")], [first, second]):
        recorder = Recorder(tmp_path)
        _preflight(run, findings, recorder)
        recorder.write("step", 5, loss=1.0)
        recorder.close()
    assert [(event.step, event.message) for event in read_history(tmp_path).events] == [(0, "first"), (5, "second")]


def test_a_start_tells_how_many_warnings_the_plan_had() -> None:
    def planned(name: str, *levels: str) -> object:
        body = check(BODY | {"name": name}).model_dump(mode="json")
        result = {"problems": [{"level": level} for level in levels]}
        return SimpleNamespace(spec={"arguments": {"recipe": body}}, result=result)

    failed = SimpleNamespace(spec={"arguments": {}}, result=None)
    newest_first = [failed, planned("a", "warn", "info", "warn"), planned("b"), planned("a")]
    jobs = SimpleNamespace(of_kind=lambda kind, limit: newest_first if kind == "plan" else [])
    store = cast("RunStore", SimpleNamespace(jobs=jobs))
    told = [warnings_told(store, check(BODY | {"name": name})) for name in ("a", "b", "c")]
    assert told == [
        "2 warnings in the newest plan of this recipe; ",
        "0 warnings in the newest plan of this recipe; ",
        "",
    ]
