"""The playground and an evaluation with a real model: what a user does with it, and what comes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.inference.tokenizer import Tokenizer
from llmops_tui.sample import REAL_MODEL, fill
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.e2e.terminal import Terminal
from tests.engine.test_real_model import ANSWERS, clear_beginning

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
_SECONDS = 300.0


def test_the_playground_on_a_real_model(smollm2: Path, workspace: Workspace) -> None:
    """Run, change the prompt, save it and run it again; the answers are about what was asked, the first as many tips as it was asked for."""
    fill(workspace, smollm2)
    app = Terminal("--workspace", str(workspace.root))
    try:
        app.wait("sleeping better")
        app.wait(REAL_MODEL)
        app.press("f5")
        app.wait(lambda text: re.search(r"\b1\. \w", text) is not None, _SECONDS)
        app.wait("tok/s", _SECONDS)
        app.press("I cannot sleep. ")
        app.wait("tips @4 draft")
        app.wait("I cannot sleep. Give")
        app.press("ctrl+r")
        app.wait(lambda text: "tips @4" in text and "draft" not in text)
        app.wait("Runs  @4 · 1", _SECONDS)
        app.press("ctrl+q")
        assert app.finish() == 0
        assert app.unchanged()
    finally:
        app.close()
    llmops = Llmops(workspace)
    query = "SELECT output, model, finish_reason FROM requests ORDER BY started_at"
    rows = llmops.run("sql", query)
    assert len(rows["rows"]) == 2
    for output, model, reason in rows["rows"]:
        assert model == REAL_MODEL
        assert reason in {"stop", "length"}
        assert re.search("sleep|night|bed|relax", output), output
    first = rows["rows"][0][0]
    assert all(re.search(rf"^{n}\. \w", first, re.MULTILINE) for n in (1, 2, 3)), first


def test_an_evaluation_of_a_real_model(smollm2: Path, workspace: Workspace, tmp_path: Path) -> None:
    """From the command line, on what llama-server answered before its first choice that is not clear."""
    cases: list[dict[str, Any]] = []
    llmops = Llmops(workspace)
    llmops.run("model", "add", str(smollm2), "--name", REAL_MODEL)
    with Tokenizer(smollm2) as tokenizer:
        for prompt, reference in ANSWERS.items():
            if (sure := clear_beginning(reference)) > 1:
                cases.append({"question": prompt, "expected": tokenizer.text_of(reference["ids"][:sure])})
    assert len(cases) >= 5
    llmops.run("prompt", "save", "ask", "--text", "{{question}}")
    suite = tmp_path / "real.yaml"
    body = {
        "cases": cases,
        "prompt": "ask",
        "variables": {"question": "question"},
        "expected": "expected",
        "parameters": {"temperature": 0, "max_tokens": 48},
        "metrics": [{"type": "contains", "at_start": True}, "length"],
    }
    suite.write_text(json.dumps(body))
    run = llmops.run("eval", "run", str(suite), "--model", REAL_MODEL)
    assert run["cases"] == len(cases)
    assert run["metrics"]["contains"]["mean"] == 1.0, llmops.run("eval", "show", run["run"], "--failures")
    assert run["costs"]["completion_tokens"] > 10 * len(cases)
