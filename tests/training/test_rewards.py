"""Rewards: the evaluation's own metrics, what is refused, what is told, and that a run learns from them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.reward_scoring import Rewards
from llmops_tui.training.asked_prompts import NO_ROOM
from llmops_tui.training.examples import build
from llmops_tui.training.history import History
from llmops_tui.training.preflight_rewards import about, check_rewards
from llmops_tui.training.recipe import Recipe, changed, check, parse
from llmops_tui.training.recipe_input import from_text
from llmops_tui.training.reinforcement import Reward
from llmops_tui.training.reward_figures import learned
from llmops_tui.training.reward_signs import RewardWatch, repetition
from llmops_tui.training.rewards import RewardFacts, RewardScorer, allow, not_allowed, note, require_allowed
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.layout import Workspace
from tests.training.conftest import Llmops, metrics

FUNCTION = """
def short(answer, expected, variables):
    return -len(answer.split()), "words"

def product(answer, expected, variables):
    import json
    return float(json.loads(expected)["product"] in answer.lower())
"""


def recipe(rewards: Any, **changes: Any) -> Recipe:
    body = {
        "name": "brief",
        "base": "support-base-hf",
        "data": ["triage"],
        "method": "grpo",
        "beta": 0.02,
        "max_steps": 4,
        "gradient_checkpointing": False,
        "quantization": {"type": "none", "compute": "float32"},
        "lora": {"rank": 8, "alpha": 16},
        "batch": {"size": 8, "accumulation": 1, "max_length": 160},
        "optimizer": {"learning_rate": 1e-3},
        "evaluation": {"max_rows": 4, "every": 2, "samples": 1},
        "checkpoints": {"every": 1, "keep": 9},
        "trackers": [],
        "reinforcement": {"rewards": rewards, "generations": 4, "max_tokens": 24},
    }
    return check(body | changes)


def function_file(tmp_path: Path) -> Path:
    file = tmp_path / "own.py"
    file.write_text(FUNCTION, encoding="utf-8")
    return file


def few(store: RunStore, rows: int = 64) -> str:
    """The first rows of the sample's task: nothing but answers takes time then."""
    taken = [row for batch in store.datasets.get("triage").read(limit=rows) for _, row in batch]
    file = store.workspace.root / "few.jsonl"
    file.write_text("".join(json.dumps({"messages": row["messages"]}) + "\n" for row in taken), encoding="utf-8")
    import_now(store.datasets, [file], "few", "messages")
    return "few"


