"""Metrics that never end, end their process, or give what is no number: every case is there once, and what has no score says why."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.runner.results import read_results
from llmops_tui.evaluation.runner.scoring_worker import score_or_reason
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.workspace.layout import Workspace
from tests.evaluation.test_runs import kill_job, settled
from tests.plugin_packages import put_package, use

HOSTILE = """
import os


def ends(answer, expected, variables):
    os._exit(3)


def nothing(answer, expected, variables):
    return float("nan"), "divided by nothing"


def deeper(answer, expected, variables):
    return deeper(answer, expected, variables)


def shouts(answer, expected, variables):
    print("x" * 100_000)
    raise ValueError("\\x1b[31m no")
"""
# By case: what is done to it, and what its missing score says. Patterns with the answers that models give take for ever.
DONE: dict[int, tuple[Any, str]] = {
    2: ({"type": "regex", "name": "endless", "pattern": "^((.|\\s)+)+\\x01$"}, "took longer than"),
    3: ({"type": "python", "name": "deeper", "entry": "deeper"}, "RecursionError"),
    4: ({"type": "python", "name": "ends", "entry": "ends"}, "it cannot be scored"),
    5: ({"type": "python", "name": "nothing", "entry": "nothing"}, "the metric gave nan; divided by nothing"),
    6: ({"type": "python", "name": "shouts", "entry": "shouts"}, "ValueError"),
}


class Odd(Metric):
    """Gives what it is told."""

    type: str = "odd"
    gives: float

    def score(self, case: Case, answer: Answer) -> Score:
        del case, answer
        return Score(self.gives, "odd")


@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_score_and_says_so(given: float) -> None:
    found = score_or_reason(Odd(gives=given), Case(0, "k"), Answer("a"))
    assert (found.value, found.reason) == (None, f"it cannot be scored: the metric gave {given}; odd")
    assert score_or_reason(make_metric("exact"), Case(0, "k", expected="a"), Answer("a")).value == 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_hostile_metrics_and_a_kill_lose_nothing_and_hide_nothing(
    sample: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {
        "llmops_tui.metrics": {name: f"hostile_metrics:{name}" for name in ("ends", "nothing", "deeper", "shouts")}
    }
    put_package(tmp_path / "packages", "hostile-metrics", points, {"hostile_metrics.py": HOSTILE})
    use(monkeypatch, tmp_path / "packages")
    cases: list[dict[str, Any]] = []
    for i in range(40):
        case: dict[str, Any] = {"vars": {"message": f"Where is order {i}, please?"}, "expected": "x"}
        cases.append(case | {"metrics": [DONE[i][0]]} if i in DONE else case)
    body = {
        "cases": cases,
        "prompt": "triage@1",
        "parameters": {"temperature": 0, "max_tokens": 24},
        "metrics": ["exact", "length"],
    }
    store = EvaluationStore(sample)
    suite = check_suite(body, "hostile")
    (run,) = store.start(store.save_suite(suite), store.columns(suite, ["support-base"]))
    if kill_job(store, run.name, 3):
        assert settled(store, run.name) == "killed"
        store.resume(run.name)
    assert settled(store, run.name) == "done", store.state(store.get(run.name)).as_dict()
    run = store.get(run.name)
    lines = [json.loads(line)["case"]["index"] for line in run.results.read_text().splitlines()]
    assert sorted(lines) == list(range(40))
    found = {result.case.index: result for result in read_results(run.results)}
    for index, result in found.items():
        assert not result.answer.error
        # What the other metrics say is there, whatever the hostile one did.
        assert result.scores["exact"].value is not None
        assert result.scores["length"].value is not None
        if index in DONE:
            entry, says = DONE[index]
            score = result.scores[entry["name"]]
            assert score.value is None
            assert says in score.reason
            assert score.reason
    assert run.summary is not None
    for entry, _ in DONE.values():
        figure = run.summary["metrics"][entry["name"]]
        assert (figure["unusable"], figure["mean"]) == (1, None)
    assert run.summary["metrics"]["exact"]["n"] == 40
