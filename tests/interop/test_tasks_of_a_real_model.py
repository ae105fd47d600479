"""Eight kinds of task on a real model: the figures that the LM Evaluation Harness prints are those of our runs, to the last digit."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.evaluation.model_records import PerplexityRecord
from llmops_tui.evaluation.perplexity import perplexity
from llmops_tui.evaluation.tasks.worker.lm_eval_task import load_task
from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.gguf import read_contents
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.unpacking.vocabulary import Vocabulary
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.interop.conftest import Report, Served, arguments_for, listed, run_here, serve
from tests.interop.test_tasks import write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

FACTS = [
    ("What do bees make?", "honey", "steel"), ("What color is the sky on a clear day?", "blue", "green and red"),
    ("What is frozen water called?", "ice", "sand"), ("Which animal barks?", "dog", "goldfish"),
    ("Where does the sun rise?", "in the east", "under the sea"), ("What do you read in a library?", "books", "soup"),
    ("What do you put on your feet?", "shoes", "a roof"), ("What follows Monday?", "Tuesday", "a bucket"),
]  # fmt: skip
SENTENCES = [
    "The children went to the beach and swam in the sea", "He opened the door with a key",
    "She drank a cup of coffee", "At night you can see the moon and the stars", "The cat chased the mouse",
]  # fmt: skip
# By task: its rows in the form of its data set, and how many examples it shows.
TASKS: dict[str, tuple[list[Any], int]] = {
    # Multiple choice over texts, plain and by length.
    "arc_easy": (
        [{"id": str(n), "question": q, "answerKey": "AB"[n % 2], "choices": {"text": [a, b] if n % 2 == 0 else [b, a], "label": ["A", "B"]}}
         for n, (q, a, b) in enumerate(FACTS)], 2),
    # The same without instructions, by the number of the right one.
    "piqa": ([{"goal": q, "sol1": a if n % 2 else b, "sol2": b if n % 2 else a, "label": 1 - n % 2} for n, (q, a, b) in enumerate(FACTS)], 0),
    # Choices that are the same words for every question.
    "boolq": (
        [{"passage": f"Somebody asks: {q} The answer is {a}.", "question": f"is it {a if n % 2 else b}", "label": n % 2}
         for n, (q, a, b) in enumerate(FACTS)], 0),
    # A scoring of its own: the probability that all true answers share. Its prompt is long, so that few questions do.
    "truthfulqa_mc2": (
        [{"question": q, "mc1_targets": {"choices": [a, b], "labels": [1, 0]},
          "mc2_targets": {"choices": [f"It is {a}.", a, f"It is {b}."], "labels": [1, 1, 0]}} for q, a, b in FACTS[:4]], 0),
    # The log-likelihood of a last word: whether it is the likeliest, and its perplexity by token.
    "lambada_openai": ([{"text": text} for text in SENTENCES], 0),
    # Generation, compared without case, articles and signs.
    "nq_open": ([{"question": q.rstrip("?").lower(), "answer": [a, a.upper()]} for q, a, _ in FACTS], 2),
    # Generation with examples, read by two filters.
    "gsm8k": (
        [{"question": f"Anna has {n} apples and buys {n + 2} more. How many has she?", "answer": f"{n} + {n + 2}\n#### {2 * n + 2}"}
         for n in range(3, 7)], 2),
}  # fmt: skip


@dataclass(frozen=True)
class Real:
    """The model behind an address, with its tokenizer as a folder."""

    served: Served
    workspace: Workspace
    tokenizer: Path

    async def perplexity(self, text: str) -> PerplexityRecord:
        """What ``llmops eval perplexity`` prints."""
        model = ModelRegistry(Catalog(self.workspace)).get("real")
        async with ModelClient(open_endpoint(ServerSupervisor(self.workspace), model)) as client:
            return (await perplexity(client, text)).as_dict()

    def client(self, further: str = "") -> Any:
        """The harness's own client of endpoints."""
        from lm_eval.api.registry import get_model

        return get_model("local-completions").create_from_arg_string(
            f"model=real,base_url={self.served.url}/v1/completions,tokenizer={self.tokenizer},tokenizer_backend=huggingface{further}"
        )


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[Real]:
    folder = tmp_path_factory.mktemp("real")
    workspace = make_workspace(Workspace(folder / "ws"))
    ModelRegistry(Catalog(workspace)).add(smollm2, "real")
    vocabulary = Vocabulary(read_contents(smollm2).metadata)
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text(json.dumps(vocabulary.tokenizer()))
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(vocabulary.settings()))
    with serve(workspace, "real", context=2048, precision="exact") as served:
        yield Real(served, workspace, tokenizer)


