"""A file of requests answered on nodes that are played here: who dies costs a shard, and each line is answered once."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.batch.job import open_requests
from llmops_tui.inference.filed.output import OutputLog, output_line
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.worker.cluster_batch import SHARDS, ClusterBatch, shards_of
from llmops_tui.training.worker.node_facts import code_sha256
from llmops_tui.training.worker.ray_cluster import NodeLostError
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL

ROWS = 20


class Context:
    """A job's context; ``cancel`` asks it to stop."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder, self.job_id = workspace, folder, "job_1"
        self.shares: list[float] = []
        self.cancel = False

    def report(self, share: float, _message: str = "") -> None:
        if self.cancel:
            raise JobCancelledError
        self.shares.append(share)


class Played:
    """A node: dies at the shards that its cluster says, and answers the others."""

    def __init__(self, cluster: Cluster, check: Callable[[], None]) -> None:
        self._cluster, self._check = cluster, check
        self._files: dict[str, str] = {}

    def ask(self, method: str, *arguments: Any, seconds: float | None = None) -> Any:
        del seconds
        self._check()
        if method == "missing":
            return list(arguments[0])
        if method == "lay":
            self._files = arguments[0]
        if method == "open":
            assert set(arguments[0].values()) == set(self._files)
            self._cluster.opened.append((arguments[0], arguments[1]["trace_content"], arguments[2]))
        return self._answer(arguments[0]) if method == "answer" else True

    def _answer(self, shard: bytes) -> Any:
        names = [json.loads(line)["custom_id"] for line in shard.splitlines()]
        with self._cluster.lock:
            self._cluster.asked += 1
            number = self._cluster.asked
            self._cluster.seen.update(names)
            times = self._cluster.seen[names[0]]
        if self._cluster.dies(names[0], times, number):
            raise NodeLostError("the node died")
        body = {"id": "run_1", "choices": []}
        lines = [output_line(name, {"status_code": 200, "request_id": f"run_{name}", "body": body}) for name in names]
        # A node may say more than it was asked.
        lines += [*lines[:1], output_line("of nobody", None)]
        events = [("request", f"run_{name}", json.dumps({"model": "m", "started_at": 1.0})) for name in names]
        return {"lines": lines, "events": events}

    def drop(self) -> None:
        self._cluster.dropped += 1


class Cluster:
    """Three places; ``dies`` is asked by a shard's first line, how often that was asked, and how many shards were."""

    def __init__(self, dies: Callable[[str, int, int], bool] = lambda *_: False, code: str = "") -> None:
        self.dies, self.code = dies, code or code_sha256()
        self.lock = threading.Lock()
        self.asked = self.dropped = 0
        self.seen: Counter[str] = Counter()
        self.opened: list[Any] = []

    def node(self, _attempt: str, check: Callable[[], None], _kind: Any = None) -> Played:
        return Played(self, check)

    def places(self) -> int:
        return 3

    def look(self) -> list[Any]:
        return [{"host": "far", "code": self.code}]


@pytest.fixture
def requests(workspace: Workspace, tmp_path: Path) -> Path:
    ModelRegistry(Catalog(workspace)).add(MODEL, "m")
    path = tmp_path / "requests.jsonl"
    body = {"model": "m", "prompt": "Hi", "max_tokens": 1}
    lines = [{"custom_id": f"a{n}", "method": "POST", "url": "/v1/completions", "body": body} for n in range(ROWS)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def answered(workspace: Workspace, requests: Path, cluster: Cluster, folder: Path, **more: Any) -> OutputLog:
    file = open_requests(workspace, requests)
    folder.mkdir(exist_ok=True)
    log = OutputLog(folder / "answers.jsonl")
    context: Any = Context(workspace, folder)
    context.cancel = more.get("cancel", False)
    try:
        ClusterBatch(cluster, context, file, file.check(), log, rows=4).run()  # type: ignore[arg-type]
    finally:
        log.close()
    return log


def test_a_node_that_dies_costs_its_shard_and_each_line_is_answered_once(
    workspace: Workspace, requests: Path, tmp_path: Path
) -> None:
    cluster = Cluster(lambda name, times, _number: name in {"a4", "a12"} and times == 1)
    log = answered(workspace, requests, cluster, tmp_path / "job")
    lines = [json.loads(line) for line in (tmp_path / "job" / "answers.jsonl").read_text().splitlines()]
    assert Counter(line["custom_id"] for line in lines) == Counter(f"a{n}" for n in range(ROWS))
    assert not any(log.done.values())
    # Asked twice: the shards of the two that died, and nothing else.
    assert Counter(cluster.seen.values()) == {2: 8, 1: ROWS - 8}
    journal = [json.loads(line) for line in (tmp_path / "job" / SHARDS).read_text().splitlines()]
    assert Counter(one["what"] for one in journal) == {"answered": 5, "lost": 2}
    by_shard = Counter(one["shard"] for one in journal)
    assert {one["shard"] for one in journal if one["what"] == "lost"} <= {key for key, n in by_shard.items() if n > 1}
    assert cluster.opened[0] == ({"m": "models/m.gguf"}, "keep", "job_1")
    # Traces are of this workspace, whoever answered.
    assert EventLog(workspace).waiting() == ROWS
    # Whoever goes on asks nothing that is answered.
    again = Cluster()
    assert len(answered(workspace, requests, again, tmp_path / "job").done) == ROWS
    assert again.asked == 0


def test_what_cannot_go_on_says_why_and_goes_on_from_there(
    workspace: Workspace, requests: Path, tmp_path: Path
) -> None:
    with pytest.raises(LlmopsError, match="in a row were lost without a new answer; the node died"):
        answered(workspace, requests, Cluster(lambda *asked: asked[2] > 1), tmp_path / "job")
    assert len((tmp_path / "job" / "answers.jsonl").read_text().splitlines()) == 4
    with pytest.raises(LlmopsError, match="another llmops"):
        answered(workspace, requests, Cluster(code="other"), tmp_path / "job")
    with pytest.raises(JobCancelledError):
        answered(workspace, requests, Cluster(), tmp_path / "other", cancel=True)
    rest = Cluster()
    assert len(answered(workspace, requests, rest, tmp_path / "job").done) == ROWS
    assert sum(rest.seen.values()) == ROWS - 4


def test_a_shard_is_called_after_what_it_says(workspace: Workspace, requests: Path) -> None:
    file = open_requests(workspace, requests)
    lines = file.check().lines
    first, second = (list(shards_of(file, lines, 8)) for _ in range(2))
    assert [shard.sha256 for shard in first] == [shard.sha256 for shard in second]
    assert [len(shard.names) for shard in first] == [8, 8, 4]
    assert len({shard.sha256 for shard in first}) == 3
