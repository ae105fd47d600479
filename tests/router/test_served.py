"""All models at one address, with real servers: two models through one address, and what dies behind it or itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from llmops_tui.inference.options import RouterOptions
from llmops_tui.inference.server.callers import key_name
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ALL_MODELS, ServerSupervisor
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.engine.test_guard import free_port
from tests.router.fakes import KEY
from tests.waiting import wait_for

QUESTION = [{"role": "user", "content": "When are you open?"}]
ANSWER = "We are open Monday to Saturday from 9 to 18."


@pytest.fixture
def supervisor(sample: Workspace) -> Iterator[ServerSupervisor]:
    found = ServerSupervisor(sample)
    yield found
    found.stop(ALL_MODELS)


def start(supervisor: ServerSupervisor) -> ServerHandle:
    options = RouterOptions(
        threads=1,
        parallel=1,
        context=256,
        host="127.0.0.1",
        port=free_port(),
        keys=(KEY,),
        max_loaded=1,
        idle_seconds=600,
    )
    return supervisor.serve_all(options)


def client_of(handle: ServerHandle) -> httpx.Client:
    return httpx.Client(base_url=handle.address, verify=False, headers={"Authorization": f"Bearer {KEY}"}, timeout=300)


def answer(client: httpx.Client, model: str) -> str:
    body = {"model": model, "messages": QUESTION, "temperature": 0}
    return str(client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"])


@pytest.mark.slow
def test_two_models_at_one_address(sample: Workspace, supervisor: ServerSupervisor) -> None:
    llmops = Llmops(sample)
    assert llmops.run("model", "alias", "support-base-q4", "gpt-4o")["aliases"] == ["gpt-4o"]
    with client_of(start(supervisor)) as client:
        # A model's server asks for memory and loads; the first makes way for the second.
        for asked, model in (("Support-Base:latest", "support-base"), ("gpt-4o", "support-base-q4")):
            assert answer(client, asked) == ANSWER
            assert [handle.model for handle in supervisor.running()] == [model]
            assert client.get("/health").json()["loaded"] == [model]
        # The trace knows the client's key and what it said of itself, and takes it for no program of the workspace.
        spoken = {"prompt": "mine", "run_id": "run_mine"}
        client.post("/v1/completions", json={"model": "gpt-4o", "prompt": "Hi", "max_tokens": 1, "metadata": spoken})
        rows = EventLog(sample).connection().execute("SELECT key, body FROM events ORDER BY seq").fetchall()
        record = json.loads(rows[-1][1])
        assert (record["model"], record["prompt"]) == ("support-base-q4", None)
        assert record["client"] == {"key": key_name(KEY), "metadata": spoken}
        assert rows[-1][0] != "run_mine"

        # The model's server is killed while it answers: that is told, and the next request loads it again.
        (handle,) = supervisor.running()
        body = {"model": "gpt-4o", "prompt": "Hi", "max_tokens": 200, "ignore_eos": True, "stream": True}
        got = b""
        with (
            contextlib.suppress(httpx.RemoteProtocolError),
            client.stream("POST", "/v1/completions", json=body) as stream,
        ):
            for piece in stream.iter_raw():
                if not got:
                    os.kill(handle.process.pid, signal.SIGKILL)
                got += piece
            assert json.loads(got.split(b"data: ")[-1])["error"]["code"] == "server_died"
        assert b"[DONE]" not in got
        assert answer(client, "support-base-q4") == ANSWER
    assert llmops.run("model", "stop", "--all")["stopped"]
    # What it loaded went with it.
    assert supervisor.running() == []


@pytest.mark.slow
def test_a_router_that_is_killed_leaves_its_models_to_the_next(sample: Workspace, supervisor: ServerSupervisor) -> None:
    router = start(supervisor)
    with client_of(router) as client:
        assert answer(client, "support-base") == ANSWER
    (before,) = supervisor.running()
    os.kill(router.process.pid, signal.SIGKILL)
    wait_for(lambda: supervisor.find(ALL_MODELS) is None)
    # It is no model that fell.
    assert supervisor.fallen() == []
    with client_of(start(supervisor)) as client:
        assert client.get("/health").json()["loaded"] == ["support-base"]
        assert answer(client, "support-base") == ANSWER
    assert supervisor.running() == [before]
    # The next one unloads what the first had loaded, as it says.
    assert Llmops(sample).run("model", "stop", "--all")["stopped"]
    assert supervisor.running() == []


def test_the_command_says_what_goes_together(sample: Workspace) -> None:
    llmops = Llmops(sample)
    for arguments, code, told in (
        (("serve",), 2, "--all"),
        (("serve", "support-base", "--all"), 2, "exclude"),
        (("serve", "support-base", "--max-loaded", "2"), 2, "--max-loaded goes with --all"),
        (("serve", "--all", "--draft", "support-base-q4"), 3, "draft"),
        (("serve", "--all", "--host", "0.0.0.0", "--no-key"), 3, "requires a key"),
        (("model", "stop"), 2, "--all"),
    ):
        assert told in json.dumps(llmops.run(*arguments, code=code)), arguments
    started = llmops.run("serve", "--all", "--port", "0", "--detach", "--max-loaded", "1")
    try:
        assert started["models"] == ["support-base", "support-base-q4"]
        again = llmops.run("serve", "--all", "--port", "0", "--detach", "--max-loaded", "1")
        assert (again["already"], again["url"], again["pid"]) == (True, started["url"], started["pid"])
        refused = llmops.run("serve", "--all", "--port", "0", "--detach", code=3)
        assert "max_loaded is 1, and 0 is requested" in refused["error"]["message"]
        changed = llmops.run("serve", "--all", "--port", "0", "--detach", "--idle-unload", "5", "--replace")
        assert (changed["already"], changed["idle_minutes"], changed["max_loaded"]) == (False, 5.0, None)
    finally:
        assert llmops.run("model", "stop", "--all")["stopped"]


def test_aliases_are_unique_and_go_with_their_model(sample: Workspace) -> None:
    llmops = Llmops(sample)
    llmops.run("model", "alias", "support-base", "Qwen/Qwen3-8B:Q4_K_M")
    for other in ("qwen/qwen3-8b:q4_k_m", "SUPPORT-BASE", "with space", "a+b"):
        assert llmops.run("model", "alias", "support-base-q4", other, code=3)["error"]["code"] in {
            "name_taken",
            "bad_name",
        }
    assert llmops.run("model", "show", "support-base")["aliases"] == ["Qwen/Qwen3-8B:Q4_K_M"]
    llmops.run("model", "alias", "support-base-q4", "fast")
    file = str(sample.models / "support-base-Q4_K_M.gguf")
    assert llmops.run("model", "add", file, "--name", "FAST", code=3)["error"]["code"] == "name_taken"
    llmops.run("model", "alias", "--remove", "Qwen/Qwen3-8B:Q4_K_M")
    assert llmops.run("model", "alias", "--remove", "nine", code=3)["error"]["code"] == "alias_not_found"
    llmops.run("model", "remove", "support-base-q4", "--yes", "--force")
    assert llmops.run("model", "alias") == {"aliases": [], "total": 0}
