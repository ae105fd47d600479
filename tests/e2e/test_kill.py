from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmops_tui.prompts.drafts import Drafts
from llmops_tui.prompts.run_history import RunHistory
from llmops_tui.prompts.store import PromptStore, content_hash
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.notices import read_notices
from tests.e2e.conftest import OpenTerminal
from tests.fakes import FakeModelServer

ROUNDS = 50
# As many as tell each time that all is well; the others are of the slow tests.
FEW = 3

# What the app does for each run, without drawing: render, save the version, stream, record, keep the draft, fold.
BUSY_APP = """
import asyncio, json, sys
from pathlib import Path
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.drafts import Draft, Drafts
from llmops_tui.prompts.run_history import RunHistory
from llmops_tui.prompts.runs import PromptRunner, RunRequest
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

workspace = Workspace(Path(sys.argv[1]))
round_ = sys.argv[2]
catalog, event_log = Catalog(workspace), EventLog(workspace)
runner = PromptRunner(catalog, event_log, TemplateRenderer())
drafts, history = Drafts(event_log), RunHistory(catalog, event_log)
model = ModelRegistry(catalog).get("support-base")

def acknowledge(**facts):
    print(json.dumps(facts), flush=True)

async def main():
    number = 0
    while True:
        number += 1
        text = f"round {round_} number {number}"
        drafts.save("busy", Draft(template=text))
        acknowledge(draft=text)
        request = RunRequest("busy", "system", text, {}, SamplingParameters())
        async for step in runner.run(request, model):
            if step.stage == "saved":
                acknowledge(version=step.version.number, sha256=step.version.sha256)
            elif step.stage == "finished":
                acknowledge(run=step.run_id)
        if number % 3 == 0:
            history.of("busy")

asyncio.run(main())
"""


@pytest.mark.parametrize("rounds", [FEW, pytest.param(ROUNDS, marks=pytest.mark.slow)])
def test_kills_lose_nothing_that_was_acknowledged(
    sample: Workspace, found_server: FakeModelServer, rounds: int
) -> None:
    rng = random.Random(11)
    acknowledged: list[dict[str, object]] = []
    for round_ in range(rounds):
        app = subprocess.Popen(
            [sys.executable, "-c", BUSY_APP, str(sample.root), str(round_)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert app.stdout is not None
        # After some acknowledgements, however long they take, it is killed at a random moment, in the middle of whatever it does.
        lines = [app.stdout.readline() for _ in range(rng.randint(1, 6))]
        timer = threading.Timer(rng.uniform(0, 0.3), app.send_signal, (signal.SIGKILL,))
        timer.start()
        lines += app.stdout.readlines()
        timer.join()
        assert app.wait() == -signal.SIGKILL
        acknowledged += [json.loads(line) for line in lines if line.endswith(b"\n")]
        last_draft = [a["draft"] for a in acknowledged if "draft" in a][-1]
        draft = Drafts(EventLog(sample)).load("busy")
        assert draft is not None
        assert draft.template == last_draft or draft.template == next_text(str(last_draft))
    versions = PromptStore(Catalog(sample)).versions("busy")
    by_number = {v.number: v for v in versions}
    assert sorted(by_number) == list(range(1, len(versions) + 1))
    for version in versions:
        assert version.sha256 == content_hash(version.system, version.template)
        assert version.parent == (version.number - 1 or None)
    for fact in acknowledged:
        if "version" in fact:
            assert by_number[int(str(fact["version"]))].sha256 == fact["sha256"]
    runs = RunHistory(Catalog(sample), EventLog(sample)).of("busy", limit=100_000)
    ids = [run.id for run in runs]
    assert len(ids) == len(set(ids))
    assert {a["run"] for a in acknowledged if "run" in a} <= set(ids)
    assert all(run.output == "Hello world." for run in runs if run.finish_reason == "stop")
    assert read_notices(sample) == []
    assert len(acknowledged) > 2 * rounds


def next_text(text: str) -> str:
    head, _, number = text.rpartition(" ")
    return f"{head} {int(number) + 1}"


@pytest.mark.slow
def test_fifty_kills_of_the_drawing_app_lose_nothing_it_ran(
    terminal: OpenTerminal, sample: Workspace, found_server: FakeModelServer
) -> None:
    rng = random.Random(12)
    for round_ in range(ROUNDS):
        app = terminal()
        app.wait("Versions")
        app.wait("support-base Q8_0")
        typed = 0
        timer = threading.Timer(rng.uniform(0.3, 2.5), app.child.kill, (signal.SIGKILL,))
        timer.start()
        while app.pump(0.01):
            if app.child.isalive() and typed < 40:
                app.child.send(f"r{round_}n{typed} ")
                app.child.send("\x12")
                typed += 1
        timer.join()
        app.close()
        store = PromptStore(Catalog(sample))
        texts = {v.template for v in store.versions("support")}
        # A version is durable before the model is asked; what the model was asked is known here.
        for request in found_server.requests:
            version = store.get(f"support@{request['metadata']['prompt_version']}")
            asked = version.template.replace("{{ question }}", request["metadata"]["variables"]["question"])
            assert request["messages"][-1]["content"] == asked
        draft = Drafts(EventLog(sample)).load("support")
        assert draft is not None
        assert draft.template
        assert texts
    assert len(found_server.requests) > ROUNDS // 2
    history = RunHistory(Catalog(sample), EventLog(sample)).of("support", limit=100_000)
    finished = {r.id for r in history}
    assert {r["metadata"]["run_id"] for r in found_server.requests} <= finished
    assert Path(sample.catalog).exists()
