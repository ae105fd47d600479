"""An experiment with real models behind the one address, whose process is killed in the middle of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.supervisor import ALL_MODELS, ServerSupervisor
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.router.test_served import client_of, start
from tests.waiting import wait_for

pytestmark = pytest.mark.slow
QUESTIONS = [f"When are you open on day {k}?" for k in range(8)]


@pytest.fixture
def supervisor(sample: Workspace) -> Iterator[ServerSupervisor]:
    found = ServerSupervisor(sample)
    yield found
    found.stop(ALL_MODELS)


def ask(client: httpx.Client, question: str) -> str:
    body = {"model": "support-base", "messages": [{"role": "user", "content": question}], "max_tokens": 4}
    answered = client.post("/v1/chat/completions", json=body)
    assert answered.status_code == 200, answered.text
    return str(answered.json()["model"])


def test_whoever_is_killed_has_changed_no_assignment(sample: Workspace, supervisor: ServerSupervisor) -> None:
    llmops = Llmops(sample)
    made = llmops.run("experiment", "start", "support-base", "--b", "support-base-q4")
    store = ExperimentStore(EventLog(sample))
    router = start(supervisor)
    with client_of(router) as client:
        before = {question: ask(client, question) for question in QUESTIONS}
        assert set(before.values()) == {"support-base", "support-base-q4"}
        counts = store.counts(made["experiment"])
        os.kill(router.process.pid, signal.SIGKILL)
    wait_for(lambda: supervisor.find(ALL_MODELS) is None)
    with client_of(start(supervisor)) as client:
        assert {question: ask(client, question) for question in QUESTIONS} == before
    assert store.counts(made["experiment"]) == counts
    rows = EventLog(sample).connection().execute("SELECT body FROM events WHERE kind = 'request'").fetchall()
    traced = [(body["client"]["experiment"], body["model"]) for body in map(json.loads, (row[0] for row in rows))]
    assert len(traced) == 2 * len(QUESTIONS)
    assert {(one["arm"], model) for one, model in traced} == {("a", "support-base"), ("b", "support-base-q4")}
    found = llmops.run("experiment", "show", made["experiment"])
    assert sum(found["experiment"]["conversations"].values()) == len(QUESTIONS)
    checked = llmops.run("check")
    assert checked["errors"] == 0, checked
