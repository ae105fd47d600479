"""Two prompts are evaluated and compared in a real terminal; the app is killed while the run goes on."""

from __future__ import annotations

import os
import signal
import time

import pytest

from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.workspace.layout import Workspace
from tests.e2e.terminal import Terminal


@pytest.mark.slow
def test_a_suite_is_run_and_compared(sample: Workspace) -> None:
    store = EvaluationStore(sample)
    body = {
        "cases": "triage-test",
        "limit": 60,
        "variables": {"message": "messages[1].content"},
        "expected": "messages[2].content",
        "prompt": ["triage@1", "triage@3"],
        "models": ["support-base"],
        "parameters": {"temperature": 0, "max_tokens": 24},
        "metrics": ["edit-similarity"],
    }
    store.save_suite(check_suite(body, "wording"))
    app = Terminal("--workspace", str(sample.root))
    app.wait("support-base")
    app.press("f9", "4")
    app.wait("wording@1")
    app.press("f5")
    app.wait("wording-1, wording-2 are started")
    app.wait(lambda text: text.count("✓ wording-") == 2, seconds=90)
    app.wait("60 of 60 · by edit-similarity")
    # The first run is the baseline; the second is compared with it.
    app.jump("r", "Runs")
    app.wait("Figures  wording-1")
    app.press(" ")
    app.wait("◆ ✓ wording-1")
    app.press("up")
    app.wait("wording-2 against wording-1")
    app.wait("60 paired cases")
    app.press("ctrl+q")
    assert app.finish() == 0
    assert app.unchanged()


@pytest.mark.slow
def test_the_app_may_be_killed_while_a_run_goes_on(sample: Workspace) -> None:
    app = Terminal("--workspace", str(sample.root))
    app.wait("support-base")
    app.press("f9", "4")
    app.wait("triage@1")
    app.press("f5")
    app.wait("Run triage on")
    app.press("enter")
    app.wait("is started; the run continues without this app")
    assert app.child.pid is not None
    os.kill(app.child.pid, signal.SIGKILL)
    store = EvaluationStore(sample)
    (run,) = store.all()
    deadline = time.monotonic() + 180
    while store.get(run.name).summary is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert store.state(store.get(run.name)).state == "done"
