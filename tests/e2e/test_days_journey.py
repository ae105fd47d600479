"""A day of a model in use, by commands: served by label, shadowed, stopped, learned from, judged, promoted, and asked about."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.options import RouterOptions
from llmops_tui.inference.supervisor import ALL_MODELS, ServerSupervisor
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.e2e.terminal import Terminal
from tests.engine.test_guard import free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.slow
STAGE = "prompt/support@production"
PERSON = "Clara Ito"
ASKED = 50


@pytest.fixture
def supervisor(sample: Workspace) -> Iterator[ServerSupervisor]:
    found = ServerSupervisor(sample)
    yield found
    found.stop(ALL_MODELS)


def damaged(sample: Workspace, name: str, kept: float) -> Path:
    """The sample's model with the weights behind a share of its file gone: it is loaded, and says nothing of use."""
    whole = (sample.models / "support-base-Q8_0.gguf").read_bytes()
    path = sample.models / f"{name}.gguf"
    path.write_bytes(whole[: int(len(whole) * kept)] + bytes(len(whole) - int(len(whole) * kept)))
    return path


def questions(sample: Workspace) -> list[str]:
    """Messages of customers, of whom the first is the person that is forgotten in the end."""
    rows = DatasetStore(Catalog(sample)).get("triage-test").rows_at(list(range(ASKED)))
    found = [str(row["messages"][1]["content"]) for row in rows]
    return sorted(dict.fromkeys(found), key=lambda text: PERSON not in text)


def ask(address: str, secret: str, question: str, **more: Any) -> httpx.Response:
    body = {"model": STAGE, "variables": {"question": question}, "temperature": 0, "max_tokens": 60, "user": question}
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.post(f"{address}/v1/chat/completions", json=body | more, headers=headers, timeout=600)


