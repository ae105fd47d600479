from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.client import ModelClient, StreamEnd
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.server.heartbeat import Heartbeat
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.socket_transport import async_socket_transport, socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.jobs.process import start_time
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.waiting import wait_for

QUESTION = [{"role": "user", "content": "When are you open?"}]
# The sample model goes on for long where the end of a turn is unlikely: hot enough, it babbles to the limit.
BABBLE = SamplingParameters(temperature=5.0, max_tokens=900, seed=3)


@pytest.fixture
def supervisor(sample: Workspace) -> ServerSupervisor:
    return ServerSupervisor(sample)


def start(sample: Workspace, supervisor: ServerSupervisor, **options: Any) -> ServerHandle:
    model = ModelRegistry(Catalog(sample)).get("support-base")
    return supervisor.ensure(model, LoadOptions(**({"threads": 1} | options)))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, filled_once: Path) -> Iterator[tuple[Workspace, ServerHandle]]:
    """One server for the tests that only ask."""
    root = tmp_path_factory.mktemp("served") / "ws"
    shutil.copytree(filled_once, root)
    workspace = Workspace(root)
    supervisor = ServerSupervisor(workspace)
    yield workspace, start(workspace, supervisor)
    supervisor.stop("support-base")


async def ask(
    handle: ServerHandle,
    messages: list[dict[str, str]] = QUESTION,
    parameters: SamplingParameters | None = None,
    metadata: dict[str, Any] | None = None,
    on_text: Callable[[str], None] | None = None,
) -> tuple[str, StreamEnd]:
    text: list[str] = []
    async with ModelClient(handle) as client:
        async for event in client.stream_chat(messages, parameters or SamplingParameters(), metadata):
            if isinstance(event, StreamEnd):
                return "".join(text), event
            text.append(event)
            if on_text is not None:
                on_text("".join(text))
    raise AssertionError("the stream did not end")


def logged(sample: Workspace) -> list[dict[str, Any]]:
    import json

    return [json.loads(row[0]) for row in EventLog(sample).connection().execute("SELECT body FROM events ORDER BY seq")]


async def test_an_answer_streams_and_is_logged_before_its_end_is_told(
    served: tuple[Workspace, ServerHandle],
) -> None:
    workspace, handle = served
    before = len(logged(workspace))
    metadata = {"run_id": "run_x", "prompt": "p", "prompt_version": 3, "variables": {"a": "b"}}
    text, end = await ask(handle, metadata=metadata)
    assert text == "We are open Monday to Saturday from 9 to 18."
    assert end.finish_reason == "stop"
    (record,) = logged(workspace)[before:]
    assert record["output"] == text
    assert (record["prompt"], record["prompt_version"], record["variables"]) == ("p", 3, {"a": "b"})
    assert record["parameters"]["seed"] == 1
    assert record["finish_reason"] == "stop"
    for name in ("ttft_ms", "total_ms", "tokens_per_s", "prompt_tokens", "completion_tokens"):
        assert record[name] > 0


async def test_the_same_seed_gives_the_same_text_and_another_seed_another(
    served: tuple[Workspace, ServerHandle],
) -> None:
    _, handle = served
    hot = SamplingParameters(temperature=2.0, max_tokens=60, seed=5, top_k=50)
    first, _ = await ask(handle, parameters=hot)
    again, end = await ask(handle, parameters=hot)
    other, _ = await ask(handle, parameters=hot.model_copy(update={"seed": 6}))
    assert first == again != other
    assert end.timings["reused_tokens"] > 0


async def test_limits_stops_and_a_prompt_that_is_too_long(sample: Workspace, supervisor: ServerSupervisor) -> None:
    handle = await asyncio.to_thread(start, sample, supervisor, context=256)
    text, end = await ask(handle, parameters=SamplingParameters(max_tokens=3))
    assert (end.finish_reason, end.timings["completion_tokens"]) == ("length", 3)
    text, end = await ask(handle, parameters=SamplingParameters(stop=("Saturday",)))
    assert (text, end.finish_reason) == ("We are open Monday to ", "stop")
    with pytest.raises(LlmopsError, match="too many for the context of 256") as caught:
        await ask(handle, [{"role": "user", "content": "kettle " * 400}])
    assert caught.value.code == "context_length_exceeded"
    refused = logged(sample)[-1]
    assert (refused["finish_reason"], refused["client"]["status"]) == ("error", 400)
    text, _ = await ask(handle)
    assert text.startswith("We are open")


async def test_leaving_a_stream_cancels_within_a_token(served: tuple[Workspace, ServerHandle]) -> None:
    workspace, handle = served
    before = len(logged(workspace))
    async with ModelClient(handle) as client:
        stream = client.stream_chat(QUESTION, BABBLE)
        async for _ in stream:
            break
        await stream.aclose()
    await asyncio.to_thread(wait_for, lambda: len(logged(workspace)) == before + 1)
    (record,) = logged(workspace)[before:]
    assert record["finish_reason"] == "cancelled"
    assert len(record["output"]) > 0
    text, _ = await ask(handle)
    assert text.startswith("We are open")


