"""GSM8K and BANKING77 end to end with the sample model, as a new user would; the scores are low, the runs are whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_tui.evaluation.runner.results import read_results
from llmops_tui.evaluation.store import EvaluationStore
from tests.commands import Llmops

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.skipif(not DATA.is_dir(), reason="the data is not here"),
]  # fmt: skip


def test_gsm8k(llmops: Llmops, tmp_path: Path) -> None:
    (tmp_path / "gsm8k.yaml").write_text(
        json.dumps(
            {
                "cases": str(DATA / "gsm8k" / "test.jsonl"),
                "variables": {"question": "question"},
                "expected": "answer",
                "prompt": "gsm8k",
                "parameters": {"temperature": 0, "max_tokens": 64},
                "metrics": ["numeric", "bleu", "rouge", "chrf", "token-f1"],
            }
        )
    )
    llmops.run("prompt", "save", "gsm8k", "--text", "{{question}}\nEnd with #### and the number.")
    found = llmops.run("eval", "run", str(tmp_path / "gsm8k.yaml"), "--model", "support-base")
    assert found["cases"] == 1319
    assert found["errors"] == 0
    assert found["metrics"]["numeric"]["n"] == 1319
    assert found["metrics"]["numeric"]["mean"] < 0.05
    assert found["metrics"]["bleu"]["facts"]["signature"].startswith("nrefs:1")


def test_banking77(llmops: Llmops, tmp_path: Path) -> None:
    labels = json.loads((DATA / "banking77" / "categories.json").read_text())
    body = {
        "cases": str(DATA / "banking77" / "test.csv"),
        "variables": {"text": "text"},
        "expected": "category",
        "prompt": "banking",
        "parameters": {"temperature": 0, "max_tokens": 16},
    }
    metrics = [
        {"type": "classification", "labels": labels},
        {"type": "classification", "average": "mcc", "labels": labels},
    ]
    (tmp_path / "banking.yaml").write_text(json.dumps(body | {"metrics": metrics, "slices": {"category": "category"}}))
    (tmp_path / "choices.yaml").write_text(
        json.dumps(
            body
            | {
                "limit": 30,
                "choices": labels,
                "metrics": ["choice", {"type": "choice", "normalise": True}, "calibration"],
            }
        )
    )
    llmops.run("prompt", "save", "banking", "--text", "Which kind of request is this? {{text}}")
    found = llmops.run("eval", "run", str(tmp_path / "banking.yaml"), "--model", "support-base")
    assert found["cases"] == 3080
    assert sum(n for _, _, n in found["metrics"]["f1-macro"]["facts"]["confusion"]) == 3080
    chosen = llmops.run("eval", "run", str(tmp_path / "choices.yaml"), "--model", "support-base")
    assert chosen["errors"] == 0
    results = read_results(EvaluationStore(llmops.workspace).get(chosen["run"]).results)
    assert all(len(r.answer.choice_logprobs) == 77 for r in results)