@pytest.fixture(scope="module")
def client(real: Real) -> Any:
    """One for all tasks: its tokenizer takes longer to load than a task to answer."""
    return real.client()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, real: Real, listed_once: None) -> None:
    # All that the job sets, so that it is set back.
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", real.served.key)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_the_figures_that_the_harness_prints(
    real: Real, client: Any, task: str, tmp_path: Path, report: Report
) -> None:
    from lm_eval import simple_evaluate

    rows, fewshot = TASKS[task]
    files = {"test": write(tmp_path / "asked.jsonl", rows), "train": write(tmp_path / "train.jsonl", rows[::-1])}
    arguments = arguments_for(task, files, fewshot, "real")
    ours = run_here(real.workspace, arguments)
    assert ours.summary is not None
    loaded = load_task(arguments, tmp_path / "theirs")
    theirs = simple_evaluate(
        model=client, tasks=[loaded.task], task_manager=loaded.manager, num_fewshot=fewshot, bootstrap_iters=0
    )
    assert theirs is not None
    figures = {
        f"{name.partition('-')[0]},{name.partition('-')[2] or 'none'}": figure["mean"]
        for name, figure in ours.summary["metrics"].items()
        if figure["type"] == "external"
    }
    found = theirs["results"][task]
    # Each figure that the harness prints, and no other.
    assert figures.keys() == {name for name in found if "," in name and "_stderr" not in name}
    told = []
    for name, value in figures.items():
        # The harness prints four decimals.
        assert f"{value:.4f}" == f"{found[name]:.4f}", name
        told.append(f"{name} {value:.4f}")
    report(f"{task} on SmolLM2-135M: {', '.join(told)}, as lm-eval prints")


def test_perplexity_by_word_byte_and_token_is_that_of_the_harness(real: Real, tmp_path: Path, report: Report) -> None:
    """The model has no token before every text: what the first word is predicted from is given to the harness, too."""
    from lm_eval import simple_evaluate

    text = ". ".join(SENTENCES) + "."
    ours = asyncio.run(real.perplexity(text))
    first, rest = text[:3], text[3:]
    write(tmp_path / "page.jsonl", [{"page": rest}])
    (tmp_path / "pages.yaml").write_text(
        f"task: pages\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/page.jsonl}}}}\ntest_split: test\n"
        'output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{page}}"\n'
        "metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]\n"
    )
    (given,) = real.client().tok_encode(first)
    client = real.client(f",custom_prefix_token_id={given}")
    manager = listed()
    (task,) = manager.load([str(tmp_path / "pages.yaml")])["tasks"].values()
    theirs = simple_evaluate(model=client, tasks=[task], task_manager=manager, bootstrap_iters=0)
    assert theirs is not None
    found = theirs["results"]["pages"]
    ((total,),) = theirs["samples"]["pages"][0]["resps"]
    by = {
        "word": (ours["word_perplexity"], found["word_perplexity,none"]),
        "byte": (ours["byte_perplexity"], found["byte_perplexity,none"]),
        "bits by byte": (ours["bits_per_byte"], found["bits_per_byte,none"]),
        # Its tasks have no figure by token.
        "token": (ours["perplexity"], math.exp(-float(total) / len(client.tok_encode(rest)))),
    }
    for name, (own, their) in by.items():
        assert f"{own:.4f}" == f"{their:.4f}", name
    report("perplexity on SmolLM2-135M: " + ", ".join(f"by {n} {a:.4f}" for n, (a, _) in by.items()) + ", as lm-eval's")