async def test_requests_wait_for_their_turn_and_all_are_answered(served: tuple[Workspace, ServerHandle]) -> None:
    _, handle = served
    answers = await asyncio.gather(*(ask(handle) for _ in range(8)))
    assert {text for text, _ in answers} == {"We are open Monday to Saturday from 9 to 18."}


async def test_the_engine_killed_mid_stream_is_told_and_started_again(
    sample: Workspace, supervisor: ServerSupervisor
) -> None:
    handle = await asyncio.to_thread(start, sample, supervisor)
    async with ModelClient(handle) as client:
        pid = (await client.health())["engine_pid"]
    seen: list[str] = []

    def kill_once(text: str) -> None:
        if not seen:
            os.kill(pid, signal.SIGKILL)
        seen.append(text)

    with pytest.raises(LlmopsError, match="signal 9") as caught:
        await ask(handle, parameters=BABBLE, on_text=kill_once)
    assert caught.value.code == "engine_died"
    (record,) = logged(sample)
    assert record["finish_reason"] == "error"
    assert record["output"] == seen[-1]
    text, _ = await ask(handle)
    assert text.startswith("We are open")


@pytest.mark.slow
async def test_health_is_not_ok_from_the_moment_the_engine_is_killed(
    sample: Workspace, supervisor: ServerSupervisor
) -> None:
    handle = await asyncio.to_thread(start, sample, supervisor)
    async with ModelClient(handle) as client:
        before = await client.health()
        assert before["status"] == "ok"
        os.kill(before["engine_pid"], signal.SIGKILL)
        # It is noticed, or it has been started again already; what is told is never that the dead one is well.
        after = await client.health()
        assert after["status"] != "ok" or after["engine_pid"] != before["engine_pid"]
    text, _ = await ask(handle)
    assert text.startswith("We are open")


@pytest.mark.slow
async def test_an_engine_that_says_nothing_is_not_well_and_is_again_when_it_goes_on(
    sample: Workspace, supervisor: ServerSupervisor
) -> None:
    from llmops_tui.monitoring.engines import EngineSampler

    handle = await asyncio.to_thread(start, sample, supervisor)
    transport = async_socket_transport(handle.socket)
    sampler = EngineSampler(supervisor)

    def seen() -> EngineLoad:
        sampler._due = 0.0
        (engine,) = sampler.inspect()
        return engine

    async with (
        ModelClient(handle) as client,
        httpx.AsyncClient(
            transport=transport, base_url="http://m", headers={"Authorization": f"Bearer {handle.key}"}
        ) as plain,
    ):
        pid = (await client.health())["engine_pid"]
        assert "llmops:engine_up{" in (page := (await plain.get("/metrics")).text)
        assert 'llmops:engine_up{model_name="support-base"} 1.0' in page
        assert (await asyncio.to_thread(seen)).up
        os.kill(pid, signal.SIGSTOP)
        try:
            told = "ok"
            deadline = asyncio.get_running_loop().time() + 60
            while told == "ok" and asyncio.get_running_loop().time() < deadline:
                answer = await plain.get("/health")
                told = answer.json()["status"]
            assert (told, answer.status_code) == ("silent", 503)
            page = (await plain.get("/metrics")).text
            assert 'llmops:engine_up{model_name="support-base"} 0.0' in page
            assert 'llmops:engine_state{model_name="support-base",state="silent"} 1.0' in page
            assert 'state="ok"' not in page
            engine = await asyncio.to_thread(seen)
            assert (engine.state, engine.up, engine.answers) == ("silent", False, False)
        finally:
            os.kill(pid, signal.SIGCONT)
        while (await plain.get("/health")).status_code != 200:
            assert asyncio.get_running_loop().time() < deadline
        assert (await client.health())["state"]["slots"]
    await asyncio.to_thread(sampler.close)


@pytest.mark.parametrize(
    ("works", "silent", "status"),
    [(False, 2.0, "ok"), (False, 4.0, "silent"), (True, 4.0, "ok"), (True, 299.0, "ok"), (True, 301.0, "silent")],
)
async def test_an_engine_at_work_may_say_nothing_until_the_watchdog_ends_it(
    works: bool, silent: float, status: str, tmp_path: Path
) -> None:
    engine: Any = SimpleNamespace(
        state="ok", pid=1, works=works, silent_for=silent, hang_seconds=EngineProcess({}, tmp_path / "log").hang_seconds
    )

    async def ask(_request: dict[str, Any]) -> dict[str, Any]:
        return {"slots": []}

    heartbeat = Heartbeat(engine, ask)
    assert await heartbeat.inspect() == (status, {"slots": []} if status == "ok" else {})
    await heartbeat.close()


