"""Multiple choice and perplexity are those of the LM Evaluation Harness through the endpoint, on the same model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_tui.evaluation.runner.results import read_results
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.interop.conftest import Report, make_twin, serve
from tests.interop.test_clients import harness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

README = Path(__file__).parents[2] / "README.md"


def sentences() -> list[str]:
    lines = (" ".join(line.split()) for line in README.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if len(line.split()) > 8][:40]


def test_multiple_choice(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    """Real sentences, cut in two, with the ends of others as wrong choices of different lengths."""
    lines = sentences()
    cut = [(" ".join(line.split()[:5]), " " + " ".join(line.split()[5:])) for line in lines]
    rows = []
    for i, (start, end) in enumerate(cut):
        choices = [cut[(i + k) % len(cut)][1] for k in (1, 2, 3)]
        choices.insert(i % 4, end)
        rows.append({"q": start, "choices": choices, "answer": i % 4})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mc.yaml").write_text(
        f"task: mc\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/rows.jsonl}}}}\ntest_split: test\n"
        'output_type: multiple_choice\ndoc_to_text: "{{q}}"\ndoc_to_choice: "{{choices}}"\ndoc_to_target: answer\n'
        'target_delimiter: ""\nmetric_list: [{metric: acc}, {metric: acc_norm}]\n'
    )
    twin = make_twin(tmp_path / "twin", bos=False, seed=5)
    ModelRegistry(Catalog(workspace)).add(twin.gguf, "tiny")
    llmops = Llmops(workspace)
    llmops.run("prompt", "save", "plain", "--text", "{{q}}")
    suite = tmp_path / "ours.yaml"
    suite.write_text(
        json.dumps(
            {
                "cases": str(tmp_path / "rows.jsonl"),
                "variables": {"q": "q"},
                "choices": "choices",
                "expected": "answer",
                "prompt": "plain",
                "raw": True,
                "metrics": ["choice", {"type": "choice", "normalise": True}],
            }
        )
    )
    with serve(workspace, "tiny", context=512, precision="exact") as served:
        monkeypatch.setenv("OPENAI_API_KEY", served.key)
        arguments = (
            f"model=tiny,base_url={served.url}/v1/completions,tokenizer={twin.folder},tokenizer_backend=huggingface"
        )
        theirs = harness(tmp_path, "out", "--model", "local-completions", "--model_args", arguments, "--tasks", "mc")
        ours = llmops.run("eval", "run", str(suite), "--model", "tiny")
    assert ours["metrics"]["choice"]["mean"] == theirs["results"]["mc"]["acc,none"]
    assert ours["metrics"]["choice-norm"]["mean"] == theirs["results"]["mc"]["acc_norm,none"]
    found = read_results(EvaluationStore(workspace).get(ours["run"]).results)
    worst = max(
        abs(a - float(b[0][0]))
        for r, s in zip(found, theirs["samples"]["mc"], strict=True)
        for a, b in zip(r.answer.choice_logprobs, s["resps"], strict=True)
    )
    report(
        f"multiple choice on 40 sentences: acc {ours['metrics']['choice']['mean']}, acc_norm "
        f"{ours['metrics']['choice-norm']['mean']}, as lm-eval's; worst log-likelihood off by {worst:.1e} nats"
    )
    assert worst < 1e-3


def test_perplexity(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    text = " ".join(sentences())
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "text.jsonl").write_text(json.dumps({"page": text}) + "\n")
    (tmp_path / "ppl.yaml").write_text(
        f"task: ppl\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path}/text.jsonl}}}}\ntest_split: test\n"
        'output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{page}}"\n'
        "metric_list: [{metric: byte_perplexity}, {metric: bits_per_byte}]\n"
    )
    twin = make_twin(tmp_path / "twin", bos=True, seed=6)
    ModelRegistry(Catalog(workspace)).add(twin.gguf, "tiny")
    with serve(workspace, "tiny", context=512, precision="exact") as served:
        monkeypatch.setenv("OPENAI_API_KEY", served.key)
        arguments = (
            f"model=tiny,base_url={served.url}/v1/completions,tokenizer={twin.folder},tokenizer_backend=huggingface,"
            "max_length=257,custom_prefix_token_id=0"
        )
        theirs = harness(tmp_path, "out", "--model", "local-completions", "--model_args", arguments, "--tasks", "ppl")
        ours = Llmops(workspace).run(
            "eval", "perplexity", "--model", "tiny", "--file", str(tmp_path / "text.txt"), "--window", "256"
        )
    expected = theirs["results"]["ppl"]["bits_per_byte,none"]
    report(f"bits per byte over {ours['tokens']} tokens: {ours['bits_per_byte']:.6f}, lm-eval {expected:.6f}")
    assert ours["bits_per_byte"] == pytest.approx(expected, abs=1e-4)
