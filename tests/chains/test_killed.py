"""Runs on the sample's model: the example of the documentation, and a chain of four steps that is killed at each."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from llmops_tui.chains.runs import get_run
from llmops_tui.chains.spans import read_spans
from llmops_tui.chains.store import ChainStore
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.waiting import wait_for

FOUR = """inputs: {message: text}
model: support-base
steps:
  first: {prompt: support, with: {question: message}, parameters: {max_tokens: 24, temperature: 0.9, seed: 5}}
  second: {prompt: support, with: {question: first}, parameters: {max_tokens: 24, temperature: 0.9, seed: 6}}
  third: {prompt: support, with: {question: second}, parameters: {max_tokens: 24, temperature: 0.9, seed: 7}}
  fourth: {prompt: support, with: {question: third}, parameters: {max_tokens: 24, temperature: 0.9, seed: 8}}
"""
STEPS = ["first", "second", "third", "fourth"]


def _started(workspace: Workspace, llmops: Llmops) -> tuple[str, Path]:
    job = llmops.run("chain", "run", "four", "-i", "message=Where is my kettle?", "--fresh", "--detach")["job"]
    return job, get_run(JobStore(EventLog(workspace)), job).folder


def _workers(workspace: Workspace, job: str) -> list[psutil.Process]:
    """The processes that do the job; none before its supervisor has started them."""
    started = JobStore(EventLog(workspace)).get(job).process
    if started is None:
        return []
    try:
        supervisor = psutil.Process(started.pid)
        found = [supervisor, *supervisor.children(recursive=True)]
        return [process for process in found if "llmops_tui.jobs.worker" in process.cmdline()]
    except psutil.NoSuchProcess:
        return []


def _kill(workspace: Workspace, job: str) -> None:
    """End the worker, as the system does when memory is short; its supervisor records that."""
    wait_for(lambda: bool(_workers(workspace, job)))
    for process in _workers(workspace, job):
        os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: JobStore(EventLog(workspace)).get(job).state.final)


@pytest.mark.slow
@pytest.mark.parametrize("step", range(4))
def test_a_chain_of_four_steps_killed_at_each_goes_on_from_there(sample: Workspace, step: int) -> None:
    llmops = Llmops(sample)
    ChainStore(Catalog(sample)).save("four", FOUR)
    whole = llmops.run("chain", "run", "four", "-i", "message=Where is my kettle?")
    job, folder = _started(sample, llmops)
    # Killed when so many steps are noted: while the next one is asked.
    wait_for(lambda: len(read_spans(folder)) >= step)
    _kill(sample, job)
    before = [span["started_at"] for span in read_spans(folder)]
    launcher = JobLauncher(sample)
    resumed = launcher.resume(job)
    wait_for(lambda: launcher.store.get(resumed.id).state.final)
    ended = launcher.store.get(resumed.id)
    assert ended.result is not None, ended.cause
    assert ended.result["output"] == whole["output"]
    spans = read_spans(folder)
    assert [span["path"] for span in spans] == STEPS
    # What was noted was not done again.
    assert [span["started_at"] for span in spans][: len(before)] == before
    assert ended.result["requests"] == 4 - len(before)


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(sample: Workspace) -> None:
    llmops = Llmops(sample)
    assert llmops.run("chain", "check", "desk")["problems"] == []
    ran = llmops.run("chain", "run", "desk", "-i", "message=Where is my kettle?")
    assert ran["requests"] == 2
    assert isinstance(ran["output"], str)
    steps = llmops.run("chain", "steps", "last")["steps"]
    assert [one["kind"] for one in steps] == ["prompt", "parse", "branch", "prompt"]
    assert all(one["state"] == "done" for one in steps)
    run = llmops.run("chain", "runs")["runs"][0]["run"]
    again = llmops.run("chain", "again", run, "--from", "triage", "--set", "triage.parse=sorted")
    assert (again["output"], again["requests"]) == (ran["output"], 1)
    assert again["cached"] == 1
    rows = llmops.run(
        "chain", "run", "desk", "--dataset", "triage-test", "--column", "message=messages[1].content", "--limit", "5"
    )
    assert (rows["rows"], rows["failed"]) == (5, 0)
    suite = sample.folder / "suite.yaml"
    suite.write_text('{"cases": [{"message": "Where is my kettle?", "expected": "x"}], "metrics": ["exact"]}')
    found = llmops.run("eval", "run", str(suite), "--model", "support-base", "--prompt", "chain/desk")
    assert found["manifest"]["prompt"] == ["chain/desk@1", "triage@3", "support@2"]
    assert (found["errors"], found["manifest"]["chain_parts"].keys()) == (0, {"model support-base"})