@pytest.mark.slow
async def test_an_engine_that_keeps_dying_is_given_up_and_every_request_is_told(
    sample: Workspace, supervisor: ServerSupervisor
) -> None:
    handle = await asyncio.to_thread(start, sample, supervisor)
    server = psutil.Process(handle.process.pid)

    def kill(_text: str) -> None:
        for child in server.children():
            # One that was killed already may still be listed.
            with contextlib.suppress(psutil.Error):
                if "llmops_tui.inference.worker" in child.cmdline():
                    child.send_signal(signal.SIGSEGV)

    for _ in range(3):
        with pytest.raises(LlmopsError, match="a crash in native code"):
            await ask(handle, parameters=BABBLE, on_text=kill)
        async with ModelClient(handle) as client:
            assert "a crash in native code" in (await client.health())["last_failure"]
    with pytest.raises(LlmopsError) as caught:
        await ask(handle)
    assert caught.value.code == "engine_keeps_dying"


@pytest.mark.slow
async def test_the_whole_server_killed_mid_stream_is_told_and_replaced(
    sample: Workspace, supervisor: ServerSupervisor
) -> None:
    handle = await asyncio.to_thread(start, sample, supervisor)
    async with ModelClient(handle) as client:
        engine = (await client.health())["engine_pid"]

    def kill(_text: str) -> None:
        handle.process.send(signal.SIGKILL)

    with pytest.raises(LlmopsError) as caught:
        await ask(handle, parameters=BABBLE, on_text=kill)
    assert caught.value.code == "server_died"
    # The engine never outlives its server.
    await asyncio.to_thread(wait_for, lambda: start_time(engine) is None)
    again = await asyncio.to_thread(start, sample, supervisor)
    assert again.process != handle.process
    text, _ = await ask(again)
    assert text.startswith("We are open")


@pytest.mark.slow
def test_two_apps_that_ask_at_once_share_one_server(sample: Workspace) -> None:
    handles: list[ServerHandle] = []
    threads = [
        threading.Thread(target=lambda: handles.append(start(sample, ServerSupervisor(sample)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({handle.process for handle in handles}) == 1


@pytest.mark.slow
def test_a_server_that_is_idle_stops_by_itself(sample: Workspace, supervisor: ServerSupervisor) -> None:
    handle = start(sample, supervisor, idle_seconds=2.0)
    wait_for(lambda: not handle.process.alive())
    wait_for(lambda: not Path(handle.socket).exists())
    assert supervisor.running() == []


def test_the_key_and_the_body_are_checked(served: tuple[Workspace, ServerHandle]) -> None:
    _, handle = served
    good = {"Authorization": f"Bearer {handle.key}"}
    body = {"messages": QUESTION, "max_tokens": 4}
    with httpx.Client(transport=socket_transport(handle.socket), base_url="http://m") as client:
        chat = "/v1/chat/completions"
        assert client.post(chat, json=body).status_code == 401
        assert client.post(chat, json=body, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.post(chat, content=b"x", headers=good).status_code == 415
        assert client.post(chat, content=b"{", headers=good | {"content-type": "application/json"}).status_code == 400
        assert client.post(chat, json={"messages": []}, headers=good).status_code == 400
        assert client.post(chat, json=body | {"temperature": 99}, headers=good).status_code == 400
        assert (
            client.post(chat, json={"messages": [{"role": "u", "content": "x" * 5_000_000}]}, headers=good).status_code
            == 413
        )
        assert client.get("/nothing", headers=good).status_code == 404
        answer = client.post(chat, json=body, headers=good).json()
        assert answer["choices"][0]["message"]["role"] == "assistant"
        assert answer["usage"]["completion_tokens"] == 4
        raw = client.post("/v1/completions", json={"prompt": "The kettle", "max_tokens": 2}, headers=good).json()
        assert raw["choices"][0]["finish_reason"] == "length"
        assert client.get("/v1/models", headers=good).json()["data"][0]["id"] == "support-base"
    assert stat.S_IMODE(Path(handle.socket).parent.parent.stat().st_mode) == 0o700


def test_a_damaged_file_is_refused_before_native_code_sees_it(sample: Workspace, supervisor: ServerSupervisor) -> None:
    model = ModelRegistry(Catalog(sample)).get("support-base")
    raw = model.path.read_bytes()
    model.path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputRefusedError, match="truncated"):
        supervisor.ensure(model)
    model.path.unlink()
    with pytest.raises(InputRefusedError, match="does not exist"):
        supervisor.ensure(model)


@pytest.mark.slow
def test_a_model_llama_cpp_cannot_load_is_told_with_the_reason(sample: Workspace, supervisor: ServerSupervisor) -> None:
    registry = ModelRegistry(Catalog(sample))
    model = registry.get("support-base")
    raw = model.path.read_bytes()
    # Sound as a header, but of a family that llama.cpp does not know.
    model.path.write_bytes(raw.replace(b"llama", b"lxmax"))
    with pytest.raises(LlmopsError, match="could not load"):
        supervisor.ensure(model)
