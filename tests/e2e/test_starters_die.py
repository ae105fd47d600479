"""Whoever starts a run is killed at random points on the way: every run is found whole, or told lost with the cause."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import Any

import pytest

from llmops_tui.evaluation.run import EvalState
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.jobs.store import NEVER_BEGAN, Job, JobStore
from llmops_tui.training.runs import RunState, RunStore
from llmops_tui.workspace.layout import Workspace
from tests.waiting import wait_for

KILLS = 24

# Starts a run in a child of its own and kills that at its N-th line of our code; without an N it tells how many there are.
# A training job gets work that ends at once and badly, so that none has to load torch.
STARTER = """
import json, os, signal, sys
from pathlib import Path
import duckdb, sqlite_utils
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.run import Asked
from llmops_tui.training import runs
from llmops_tui.training.recipe import check
from llmops_tui.workspace.layout import Workspace

runs.ENTRY = "llmops_tui.models.tasks:verify"
workspace = Workspace(Path(sys.argv[1]))
kind, recipe = sys.argv[2], json.loads(sys.argv[3])

def start():
    if kind == "train":
        runs.RunStore(workspace).start(check(recipe))
    else:
        store = EvaluationStore(workspace)
        store.start(store.suite("tiny"), [Asked("triage@1", "support-base", sampling) for sampling in ({"seed": 1}, {"seed": 2})])

def traced(limit, seen):
    def inspect(frame, event, argument):
        if "llmops_tui" not in frame.f_code.co_filename:
            return None
        if event == "line":
            seen[0] += 1
            if seen[0] == limit:
                os.kill(os.getpid(), signal.SIGKILL)
        return inspect
    return inspect

for line in sys.stdin:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        seen = [0]
        sys.settrace(traced(int(line), seen))
        start()
        sys.settrace(None)
        os.write(writer, str(seen[0]).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    print(os.read(reader, 100).decode() if status == 0 else -os.waitstatus_to_exitcode(status), flush=True)
    os.close(reader)
"""

RECIPE = {"name": "tiny", "base": "support-base-hf", "data": ["triage"], "trackers": []}
SUITE: dict[str, Any] = {
    "cases": [{"vars": {"message": "hi"}, "expected": "a"}], "prompt": "triage", "metrics": ["exact"], "parameters": {"max_tokens": 1},
}  # fmt: skip


class Starter:
    """A process that starts runs and dies of it."""

    def __init__(self, workspace: Workspace, kind: str) -> None:
        arguments = [str(workspace.root), kind, json.dumps(RECIPE)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", STARTER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, dies_at: int) -> int:
        """The number of lines where it lived, the signal where it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{dies_at}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def campaign(workspace: Workspace, kind: str) -> None:
    """Start once to the end, and then many times, each killed somewhere on the way."""
    starter = Starter(workspace, kind)
    try:
        lines = starter.start(-1)
        chosen = random.Random(14)
        # The last lines, after the process was started, are as many as those before: half of the kills go there.
        for number in range(KILLS):
            first = 1 if number % 2 else lines // 2
            assert starter.start(chosen.randint(first, lines)) == 9
    finally:
        starter.close()


def ended(jobs: JobStore) -> list[Job]:
    wait_for(lambda: all(job.state.final for job in jobs.all()), 300)
    return jobs.all()


def check_found(states: list[RunState] | list[EvalState], jobs: list[Job]) -> None:
    """Each run has its job, or is lost and says why; no job is without its run."""
    known = {state.run.job for state in states}
    assert "" not in known
    assert {job.id for job in jobs} <= known
    for state in states:
        assert state.state != "starting"
        if state.job is None or state.state == "lost":
            assert (state.state, state.cause) == ("lost", NEVER_BEGAN)
        else:
            assert state.job.id == state.run.job


@pytest.mark.slow
def test_training_runs_whose_starter_dies(sample: Workspace) -> None:
    campaign(sample, "train")
    store = RunStore(sample)
    jobs = ended(store.jobs)
    states = store.states(store.all())
    check_found(states, jobs)
    words = [state.state for state in states]
    assert words.count("lost") > 0
    assert words.count("failed") > 1
    for state in states:
        if state.state == "failed":
            assert "run_name" in state.cause
            assert (state.run.folder / "output.log").exists()
    assert len({state.run.name for state in states}) == len(states)


@pytest.mark.slow
def test_evaluations_whose_starter_dies_are_whole_or_can_be_started_again(sample: Workspace) -> None:
    from llmops_tui.evaluation.suite import check_suite

    store = EvaluationStore(sample)
    store.save_suite(check_suite(SUITE, "tiny"))
    campaign(sample, "eval")
    jobs = ended(store.jobs)
    states = store.states(store.all())
    check_found(states, jobs)
    # One job has both runs of a start.
    assert len(states) % 2 == 0
    done = [state for state in states if state.state == "done"]
    lost = [state for state in states if state.state == "lost"]
    assert len(done) + len(lost) == len(states)
    assert done
    assert lost
    for state in done:
        assert state.run.results.exists()
    for job_id in {state.run.job for state in lost}:
        store.resume(next(s.run.name for s in lost if s.run.job == job_id))
    ended(store.jobs)
    assert {state.state for state in store.states(store.all())} == {"done"}
