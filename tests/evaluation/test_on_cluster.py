"""Answers of an evaluation made on nodes that are played here: each once, kept as any answer; what cannot go is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.run import Asked
from llmops_tui.evaluation.runner import on_cluster
from llmops_tui.evaluation.runner.on_cluster import have_answered, refuse_elsewhere
from llmops_tui.evaluation.runner.rendering import CHAT
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.asking.asker import Request
from llmops_tui.inference.filed.output import output_line
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.worker import cluster_batch
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL


class Kept:
    """What of an asker is needed: a cache, and keys."""

    def __init__(self) -> None:
        self.cache, self.kept = self, dict[str, Any]()

    def identity(self, model: str) -> dict[str, str]:
        return {"model": model}

    def key(self, _identity: Any, _path: str, sampled: Any) -> str:
        return str(sampled["messages"][0]["content"])

    def take(self, _name: str, _request: Request, sampled: Any, reply: Any) -> None:
        self.kept[self.key({}, "", sampled)] = reply["choices"]

    def find(self, keys: Any) -> dict[str, Any]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    def flush(self) -> None: ...


class Batch:
    """A cluster that answers all but what its name says, or dies after the first."""

    dies = False
    asked: list[list[str]] = []  # noqa: RUF012  looked at by the test

    def __init__(self, cluster: Any, _context: Any, file: Any, checked: Any, log: Any) -> None:
        assert cluster == "the cluster ray:auto"
        self._file, self._lines, self._log = file, checked.lines, log

    def run(self) -> None:
        self.asked.append([line.custom_id for line in self._lines])
        for line, body in self._file.bodies(self._lines):
            assert (body["model"], body["temperature"]) == ("m", 0.0)
            status = 400 if line.custom_id == "refused" else 200
            self._log.add(
                output_line(
                    line.custom_id, {"status_code": status, "request_id": "r", "body": {"choices": [line.custom_id]}}
                )
            )
            if self.dies:
                raise RuntimeError("killed")


@contextlib.contextmanager
def connected(target: str) -> Iterator[Any]:
    yield f"the cluster {target}"


def test_nodes_answer_what_is_not_known_and_each_once(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ModelRegistry(Catalog(workspace)).add(MODEL, "m")
    monkeypatch.setattr(cluster_batch, "ClusterBatch", Batch)
    context: Any = type("Context", (), {"workspace": workspace, "folder": tmp_path})()
    run: Any = type("Run", (), {"name": "kind-1", "suite": "kind", "asked": Asked("", "m")})()
    asker: Any = Kept()
    asker.kept["known"] = ["before"]
    requests = []
    for text in ("known", "a", "b", "refused", "a"):
        body = {"messages": [{"role": "user", "content": text}]}
        requests.append((Request(CHAT, body, SamplingParameters(temperature=0)), CHAT, body))
    Batch.dies, Batch.asked = True, []
    with pytest.raises(RuntimeError):
        have_answered(context, run, "ray:auto", asker, requests, connected)
    # What was brought here before the job died is not asked again, also where the line after it was cut.
    with (tmp_path / "kind-1.answers.jsonl").open("a") as file:
        file.write('{"id": "half')
    Batch.dies = False
    have_answered(context, run, "ray:auto", asker, requests, connected)
    assert Batch.asked == [["a", "b", "refused"], ["b", "refused"]]
    # A request that was refused there has no answer, and is asked here.
    assert asker.kept == {"known": ["before"], "a": ["a"], "b": ["b"]}
    sent = json.loads((tmp_path / "kind-1.requests.jsonl").read_text().splitlines()[0])
    assert (sent["url"], sent["body"]["messages"][0]["content"]) == (CHAT, "b")
    with pytest.raises(InputRefusedError, match="several turns"):
        have_answered(context, run, "ray:auto", asker, None, connected)
    assert on_cluster.on_ray is not connected


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"metrics": [{"type": "choice"}]}, "choice scores given texts"),
        ({"chain": [{"prompt": "p", "save": "x"}, {"prompt": "q", "save": "y"}]}, "its chain asks for each step"),
        ({"until": {"metric": "exact", "half_width": 0.1}}, "ends as soon as exact"),
        ({}, ""),
    ],
)
def test_what_nodes_cannot_answer_is_refused_by_name(workspace: Workspace, body: dict[str, Any], told: str) -> None:
    registry = ModelRegistry(Catalog(workspace))
    registry.add(MODEL, "m")
    registry.add_remote("http://127.0.0.1:9/v1", "far", {"remote_model": "x", "lacks": {}})
    suite = check_suite(
        {"cases": [{"q": "a", "expected": "b", "choices": ["b", "c"]}], "metrics": ["exact"], **body}, "s"
    )
    if not told:
        refuse_elsewhere(suite, [Asked("", "m")], registry)
        with pytest.raises(InputRefusedError, match="far is no GGUF model"):
            refuse_elsewhere(suite, [Asked("", "far")], registry)
        with pytest.raises(InputRefusedError, match="chain/faq@1 asks for each step"):
            refuse_elsewhere(suite, [Asked("chain/faq@1", "m")], registry)
        return
    with pytest.raises(InputRefusedError, match=told):
        refuse_elsewhere(suite, [Asked("", "m")], registry)
