"""An evaluation on a Ray cluster: three nodes on this machine, one of them killed; each answer is there once."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator

import pytest

from llmops_tui.evaluation.run_comparison import results_of
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.jobs.store import JobState
from llmops_tui.training.worker.cluster_batch import SHARDS
from llmops_tui.workspace.layout import Workspace
from tests.training.test_ray import Nodes, nodes_of
from tests.training.test_ray_batch import kill_node
from tests.waiting import wait_for

CASES = 400
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"),
]


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    yield from nodes_of(monkeypatch, 3)


def test_of_three_nodes_one_is_killed_and_the_run_ends_whole(sample: Workspace, three: Nodes) -> None:
    store = EvaluationStore(sample)
    body = {
        "cases": [{"q": f"Question {n}", "expected": "x"} for n in range(CASES)], "metrics": ["exact"], "raw": True,
        "prompt": "plain", "parameters": {"temperature": 0, "max_tokens": 8},
    }  # fmt: skip
    store.prompts.save("plain", template="{{ q }}")
    version = store.save_suite(check_suite(body, "far"))
    (run,) = store.start(version, store.columns(version.suite, ["support-base"]), f"ray:{three.address}")
    folder = run.folder.parent

    def answered() -> int:
        path = folder / f"{run.name}.answers.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def over() -> bool:
        job = store.state(run).job
        return job is not None and job.state.final

    wait_for(lambda: answered() > 0 or over(), 1800)
    assert answered() < CASES, store.state(run).cause
    busy = [pid for caches, pid in three.nodes if list(caches.glob("llmops/ray/runs/*/shard.jsonl"))]
    kill_node(busy[0])
    wait_for(over, 2400)
    job = store.state(run).job
    assert job is not None
    assert job.state == JobState.DONE, job.cause
    results = results_of(store.get(run.name))
    assert sorted(one.case.index for one in results) == list(range(CASES))
    assert not [one.answer.error for one in results if one.answer.error]
    summary = store.get(run.name).summary
    assert summary is not None
    # All of it was answered on the nodes, and none here.
    assert (summary["answers"], summary["cached"], summary["costs"]["asked"]) == (CASES, CASES, 0)
    journal = [json.loads(line) for line in (store.jobs.folder(job) / SHARDS).read_text().splitlines()]
    assert sum(one["rows"] for one in journal if one["what"] == "answered") == CASES
    assert sum(one["what"] == "lost" for one in journal) == 1