def test_a_day_from_serving_by_label_to_forgetting(sample: Workspace, supervisor: ServerSupervisor) -> None:
    llmops = Llmops(sample)
    for name, kept in (("support-old", 0.25), ("support-worse", 0.12)):
        llmops.run("model", "add", str(damaged(sample, name, kept)), "--name", name)
    faulty = sample.models / "support-faulty.gguf"
    faulty.write_bytes((sample.models / "support-base-Q4_K_M.gguf").read_bytes())
    llmops.run("model", "add", str(faulty), "--name", "support-faulty")
    suite = sample.root.parent / "asked-before.yaml"
    suite.write_text(
        json.dumps(
            {
                "cases": [{"question": "When are you open?", "expected": "We are open Monday to Saturday from 9 to 18."}]
                + [{"question": f"Hello, where is my {what}?", "expected": "I will check"} for what in WARES],
                "prompt": "support", "metrics": ["token-f1"], "parameters": {"temperature": 0, "max_tokens": 60},
            }
        )
    )  # fmt: skip
    # Served by label, with two keys that are for the prompt and for no model.
    llmops.run("eval", "run", str(suite), "--model", "support-old", "--prompt", "support@production")
    llmops.run("stage", "set", "support@production", "--model", "support-old", "--suite", "asked-before")
    secrets = [llmops.run("key", "create", name, "--prompt", "support")["key"] for name in ("shop", "desk")]
    options = RouterOptions(
        threads=1, parallel=1, context=256, host="127.0.0.1", port=free_port(), max_loaded=3, idle_seconds=900
    )
    address = supervisor.serve_all(options).address
    first = ask(address, secrets[0], "Are you there?")
    assert (first.status_code, first.headers["x-llmops-prompt"]) == (200, "support@2"), first.text
    assert ask(address, secrets[1], "Are you there?", model="support-base").status_code == 403

    # A candidate is asked the same beside it, until the evidence decides.
    metric = json.dumps({"type": "contains", "value": "will"})
    made = llmops.run("experiment", "start", STAGE, "--b", "support-base", "--kind", "shadow", "--metric", metric)
    assert made["settings"]["b"] == "prompt/support@2+support-base"
    # Whoever serves knows of it within a second, and until then answers without it.
    wait_for(lambda: ask(address, secrets[0], "Are you there?").is_success and in_it(llmops, made["experiment"]))
    asked = questions(sample)
    assert PERSON in asked[0]
    for number, question in enumerate(asked):
        answered = ask(address, secrets[number % 2], question)
        assert answered.status_code == 200, answered.text

    def verdict() -> Any:
        return llmops.run("experiment", "show", made["experiment"])["verdict"]

    wait_for(lambda: bool(verdict()["pairs"] >= len(asked)), seconds=600)
    decided = verdict()
    assert decided["better"] == "b", decided["sentence"]
    llmops.run("experiment", "stop", STAGE)

    # A canary with a planted fault rolls itself back, with nobody watching.
    with faulty.open("r+b") as file:
        file.truncate(200_000)
    canary = llmops.run(
        "experiment", "start", STAGE, "--b", "support-faulty", "--kind", "canary", "--split", "0.5", "--by", "user"
    )
    store = ExperimentStore(EventLog(sample))
    for number in range(60):
        ask(address, secrets[0], f"Number {number}: are you open?")
        if store.get(canary["experiment"]).state == "rolled back":
            break
    assert store.get(canary["experiment"]).state == "rolled back"
    assert ask(address, secrets[0], "And now?").status_code == 200
    llmops.run("experiment", "stop", STAGE)
    llmops.run("model", "remove", "support-faulty", "--yes")

    # Feedback becomes data: what the candidate said in the shadow is right, of what was answered nothing is.
    traces = TraceStore(Catalog(sample), EventLog(sample))
    shadows, _ = traces.page(TraceFilter(experiment=f"{made['experiment']}@b"), 200)
    right = {traces.get(one.id).messages[-1]["content"]: traces.get(one.id).output for one in shadows}
    answers, _ = traces.page(TraceFilter(experiment=f"{made['experiment']}@a"), 200)
    for one in answers:
        correction = right.get(traces.get(one.id).messages[-1]["content"])
        if correction:
            llmops.run("traces", "feedback", one.id, "--score", "down", "--correct", correction)
    queue = llmops.run("loop", "status", STAGE)
    assert queue["next"].startswith("llmops traces list")
    for one in llmops.run("traces", "list", "--filter", "is:queue", "--limit", "500")["traces"]:
        llmops.run("traces", "feedback", one["trace"], "--verdict", "accepted")
    collected = llmops.run("loop", "collect", STAGE, "feedback", "--hold-out", "0.5", "--metric", "exact")
    assert collected["authors"]["share"] == 0.0
    assert collected["held_out_rows"] >= 10
    proposal = llmops.run("loop", "propose", STAGE, "--distinct", "10", "--recipe", "triage-qlora", "--save")
    assert (proposal["proposed"], proposal["kept"]) == (True, "triage-qlora@2")
    assert proposal["reasons"][0]["found"] >= 10
    # What the recipe had is replayed beside what is new.
    assert (set(proposal["old"]), set(proposal["new"])) == ({"triage@1"}, {"feedback@1"})

    # The gate refuses a worse model, and passes a better one.
    assert not llmops.run("loop", "gate", STAGE, "support-worse", "--evaluate", code=1)["passes"]
    assert llmops.run("loop", "promote", STAGE, "support-worse", code=1)["error"]["code"] == "gate_closed"
    passed = llmops.run("loop", "gate", STAGE, "support-base", "--evaluate")
    assert passed["passes"], passed
    assert {one["rule"].partition(":")[0] for one in passed["rulings"]} == {"asked-before", "feedback-new"}
    before = time.time()
    moved = llmops.run("loop", "promote", STAGE, "support-base", "--reason", "it knows the answers")
    assert (moved["before"], moved["after"]) == ("support-old", "support-base")
    assert ask(address, secrets[0], "When are you open?").json()["model"] == "support-base"

    # Beside the one that answers now the worse one is worse on what was asked before, too.
    refused = llmops.run("loop", "gate", STAGE, "support-worse", code=1)
    assert {one["rule"].partition(":")[0] for one in refused["rulings"] if one["outcome"] == "fail"} == {
        "asked-before", "feedback-new",
    }  # fmt: skip

    # In the app, one key takes it back; then it is promoted again.
    app = Terminal("--workspace", str(sample.root))
    app.wait("support")
    app.press("f9", "6")
    app.wait("Processes")
    app.press("v")
    app.wait("answered by support-base", seconds=600)
    app.wait("next step")
    app.press("B")
    app.wait("Take support-base out of")
    app.press("y")
    app.wait("answered by support-old", seconds=600)
    # Quitting at once would reach it as one key with alt, where it is busy.
    app.leave("answered by support-old")
    app.press("ctrl+q")
    assert app.finish() == 0
    assert llmops.run("loop", "history", STAGE)["model"] == "support-old"
    llmops.run("loop", "promote", STAGE, "support-base")

    # What answered at a moment, and who is forgotten.
    def answered_at(moment: float) -> str | None:
        said = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
        found = llmops.run("audit", "at", said)["in_force"]
        return next(str(one["model"]) for one in found if one["name"] == STAGE)

    # Moments are said in whole seconds, and one to come is refused.
    after = time.time() + 1
    wait_for(lambda: time.time() > after)
    assert (answered_at(before), answered_at(after)) == ("support-old", "support-base")
    assert llmops.run("audit", "verify")["problems"] == []
    erased = llmops.run("privacy", "forget", PERSON, "--yes")
    assert erased["done"]
    assert llmops.run("traces", "list", "--filter", PERSON)["total"] == 0
    assert ask(address, secrets[1], "When are you open?").status_code == 200
    assert llmops.run("model", "stop", "--all")["stopped"]
    checked = llmops.run("check")
    assert checked["errors"] == 0, checked


def in_it(llmops: Llmops, experiment: str) -> bool:
    """Whether an experiment has a request yet."""
    return bool(llmops.run("experiment", "show", experiment)["experiment"]["conversations"]["a"])


WARES = [
    "kettle", "floor lamp", "heater", "teapot", "toaster", "blender", "fan", "radio", "clock", "mirror", "chair", "desk",
    "kettle today", "lamp today", "heater today", "teapot today", "toaster today", "blender today",
]  # fmt: skip
