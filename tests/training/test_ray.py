"""A run and a search on a Ray cluster: three nodes on this machine, one of them killed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobStore
from llmops_tui.training.history import read_history
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.training.sweeps import ENTRY
from llmops_tui.workspace.event_log import EventLog
from tests.training.test_kill import losses, small_recipe, store, wait
from tests.waiting import wait_for

__all__ = ["store"]

_TRIES = 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"),
]


@dataclass(frozen=True)
class Nodes:
    """A cluster: its address, and the caches and the raylet of each node."""

    address: str
    nodes: tuple[tuple[Path, int], ...]

    def at_work(self) -> list[tuple[Path, int]]:
        """The nodes on which a run has a folder."""
        return [(caches, pid) for caches, pid in self.nodes if list(caches.glob("llmops/ray/runs/*/spec.json"))]

    @staticmethod
    def trial_at(caches: Path) -> str:
        """What is trained on a node now."""
        (spec,) = caches.glob("llmops/ray/runs/*/spec.json")
        return str(json.loads(spec.read_text())["recipe"]["name"])


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    yield from nodes_of(monkeypatch, 2)


def nodes_of(monkeypatch: pytest.MonkeyPatch, count: int) -> Iterator[Nodes]:
    """A cluster of so many nodes, which asks for a token, as long as it is needed."""
    settings = {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(20).hex(), "RAY_USAGE_STATS_ENABLED": "0",
        # As Ray has it for a processor: sums come out the same on a node and here.
        "OMP_NUM_THREADS": "1",
        # A busy machine is not one that is lost.
        "RAY_worker_register_timeout_seconds": "1200", "RAY_gcs_server_port_wait_time_s": "600",
        "RAY_health_check_failure_threshold": "100", "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600",
        "RAY_agent_register_timeout_ms": "1200000",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    folder, process, told = start_nodes(count)
    try:
        yield Nodes(told["address"], tuple((Path(node["caches"]), node["pid"]) for node in told["nodes"]))
    finally:
        process.communicate(timeout=120)
        shutil.rmtree(folder, ignore_errors=True)


def start_nodes(count: int = 2) -> tuple[Path, subprocess.Popen[str], dict[str, Any]]:
    """Other parts of Ray have times of their own to start in: a busy machine may need more than one try."""
    for _ in range(_TRIES):
        # Paths of sockets are short.
        folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.ray_nodes", str(folder), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('{"address"'):
                return folder, process, json.loads(line)
        said = process.communicate()[1]
        shutil.rmtree(folder, ignore_errors=True)
    pytest.fail(f"Ray has not started: {said[-2000:]}")


# Rows of a step that takes about a second: a run is to be killed between two of its checkpoints.
SMALL: dict[str, Any] = {
    "quantization": {"type": "none", "compute": "float32"}, "evaluation": {"share": 0.0},
    "batch": {"size": 16, "accumulation": 1, "max_length": 128},
}  # fmt: skip


def started(store: RunStore, name: str, **changes: Any) -> Run:
    """A run of eight short steps."""
    return store.start(small_recipe(name, **SMALL, max_steps=8, **changes), beside="target" not in changes)


def test_a_node_that_is_killed_is_another_ones_work(store: RunStore, cluster: Nodes) -> None:
    whole = started(store, "whole")
    assert wait(store, whole) == "done"
    run = started(store, "far", target=f"ray:{cluster.address}")
    wait_for(lambda: (run.folder / "checkpoints" / "checkpoint-4").is_dir(), 900)
    ((caches, pid),) = cluster.at_work()
    os.kill(pid, signal.SIGKILL)
    assert wait(store, run) == "done", store.state(run).as_dict()
    found, expected = losses(run.folder), losses(whole.folder)
    assert sorted(found) == sorted(expected)
    assert max(abs(found[step] - expected[step]) for step in expected) <= 1e-6
    history = read_history(run.folder)
    assert history.attempts == 2
    told = [event.message for event in history.events]
    assert sum("the node is lost" in one for one in told) == 1
    # The base lies on both nodes by its hash; of the run nothing is left on the one that ended it.
    other = next(each for each, _ in cluster.nodes if each != caches)
    assert {path.name for path in (other / "llmops/ray/files").glob("*") if path.is_file()} == {
        path.name for path in (caches / "llmops/ray/files").glob("*") if path.is_file()
    }
    assert list((other / "llmops/ray/runs").iterdir()) == []
    results = [store.get(each.name).result for each in (run, whole)]
    ends = [result["loss"] for result in results if result is not None]
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)
    assert store.registry.get(f"support-base+{run.name}")


def test_trials_of_a_search_are_trained_on_all_nodes_and_go_on_where_one_is_killed(
    store: RunStore, cluster: Nodes
) -> None:
    recipe = small_recipe("tiny", **SMALL, max_steps=6, target=f"ray:{cluster.address}")
    arguments: dict[str, Any] = {
        "recipe": recipe.model_dump(), "space": {"lora.rank": {"choices": [4, 8, 16]}}, "trials": 3, "sampler": "grid",
        "pruner": "none", "objectives": ["loss"],
    }  # fmt: skip
    jobs, launcher = JobStore(EventLog(store.workspace)), JobLauncher(store.workspace)
    job = launcher.start(kind="sweep", title="sweep tiny", entry=ENTRY, arguments=arguments)
    trials = store.workspace.runs / job.id / "trials"

    def under_way() -> list[int]:
        assert not (ended := jobs.get(job.id)).state.final, ended.cause
        return [number for number in (0, 1) if (trials / f"{number}/checkpoints/checkpoint-2").is_dir()]

    wait_for(lambda: bool(under_way()), 2400)
    number = under_way()[0]
    (pid,) = [pid for caches, pid in cluster.at_work() if cluster.trial_at(caches) == f"trial-{number}"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: jobs.get(job.id).state.final, 2400)
    found = jobs.get(job.id)
    assert found.state.value == "done", found.cause
    result: Any = found.result
    assert [(row["state"], row["lora.rank"] in {4, 8, 16}) for row in result["trials"]] == [("complete", True)] * 3
    lost = {row["trial"]: row for row in result["trials"] if "its node was lost" in row["why"]}
    # The other node's trial was under way, too, and is lost to nobody.
    assert list(lost) == [number]
    history = read_history(trials / str(number))
    assert history.attempts == 2
    assert all(list((caches / "llmops/ray/files").iterdir()) for caches, _ in cluster.nodes)
    # The same settings trained here, in one piece.
    whole = store.start(
        small_recipe("whole", **SMALL, max_steps=6, lora={"rank": lost[number]["lora.rank"], "dropout": 0.1}),
        beside=True,
    )
    assert wait(store, whole) == "done"
    expected = losses(whole.folder)
    assert {step: pytest.approx(loss, abs=1e-6) for step, loss in expected.items()} == history.series["loss"]
    assert lost[number]["loss"] == pytest.approx(expected[6], abs=1e-6)
