"""Standard tasks run through the engine come to what the LM Evaluation Harness says through our endpoint, case by case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.runner.results import read_results
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.tasks.worker.lm_eval_task import load_task
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.clients.running import beside
from tests.commands import Llmops
from tests.interop.conftest import Report, arguments_for, make_twin, run_here, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

GSM8K = [
    {
        "question": f"Anna has {n} apples and buys {n + 2} more. How many has she?",
        "answer": f"{n} + {n + 2}\n#### {2 * n + 2}",
    }
    for n in range(3, 11)
]
ARC = [
    {"id": str(n), "question": f"What is {n} plus one?", "answerKey": "AB"[n % 2],
     "choices": {"text": [str(n + 1 + n % 2), str(n + 2 - n % 2)], "label": ["A", "B"]}}
    for n in range(12)
]  # fmt: skip


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # All that the job sets, so that it is set back.
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("listed_once")
@pytest.mark.parametrize(("task", "rows", "fewshot"), [("gsm8k", GSM8K, 2), ("arc_easy", ARC, 0)])
def test_a_task_scores_as_the_harness_does(
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    report: Report,
    task: str,
    rows: Any,
    fewshot: int,
) -> None:
    from lm_eval import simple_evaluate

    asked, train = write(tmp_path / "asked.jsonl", rows), write(tmp_path / "train.jsonl", rows[::-1])
    twin = make_twin(tmp_path / "twin", bos=False, seed=5)
    ModelRegistry(Catalog(workspace)).add(twin.gguf, "tiny")
    llmops = Llmops(workspace)
    files = ("--file", asked, "--file", f"train={train}")
    with serve(workspace, "tiny", context=512, precision="exact") as served:
        monkeypatch.setenv("OPENAI_API_KEY", served.key)
        ours = llmops.run("eval", "task", task, "--model", "tiny", *files, "--fewshot", str(fewshot))
        arguments = arguments_for(task, {"test": asked, "train": train}, fewshot, "tiny")
        loaded = load_task(arguments, tmp_path / "task")
        theirs = simple_evaluate(
            model="local-completions",
            model_args=f"model=tiny,base_url={served.url}/v1/completions,tokenizer={twin.folder},tokenizer_backend=huggingface",
            tasks=[loaded.task], task_manager=loaded.manager, num_fewshot=fewshot, bootstrap_iters=0,
        )  # fmt: skip
    assert theirs is not None
    found = theirs["results"][task]
    for name, figure in ours["metrics"].items():
        if figure["type"] == "external":
            metric, _, read = name.partition("-")
            assert figure["mean"] == pytest.approx(found[f"{metric},{read or 'none'}"])
    kept = read_results(EvaluationStore(workspace).get(ours["run"]).results)
    samples = [s for s in theirs["samples"][task] if s["filter"] == theirs["samples"][task][0]["filter"]]
    same = sum(
        r.answer.text == (s["resps"][0][0] if task == "gsm8k" else r.answer.text) and r.answer.asked[0]["content"] in str(s["arguments"][0][0])
        for r, s in zip(kept, samples, strict=True)
    )  # fmt: skip
    report(f"{task}: {same} of {len(rows)} answers and prompts as through lm-eval's own client; figures equal")
    assert same == len(rows)
    # It is a run like any other: asked again from the cache, compared, asked in part.
    again = run_here(workspace, arguments)
    assert again.summary is not None
    first = EvaluationStore(workspace).get(ours["run"])
    assert (again.suite, again.suite_number) == (first.suite, first.suite_number)
    assert again.summary["cached"] == len(rows)
    assert llmops.run("eval", "compare", ours["run"], again.name)["comparable"]
    few = run_here(workspace, arguments | {"limit": 3})
    assert few.summary is not None
    assert (few.suite, few.suite_number, few.summary["cases"]) == (again.suite, again.suite_number, 3)
    refused = llmops.run("eval", "run", ours["suite"], "--model", "tiny", code=3)
    assert f"llmops eval task {task}" in json.dumps(refused)


@pytest.mark.usefixtures("listed_once")
def test_examples_are_not_taken_from_what_is_asked_and_names_are_suggested(tmp_path: Path) -> None:
    asked = write(tmp_path / "asked.jsonl", GSM8K)
    given: Any = {**arguments_for("gsm8k", {"test": asked}, 0, "m"), "fewshot": None}
    with pytest.raises(InputRefusedError, match="shows 5 examples from its split train"):
        load_task(given, tmp_path)
    with pytest.raises(InputRefusedError, match="no task 'gsm9k'"):
        load_task(given | {"task": "gsm9k"}, tmp_path)
    with pytest.raises(InputRefusedError, match="cannot be read here"):
        load_task(given | {"files": {}}, tmp_path)


# Tasks of Inspect: what is beside the data set, and the scorer that gives the figure.
INSPECT = {
    "includes": "scorer=includes(), solver=[system_message('Triage the message as JSON.'), generate()]",
    "choice": "scorer=choice(), solver=[system_message('Triage the message as JSON.'), multiple_choice()]",
    "match": "scorer=match(location='any'), solver=[system_message('Triage the message as JSON.'), generate()], epochs=2",
}


@pytest.mark.parametrize("scorer", INSPECT)
def test_a_task_of_inspect_is_kept_with_its_own_scores(
    sample: Workspace, tmp_path: Path, report: Report, scorer: str
) -> None:
    found = beside("clients") / "bin" / "inspect"
    if not found.exists():
        pytest.skip(f"{found} is not there: make test-slow installs it")
    words = ["refund", "exchange"]
    rows: list[dict[str, Any]] = [
        {"input": f"Please refund lamp {n}.", "target": words[1 - n % 2]}
        if scorer != "choice"
        else {"input": f"What is asked: please refund lamp {n}?", "choices": words, "target": "AB"[n % 2]}
        for n in range(6)
    ]
    write(tmp_path / "rows.jsonl", rows)
    (tmp_path / "triage.py").write_text(
        "from inspect_ai import Task, task\nfrom inspect_ai.dataset import json_dataset\nfrom inspect_ai.model import GenerateConfig\n"
        "from inspect_ai.scorer import choice, includes, match\nfrom inspect_ai.solver import generate, multiple_choice, system_message\n"
        f"@task\ndef triage():\n    return Task(dataset=json_dataset({str(tmp_path / 'rows.jsonl')!r}), {INSPECT[scorer]},\n"
        "        config=GenerateConfig(max_tokens=24, temperature=0))\n"
    )
    ours = Llmops(sample).run(
        "eval",
        "task",
        str(tmp_path / "triage.py"),
        "--with",
        "inspect",
        "--program",
        str(found),
        "--model",
        "support-base",
    )
    figure = ours["metrics"][scorer]
    run = EvaluationStore(sample).get(ours["run"])
    (log,) = [json.loads(path.read_text()) for path in run.folder.parent.glob("inspect/*.json")]
    theirs = {m["name"]: m["value"] for m in log["results"]["scores"][0]["metrics"].values()}["accuracy"]
    report(f"Inspect, {scorer}: accuracy {theirs} over {len(log['samples'])} samples, kept as {figure['mean']}")
    assert figure["mean"] == pytest.approx(theirs)
    assert ours["cases"] == 6
    kept = read_results(run.results)
    said = {(s["id"], s["epoch"] - 1): s["output"]["choices"][0]["message"]["content"] for s in log["samples"]}
    assert len(kept) == len(said) == (12 if scorer == "match" else 6)
    assert sorted(r.answer.text for r in kept) == sorted(said.values())
    assert kept[0].answer.asked[0]["content"] == "Triage the message as JSON."
