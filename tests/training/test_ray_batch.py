"""A file of requests on a Ray cluster: three nodes on this machine, one of them killed; each line is answered once."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from llmops_tui.inference.filed.batches import CLUSTER_ENTRY
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.training.worker.cluster_batch import SHARDS
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.training.test_ray import Nodes, nodes_of
from tests.waiting import wait_for

ROWS = 600
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"),
]


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    yield from nodes_of(monkeypatch, 3)


def kill_node(raylet: int) -> None:
    """End all that a node runs, as a machine that goes off does: of a raylet alone, its workers may outlive it and go on."""
    node = psutil.Process(raylet)
    for process in [node, *node.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def test_of_three_nodes_one_is_killed_and_the_batch_ends_whole(sample: Workspace, tmp_path: Path, three: Nodes) -> None:
    requests, output = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    body = {"model": "support-base", "max_tokens": 8, "temperature": 0}
    lines = [
        {"custom_id": f"a{n}", "method": "POST", "url": "/v1/completions", "body": body | {"prompt": f"Question {n}"}}
        for n in range(ROWS)
    ]
    requests.write_text("".join(json.dumps(line) + "\n" for line in lines))
    jobs = JobStore(EventLog(sample))
    arguments = {"requests": str(requests), "output": str(output), "model": "", "target": f"ray:{three.address}"}
    job = JobLauncher(sample).start(kind="batch", title="far", entry=CLUSTER_ENTRY, arguments=arguments)

    def answered() -> int:
        return output.read_bytes().count(b"\n") if output.exists() else 0

    def over() -> bool:
        return jobs.get(job.id).state.final

    wait_for(lambda: answered() > 0 or over(), 1800)
    assert answered() < ROWS, jobs.get(job.id).cause
    busy = [pid for caches, pid in three.nodes if list(caches.glob("llmops/ray/runs/*/shard.jsonl"))]
    kill_node(busy[0])
    wait_for(over, 2400)
    ended = jobs.get(job.id)
    assert ended.state == JobState.DONE, ended.cause
    told = [json.loads(line) for line in output.read_text().splitlines()]
    assert Counter(one["custom_id"] for one in told) == Counter(f"a{n}" for n in range(ROWS))
    assert {one["response"]["status_code"] for one in told} == {200}
    journal = [json.loads(line) for line in (jobs.folder(ended) / SHARDS).read_text().splitlines()]
    assert sum(one["rows"] for one in journal if one["what"] == "answered") == ROWS
    assert sum(one["what"] == "lost" for one in journal) == 1
    assert len({one["node"] for one in journal}) == 3
