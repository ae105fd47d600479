"""A run on a Ray cluster: three nodes on this machine, one of them killed."""

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

from llmops_tui.training.history import read_history
from llmops_tui.training.runs import Run, RunStore
from tests.training.test_kill import losses, small_recipe, store, wait
from tests.waiting import wait_for

__all__ = ["store"]

_TRIES = 5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
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


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    settings = {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(20).hex(), "RAY_USAGE_STATS_ENABLED": "0",
        # As Ray has it for a processor: sums come out the same on a node and here.
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    folder, process, told = _start()
    try:
        yield Nodes(told["address"], tuple((Path(node["caches"]), node["pid"]) for node in told["nodes"]))
    finally:
        process.communicate(timeout=120)
        shutil.rmtree(folder, ignore_errors=True)


def _start() -> tuple[Path, subprocess.Popen[str], dict[str, Any]]:
    """Ray gives a node 30 seconds to start, which a busy machine may need more often than once."""
    for _ in range(_TRIES):
        # Paths of sockets are short.
        folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.ray_nodes", str(folder), "2"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('{"address"'):
                return folder, process, json.loads(line)
        said = process.communicate()[1]
        shutil.rmtree(folder, ignore_errors=True)
    pytest.fail(f"Ray has not started: {said[-2000:]}")


def started(store: RunStore, name: str, **changes: Any) -> Run:
    """A run of eight short steps."""
    small = {
        "max_steps": 8, "quantization": {"type": "none", "compute": "float32"}, "evaluation": {"share": 0.0},
        "batch": {"size": 2, "accumulation": 1, "max_length": 128},
    }  # fmt: skip
    return store.start(small_recipe(name, **small, **changes), beside="target" not in changes)


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
