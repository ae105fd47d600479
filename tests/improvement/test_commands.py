"""The commands: what they refuse and list, and, slow, a whole improvement through them, killed and looked at again."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_tui.improvement.call_log import FILE
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.improvement.scripted_model import PLANTED, ScriptedModel, rows
from tests.waiting import wait_for

DOCS = Path(__file__).parents[2] / "docs" / "improving.md"


def test_candidates_are_promoted_and_what_is_not_there_is_refused(catalog: Catalog, workspace: Workspace) -> None:
    llmops, store = Llmops(workspace), PromptStore(catalog)
    store.save("p", template="first {{ x }}")
    store.save("p", template="second {{ x }}", candidate_of="job_1")
    assert llmops.run("prompt", "improvements") == {"improvements": [], "total": 0}
    assert [v["version"] for v in llmops.run("prompt", "log", "p")["versions"]] == [1]
    assert llmops.run("prompt", "show", "p@2")["candidate_of"] == "job_1"
    made = llmops.run("prompt", "promote", "p@2", "--label", "production")
    assert (made["version"], made["labels"]) == (2, ["production"])
    assert [v["version"] for v in llmops.run("prompt", "log", "p")["versions"]] == [2, 1]
    llmops.run("prompt", "promote", "p@1", code=3)
    llmops.run("prompt", "improvement", "job_9", code=3)
    llmops.run("prompt", "improve", "p", "--model", "m", code=2)
    llmops.run("prompt", "improve", "p", "--data", "d", "--suite", "s", code=2)


@pytest.fixture
def ready(catalog: Catalog, workspace: Workspace, scripted: ScriptedModel, tmp_path: Path) -> Iterator[Llmops]:
    """A workspace as the page of the documentation has it: rows ``colours``, the prompt ``colour``, the model ``small``."""
    llmops = Llmops(workspace)
    path = tmp_path / "colours.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(300)))
    llmops.run("model", "add", scripted.url.removesuffix("/v1"), "--name", "small")
    llmops.run("data", "import", str(path), "--name", "colours")
    llmops.run("prompt", "save", "colour", "--text", "Which colour is it?\n{{ text }}")
    return llmops


@pytest.mark.slow
def test_the_pages_example_finds_and_confirms_a_planted_instruction(ready: Llmops, scripted: ScriptedModel) -> None:
    scripted.proposals = ["Be good.", "Answer.", f"It is {' '.join(rows(4)[3]['text'].split()[:6])}.", PLANTED]
    text = DOCS.read_text(encoding="utf-8")
    line = re.search(r"^llmops (prompt improve colour .*)$", text, re.MULTILINE)
    assert line is not None
    command = shlex.split(line.group(1))
    estimate = ready.run(*command, "--dry-run")
    assert estimate["rows"] == {"reflect": 60, "select": 120, "sealed": 120}
    # Nobody is there to be asked.
    ready.run(*command, code=2)
    found = ready.run(*command, "--yes")
    sealed = found["sealed"]
    assert sealed["verdict"] == "better"
    assert sealed["low"] > 0
    assert sealed["n"] == 120
    assert found["taken"]["calls"] <= estimate["calls"]
    assert any("copies row" in one["why"] for one in found["refused"])
    # What the page shows is what comes of it.
    shown = " ".join(line.removeprefix("> ") for line in text.splitlines() if line.startswith("> "))
    assert found["verdict"] == shown
    best = f"colour@{sealed['version']}"
    assert PLANTED in ready.run("prompt", "show", best)["template"]
    behind = ready.run("prompt", "improvement", found["improvement"], "--rows", "--limit", "500")
    assert behind["total"] == 120
    assert sum(row["candidate_score"] > row["seed_score"] for row in behind["rows"]) == sealed["wins"]
    # The sealed rows were looked at: another run is refused them, and asking again widens the interval.
    ready.run(*command, "--yes", code=3)
    again = ready.run(*command, "--yes", "--look-again")
    assert again["sealed"]["look"] == 2
    # All looks together err in 5 % at the most: 4 % are the first one's, and a fifth of that the second's.
    assert again["sealed"]["level"] == pytest.approx(0.992)
    assert "look 2" in again["verdict"]
    listed = ready.run("prompt", "improvements", "colour")["improvements"]
    assert [one["looked"]["look"] for one in listed] == [2, 1]
    assert ready.run("prompt", "promote", best)["version"] == sealed["version"]


@pytest.mark.slow
def test_killed_and_resumed_it_asks_nothing_twice(ready: Llmops, scripted: ScriptedModel) -> None:
    asked = ["prompt", "improve", "colour", "--data", "colours", "--metric", "exact", "--expected", "label"]
    asked += ["--model", "small", "--turns", "6", "--yes", "--detach"]
    job = ready.run(*asked)["job"]
    jobs = JobLauncher(ready.workspace)
    log = jobs.store.folder(jobs.store.get(job)) / FILE
    wait_for(lambda: log.exists() and log.read_bytes().count(b"\n") >= 60)
    process = jobs.store.get(job).process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: jobs.store.get(job).state.final)
    resumed = ready.run("job", "resume", job)["job"]
    wait_for(lambda: jobs.store.get(resumed).state.final, 600)
    done = jobs.store.get(resumed)
    assert done.state.value == "done", done.cause
    assert done.result is not None
    assert done.result["improvement"] == job
    # So many at once were on their way.
    assert len(scripted.asked) - len(set(scripted.asked)) <= 32
    (listed,) = ready.run("prompt", "improvements")["improvements"]
    assert listed["state"] == "done"