# ── the recipe ──


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"method": "grpo"}, "requires reinforcement.rewards"),
        ({"reinforcement": {"rewards": ["exact"]}}, "is for method: grpo"),
        ({"method": "grpo", "reinforcement": {"rewards": ["exact"], "generations": 3}}, "does not divide"),
        ({"method": "grpo", "reinforcement": {"rewards": ["exact"], "generations": 1}}, "greater than or equal to 2"),
        ({"method": "grpo", "reinforcement": {"rewards": ["exact", "exact"]}}, "two rewards are called exact"),
        ({"method": "grpo", "reinforcement": {"rewards": [{"type": "exact", "weight": 0}]}}, "nothing to learn from"),
        ({"method": "grpo", "reinforcement": {"rewards": [{"type": "function"}]}}, "requires file and call"),
        ({"method": "grpo", "reinforcement": {"rewards": [{"type": "exact", "file": "a.py"}]}}, "exact is a metric"),
        ({"method": "grpo", "reinforcement": {"rewards": ["exact"], "generator": "engine", "temperature": 0.7}}, "temperature 1"),
        ({"method": "grpo", "reinforcement": {"rewards": ["exact"], "sync": 4}}, "sync is for generator: engine"),
        ({"method": "grpo", "reinforcement": {"rewards": [{"type": "function", "file": "a.py", "call": "f"}]}}, "whole path"),
        ({"method": "grpo", "reinforcement": {"rewards": ["exact"]}, "batch": {"packing": True}}, "packing requires"),
        ({"method": "grpo", "reinforcement": {"rewards": ["exact"]}, "batch": {"group_by_length": True}}, "group_by_length"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_rewards_is_refused_by_name(body: dict[str, Any], said: str) -> None:
    with pytest.raises(InputRefusedError, match=said):
        check({"name": "r", "base": "b", "data": ["d"]} | body)


def test_a_recipe_with_rewards_is_the_same_again_from_its_file_and_from_what_is_typed() -> None:
    made = recipe([{"type": "length", "weight": -0.05}, {"type": "contains", "value": "kettle", "name": "names it"}])
    assert parse(made.to_yaml()) == made
    typed = from_text(
        "reinforcement.rewards", "[{type: length, weight: -0.05}, {type: contains, value: kettle, name: names it}]"
    )
    assert changed(recipe("json-valid"), {"reinforcement.rewards": typed}) == made
    # A recipe of another method is what it was: its hash has nothing of rewards.
    assert "reinforcement" not in check({"name": "r", "base": "b", "data": ["d"]}).body


def test_a_step_answers_whole_groups_and_an_epoch_whole_steps() -> None:
    made = recipe("json-valid", batch={"size": 8, "accumulation": 2, "max_length": 160}, max_steps=0, epochs=2)
    # 16 answers a step are 4 prompts; of 23 prompts 5 steps are whole.
    assert made.steps(23) == 10
    assert changed(made, {"reinforcement.iterations": 3}).steps(23) == 30


# ── the metrics are the evaluation's ──


def test_rewards_are_the_scores_of_the_evaluation(workspace: Workspace, tmp_path: Path) -> None:
    answers = ["The kettle is 21.", "kettle", "21", ""]
    entries: list[dict[str, Any]] = [
        {"type": "exact"}, {"type": "contains"}, {"type": "length"}, {"type": "token-f1"}, {"type": "length", "of": "characters", "name": "chars"},
    ]  # fmt: skip
    case = {"expected": "kettle", "messages": [{"role": "user", "content": "What?"}], "variables": {}}
    items = [{"case": case, "answer": answer, "tokens": 3} for answer in answers]
    found = asyncio.run(Rewards(workspace).scored([{"name": "", **entry} for entry in entries], items))
    for answer, scores in zip(answers, found, strict=True):
        for entry, (value, _) in zip(entries, scores, strict=True):
            assert value == make_metric(entry).score(Case(0, "0", expected="kettle"), Answer(text=answer)).value


def test_what_is_no_reward_is_told_with_the_reason(workspace: Workspace) -> None:
    rewards = Rewards(workspace)

    def problem(entry: dict[str, Any]) -> str:
        return str(rewards.described(entry)["problem"])

    assert "'exct' is not a metric" in problem({"type": "exct"})
    assert rewards.described({"type": "exct"})["hint"] == "Did you mean exact?"
    assert "figure of a whole set" in problem({"type": "bleu"})
    assert "by probabilities" in problem({"type": "choice"})
    assert "registers 'nobody'" in problem({"type": "python", "entry": "nobody"})
    assert problem({"type": "judge", "model": "nobody", "rubric": "good"})
    assert rewards.described({"type": "exact"})["needs_expected"]
    assert rewards.described({"type": "json-valid"})["code"] == "json-valid revision 2"


def test_a_function_runs_only_where_its_file_was_allowed_as_it_is(workspace: Workspace, tmp_path: Path) -> None:
    file = function_file(tmp_path)
    reward = Reward.model_validate({"type": "function", "file": str(file), "call": "short"})
    with pytest.raises(InputRefusedError, match="was not allowed") as refused:
        require_allowed(reward)
    assert f"llmops train allow {file}" in refused.value.hint
    part = recipe([reward.model_dump()]).reinforcement
    assert not_allowed(part) == [file]
    entry = reward.entry | {"sha256": allow(file)}
    assert not_allowed(part) == []
    case = {"expected": None, "messages": [], "variables": {}}
    found = asyncio.run(Rewards(workspace).scored([entry], [{"case": case, "answer": "a b", "tokens": 1}]))
    assert found == [[[-2.0, "words"]]]
    missing = Rewards(workspace).described(entry | {"call": "nothing"})
    assert "has no function 'nothing'" in missing["problem"]
    failing = asyncio.run(
        Rewards(workspace).scored([entry | {"call": "product"}], [{"case": case, "answer": "a", "tokens": 1}])
    )
    assert failing[0][0][0] is None
    assert "product failed: TypeError" in failing[0][0][1]
    file.write_text(FUNCTION + "\n", encoding="utf-8")
    with pytest.raises(InputRefusedError, match="was not allowed"):
        require_allowed(reward)
    assert "not the file that was allowed" in Rewards(workspace).described(entry)["problem"]


def test_a_run_goes_on_only_with_the_rewards_it_began_with(tmp_path: Path) -> None:
    facts: RewardFacts = {
        "name": "short", "type": "function", "weight": 1.0, "code": "own.py:short", "fingerprint": "a", "problem": "", "hint": "",
        "needs_expected": False, "better": 1, "bounds": None, "asks": "",
    }  # fmt: skip
    note(tmp_path, [facts])
    note(tmp_path, [facts])
    with pytest.raises(InputRefusedError, match="short is not what the run began with"):
        note(tmp_path, [{**facts, "fingerprint": "b"}])


# ── prompts ──


def test_prompts_end_where_the_model_answers_and_keep_what_is_expected(sample: Workspace) -> None:
    store = RunStore(sample)
    with ModelText(store.registry.get("support-base-hf")) as text:
        made = build(recipe("json-valid", evaluation={"share": 0.0}), store.datasets, text, limit=8)
        short = build(
            recipe("json-valid", evaluation={"share": 0.0}, batch={"size": 8, "accumulation": 1, "max_length": 74}),
            store.datasets, text, limit=8,
        )  # fmt: skip
    for row in made.train:
        assert row["prompt"].endswith("<|im_start|>assistant\n")
        case = json.loads(row["case"])
        assert case["messages"][-1]["role"] == "user"
        assert set(json.loads(case["expected"])) == {"intent", "urgency", "product"}
    count, _ = short.report.problems[NO_ROOM]
    assert count == short.report.without_target == 8 - len(short.train) > 0


def test_a_conversation_without_an_answer_is_a_prompt_too(sample: Workspace) -> None:
    store = RunStore(sample)
    file = sample.root / "open.jsonl"
    rows = [{"messages": [{"role": "user", "content": f"When are you open on day {n}?"}]} for n in range(8)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    import_now(store.datasets, [file], "open", "messages")
    with ModelText(store.registry.get("support-base-hf")) as text:
        made = build(recipe("json-valid", data=["open"], evaluation={"share": 0.0}), store.datasets, text)
    assert len(made.train) == 8
    assert json.loads(made.train[0]["case"])["expected"] is None


def findings(store: RunStore, context: int | None, **changes: Any) -> dict[str, str]:
    wanted = recipe([{"type": "length", "weight": -0.05}], evaluation={"share": 0.0}, **changes)
    with ModelText(store.registry.get("support-base-hf")) as text:
        made = build(wanted, store.datasets, text, limit=8)
    with pytest.MonkeyPatch.context() as patch:
        # What they are is another test's.
        patch.setattr(RewardScorer, "describe", lambda self: [])
        return {
            one.code: one.message
            for one in check_rewards(wanted, store.workspace, made, context)
            if one.level == "error"
        }


def test_dead_ends_of_prompts_are_told_before_a_run(sample: Workspace) -> None:
    store = RunStore(sample)
    assert findings(store, 1024) == {}
    assert "longer than the base's context of 60" in findings(store, 60)["context"]
    few_prompts = findings(store, None, batch={"size": 64, "accumulation": 1, "max_length": 160})["few_prompts"]
    assert "a step answers 16 prompts 4 times each, and there are 8" in few_prompts


def test_rewards_that_rows_cannot_have_and_signs_that_are_turned_are_told() -> None:
    facts: RewardFacts = {
        "name": "exact", "type": "exact", "weight": -1.0, "code": "exact", "fingerprint": "a", "problem": "", "hint": "",
        "needs_expected": True, "better": 1, "bounds": None, "asks": "",
    }  # fmt: skip
    told = {one.code: (one.level, one.message) for one in about(facts, 0, 8)}
    assert told["nothing_expected"][0] == "error"
    assert "which 8 of 8 prompts do not have" in told["nothing_expected"][1]
    assert "more is better: the run learns the opposite" in told["reward_direction"][1]
    assert [one.level for one in about({**facts, "weight": 1.0}, 5, 8)] == ["warn"]
    assert about({**facts, "weight": 1.0}, 8, 8) == []
    assert [one.level for one in about({**facts, "problem": "no such model"}, 8, 8)] == ["error"]


# ── signs ──


def test_repetition_is_the_share_of_runs_said_before() -> None:
    assert repetition([1, 2, 3]) == 0
    assert repetition([1, 2, 3, 4, 5, 6]) == 0
    assert repetition([7] * 13) == pytest.approx(0.9)


def signs(watch: RewardWatch, **series: Any) -> list[str]:
    found = []
    for step in range(1, 41):
        figures = {name.replace("__", "/"): value(step) for name, value in series.items()}
        found += [event.message for event in watch.step(step, figures)]
    return found


def test_signs_of_a_gamed_reward_are_told_once_and_a_run_that_learns_has_none() -> None:
    grows = {"reward": lambda step: step / 40, "completions__mean_length": lambda step: 10.0 + step}
    (longer,) = signs(RewardWatch(), **grows)
    assert "the answers get longer" in longer
    steady = grows | {"completions__mean_length": lambda _step: 10.0}
    assert signs(RewardWatch(), **steady) == []
    # Longer answers that are rewarded less are nothing that is gamed.
    assert signs(RewardWatch(), **(grows | {"reward": lambda step: -step})) == []
    (repeats,) = signs(RewardWatch(), **steady, completions__repetition=lambda step: min(0.6, step / 40))
    assert "repeat themselves" in repeats
    (flat,) = signs(RewardWatch(), **steady, frac_reward_zero_std=lambda _step: 1.0)
    assert "the same reward" in flat


def test_a_reward_that_rises_while_what_is_watched_falls_is_told() -> None:
    def figures(reward: float, watched: float) -> dict[str, float]:
        return {
            "eval_reward": reward,
            "eval_reward_se": 0.01,
            "eval_rewards/polite": watched,
            "eval_rewards/polite/se": 0.05,
        }

    watch = RewardWatch(("polite",))
    assert watch.evaluation(0, figures(0.1, 0.9)) == []
    assert watch.evaluation(5, figures(0.5, 0.85)) == []
    (event,) = watch.evaluation(10, figures(0.9, 0.2))
    assert "polite, which is only watched, falls" in event.message
    assert watch.evaluation(15, figures(0.9, 0.1)) == []


def test_what_was_learned_is_the_first_evaluation_beside_the_last() -> None:
    history = History()
    for step, value in ((0, 1.0), (5, 2.0), (10, 3.0)):
        history.add({"kind": "eval", "step": step, "eval_reward": value, "eval_reward_se": 0.5})  # type: ignore[typeddict-unknown-key]
    (found,) = learned(history)
    assert (found["before"], found["after"]) == (1.0, 3.0)
    assert found["after_interval"] == pytest.approx((3 - 0.98, 3 + 0.98))
    assert learned(History()) == []


def test_answers_are_read_with_their_rewards_and_forgotten_behind_a_resume() -> None:
    history = History()
    for step in (1, 2, 3):
        line: Any = {
            "kind": "answer",
            "step": step,
            "prompt": "p",
            "text": "t",
            "rewards": {"exact": 1.0},
            "reward": 2.0,
            "advantage": 0.5,
        }
        history.add(line)
    history.add({"kind": "start", "step": 2, "total": 4})
    assert [answer.step for answer in history.answers] == [1, 2]
    assert history.answers[0].rewards == {"exact": 1.0}


# ── slow: runs ──


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_process_that_scores_says_what_the_metrics_say(workspace: Workspace, tmp_path: Path) -> None:
    file = function_file(tmp_path)
    allow(file)
    rewards = [
        Reward.model_validate({"type": "json-valid"}),
        Reward.model_validate({"type": "json-schema", "json_schema": {"type": "object", "required": ["a"]}}),
        Reward.model_validate({"type": "function", "file": str(file), "call": "short"}),
    ]
    case = {"expected": None, "messages": [], "variables": {}}
    with RewardScorer(workspace, rewards) as scorer:
        assert [one["problem"] for one in scorer.describe()] == ["", "", ""]
        found = scorer.score(
            [{"case": case, "answer": answer, "tokens": 1} for answer in ('{"a": 1}', "{}", "no", "1 2 3")]
        )
    assert [[value for value, _ in one] for one in found] == [[1, 1, -2], [1, 0, -1], [0, 0, -1], [0, 0, -3]]
    assert "'a' is a required property" in found[1][1][1]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_reward_that_is_the_same_for_all_stops_the_run_before_it_trains(llmops: Llmops) -> None:
    store = RunStore(llmops.workspace)
    run = store.start(recipe("json-valid", data=[few(store)]), beside=True)
    from tests.training.test_kill import wait

    assert wait(store, run) == "failed"
    assert "there is nothing to learn from" in store.state(run).cause
    assert not any(line["kind"] == "step" for line in metrics(run.folder))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_killed_run_goes_on_with_the_same_answers_and_rewards(llmops: Llmops) -> None:
    """With answers that several steps learn from, killed in the middle of them."""
    from tests.training.test_kill import kill_when, wait

    def kept(folder: Path, step: int) -> bool:
        """Whether a checkpoint of this step is whole; 3 is between the two steps on the same answers."""
        return (folder / "checkpoints" / f"checkpoint-{step}").is_dir()

    store = RunStore(llmops.workspace)
    rewards = [{"type": "length", "weight": -0.05}]
    wanted = changed(
        recipe(rewards, data=[few(store)]), {"reinforcement.iterations": 2, "max_steps": 5, "evaluation.every": 5}
    )
    whole = store.start(wanted, beside=True)
    assert wait(store, whole) == "done"
    cut = store.start(wanted, beside=True)
    assert kill_when(store, cut, lambda: kept(cut.folder, 3))
    wait(store, cut)
    store.resume(cut.name)
    assert wait(store, cut) == "done"

    def steps(folder: Path) -> dict[int, tuple[float, ...]]:
        # A step on answers of one before has no reward of its own.
        names = ("loss", "reward", "kl", "completions/mean_length")
        return {
            line["step"]: tuple(line.get(name, 0) for name in names)
            for line in metrics(folder)
            if line["kind"] == "step"
        }

    assert steps(cut.folder) == steps(whole.folder)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_losses_and_rewards_are_those_of_bare_trl(sample: Workspace, tmp_path: Path) -> None:
    """Ten steps beside TRL's own trainer, with its own tokens of the same prompts: five digits."""
    import subprocess
    import sys

    from tests.training.test_kill import wait

    store = RunStore(sample)
    wanted = recipe(
        [{"type": "length", "weight": -0.05}],
        data=[few(store)],
        max_steps=10,
        evaluation={"share": 0.0},
        optimizer={"learning_rate": 1e-3, "warmup": 2},
    )
    base = store.registry.get("support-base-hf")
    with ModelText(base) as text:
        rows = build(wanted, store.datasets, text).train
    run = store.start(wanted, beside=True)
    settings = {
        "method": "grpo", "steps": 10, "batch": 8, "accumulation": 1, "generations": 4, "max_tokens": 24, "beta": 0.02, "warmup": 2,
        "learning_rate": 1e-3, "rank": 8, "weight": -0.05, "quantization": "none",
    }  # fmt: skip
    (tmp_path / "rows.json").write_text(json.dumps([{"prompt": row["prompt"]} for row in rows]), encoding="utf-8")
    (tmp_path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    script = Path(__file__).parents[2] / "tools" / "bench" / "bare_trl.py"
    command = [
        sys.executable,
        str(script),
        str(base.path),
        str(tmp_path / "rows.json"),
        str(tmp_path / "settings.json"),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]
    bare = json.loads(told)
    assert wait(store, run) == "done"
    steps = [line for line in metrics(run.folder) if line["kind"] == "step"]
    assert len(steps) == 10
    for name in ("loss", "reward", "kl"):
        assert [line[name] for line in steps] == pytest.approx(bare[name], rel=1e-5, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_llama_cpp_generates_with_the_adapter_as_it_is_and_trl_corrects_for_it(llmops: Llmops) -> None:
    from tests.training.test_kill import wait

    store = RunStore(llmops.workspace)
    wanted = changed(
        recipe([{"type": "length", "weight": -0.05}], data=[few(store)]), {"reinforcement.generator": "engine"}
    )
    run = store.start(wanted, beside=True)
    assert wait(store, run) == "done", store.state(run).cause
    steps = [line for line in metrics(run.folder) if line["kind"] == "step"]
    assert len(steps) == 4
    for line in steps:
        # The file is in Q8_0, and the trainer computes in 32 bits: they differ, and by little, also once the adapter has moved.
        assert 0 < line["sampling/sampling_logp_difference/mean"] < 0.05
        assert line["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=0.05)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_sample_learns_brevity_from_rewards_alone(llmops: Llmops, tmp_path: Path) -> None:
    """Fewer words, with what the customer wrote of still named: the intervals before and after are apart."""
    from tests.training.test_kill import wait

    file = function_file(tmp_path)
    allow(file)
    store = RunStore(llmops.workspace)
    wanted = recipe(
        [{"type": "length", "weight": -0.05}, {"type": "function", "file": str(file), "call": "product"}],
        max_steps=60,
        lora={"rank": 16, "alpha": 32},
        batch={"size": 32, "accumulation": 1, "max_length": 160},
        evaluation={"max_rows": 64, "every": 20, "samples": 1},
        optimizer={"learning_rate": 1e-3, "warmup": 0.05},
        checkpoints={"every": 20},
    )
    wanted = changed(wanted, {"reinforcement.generations": 8, "reinforcement.max_tokens": 48})
    run = store.start(wanted, beside=True)
    assert wait(store, run, 3600) == "done"
    shown = llmops.run("train", "rewards", run.name)
    figures = {one["name"]: one for one in shown["learned"]}
    assert figures["length"]["after_interval"][1] < figures["length"]["before_interval"][0]
    assert figures["reward"]["before_interval"][1] < figures["reward"]["after_interval"][0]
    assert figures["product"]["after"] >= figures["product"]["before"]
    card = (run.folder / "adapter" / "README.md").read_text(encoding="utf-8")
    assert "## Rewards" in card
    assert shown["rewards"][1]["fingerprint"] in card
