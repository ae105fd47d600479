"""The job with a real model, killed in the middle: each row is written once. Through the command line."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.synthesis.attempts import AttemptLog
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.waiting import wait_for

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 12}, "urgent": {"type": "boolean"}},
    "required": ["text", "urgent"],
    "additionalProperties": False,
}


@pytest.mark.slow
def test_killed_and_resumed_each_row_is_written_once(sample: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(sample)
    model = next(m.name for m in ModelRegistry(Catalog(sample)).all() if m.kind == "gguf")
    schema, topics = tmp_path / "row.json", tmp_path / "topics.yaml"
    schema.write_text(json.dumps(SCHEMA))
    topics.write_text("- Cards\n- topic: Loans\n  rows: 2\n")
    asked = ["data", "synthesise", "made", "--model", model, "--schema", str(schema), "--topics", str(topics)]
    asked += ["--rows", "60", "--max-tokens", "64", "--temperature", "1.5"]
    budget = llmops.run(*asked, "--dry-run")
    assert budget["calls"] == budget["rows"] == 60
    assert budget["completion_tokens"] <= budget["most_completion_tokens"] == 60 * 64
    # Nobody is there to be asked.
    llmops.run(*asked, code=2)
    job = llmops.run(*asked, "--yes", "--detach")["job"]
    jobs = JobLauncher(sample)
    log = jobs.store.folder(jobs.store.get(job)) / "attempts.jsonl"
    wait_for(lambda: log.exists() and log.read_bytes().count(b"\n") >= 5)
    process = jobs.store.get(job).process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: jobs.store.get(job).state.final)
    there = len(AttemptLog(log).attempts)
    resumed = llmops.run("job", "resume", job)["job"]
    wait_for(lambda: jobs.store.get(resumed).state.final, 600)
    done = jobs.store.get(resumed)
    assert done.state.value == "done", done.cause
    assert done.result is not None
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert sorted(facts["task"] for _, facts in lines) == list(range(60))
    assert there < 60
    assert done.result["rows"] + done.result["rejected"] == done.result["funnel"]["asked"] == 60
    store = DatasetStore(Catalog(sample))
    assert len(store.log("made")) == 1
    rows = [row for batch in store.get("made").read() for _, row in batch]
    assert {row["synthetic"]["topic"] for row in rows} <= {"Cards", "Loans"}
    assert all(isinstance(row["urgent"], bool) for row in rows)
    (shown,) = llmops.run("data", "origins", "made")["versions"]
    assert shown["model"] == len(rows)
