"""Clients that mean harm: half-open heads and bodies that never come, forged traces, long texts; streams go on beside them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from llmops_tui.inference.client import ModelClient, StreamEnd
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.server import guard, listener
from llmops_tui.inference.server.callers import key_name
from llmops_tui.inference.server.listener import BoundedServer, PatientProtocol, listen_at
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.engine.certificates import make_certificate
from tests.representatives import representatives
from tests.waiting import wait_for

KEY = "a-key-of-at-least-sixteen-characters"
QUESTION = [{"role": "user", "content": "When are you open?"}]
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n".encode()
KEYLESS_BODY = (
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
)


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, filled_once: Path
) -> Iterator[tuple[Workspace, ServerHandle, int]]:
    root = tmp_path_factory.mktemp("hostile") / "ws"
    shutil.copytree(filled_once, root)
    workspace = Workspace(root)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = LoadOptions(threads=1, parallel=4, context=512, host="127.0.0.1", port=port, keys=(KEY,))
    supervisor = ServerSupervisor(workspace)
    handle = supervisor.ensure(ModelRegistry(Catalog(workspace)).get("support-base"), options)
    yield workspace, handle, port
    supervisor.stop("support-base")


def ask(
    port: int, path: str, body: Any, key: str = KEY, context: ssl.SSLContext | None = None
) -> tuple[int, dict[str, Any]]:
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=120, context=context)
        if context is not None
        else http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    )
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


async def stream(handle: ServerHandle, begun: asyncio.Event, tokens: int = 300) -> StreamEnd:
    parameters = SamplingParameters(temperature=1.0, max_tokens=tokens)
    async with ModelClient(handle) as client:
        async for event in client.stream_chat(QUESTION, parameters, extra={"ignore_eos": True}):
            begun.set()
            if isinstance(event, StreamEnd):
                return event
    raise AssertionError("the stream did not end")


@pytest.mark.parametrize(
    "sent", representatives([b"", HEAD, KEYLESS_BODY], 2), ids=["nothing", "half a head", "no key and no body"]
)
async def test_half_open_connections_keep_nobody_out_and_end_no_stream(
    sent: bytes, served: tuple[Workspace, ServerHandle, int]
) -> None:
    _, handle, port = served
    begun = asyncio.Event()
    running = asyncio.create_task(stream(handle, begun))
    await begun.wait()
    half: list[socket.socket] = []
    try:
        for _ in range(listener._MOST + 150):
            one = socket.create_connection(("127.0.0.1", port))
            one.sendall(sent)
            half.append(one)
        body = {"messages": QUESTION, "max_tokens": 3, "temperature": 0}
        for _ in range(3):
            status, told = await asyncio.to_thread(ask, port, "/v1/chat/completions", body)
            assert status == 200, told
        assert (await running).timings["completion_tokens"] == 300
    finally:
        for one in half:
            one.close()


def test_what_a_client_says_names_no_run_and_no_prompt(served: tuple[Workspace, ServerHandle, int]) -> None:
    workspace, handle, port = served
    forged = {"run_id": "run_forged", "prompt": "triage", "prompt_version": 1, "variables": {"a": "b"}, "ticket": 7}
    body = {"messages": QUESTION, "max_tokens": 2, "temperature": 0, "metadata": forged}
    ids = []
    for path in ("/v1/chat/completions", "/v1/chat/completions", "/v1/responses"):
        given = body if "chat" in path else {"input": "Hi", "max_output_tokens": 2, "metadata": forged}
        status, answer = ask(port, path, given)
        assert status == 200, answer
        ids.append(answer["id"].replace("resp_", "run_"))
    assert len(set(ids)) == 3
    assert "run_forged" not in ids
    store = TraceStore(Catalog(workspace), EventLog(workspace))
    for one in ids:
        trace = store.get(one)
        assert (trace.line.prompt, trace.line.version, trace.variables) == (None, None, {})
        assert trace.client == {"key": key_name(KEY), "metadata": forged}
        assert key_name(KEY) in trace.client_words
        assert KEY not in json.dumps(trace.as_dict())
    assert store.page(TraceFilter(prompt="triage"), 10)[1] == 0

    async def ours() -> None:
        async with ModelClient(handle) as client:
            async for _ in client.stream_chat(
                QUESTION, SamplingParameters(max_tokens=2), forged | {"run_id": "run_ours"}
            ):
                pass

    asyncio.run(ours())
    mine = store.get("run_ours")
    assert (mine.line.prompt, mine.line.version, mine.client) == ("triage", 1, None)

    # Another's name does not stand alone beside what is said of an answer.
    status, _ = ask(port, "/v1/feedback", {"id": "run_ours", "score": "down", "user": "me"})
    assert status == 200
    assert store.get("run_ours").said[-1]["source"] == f"me (endpoint, key {key_name(KEY)})"


def test_the_workspaces_own_key_names_no_run_over_an_address(served: tuple[Workspace, ServerHandle, int]) -> None:
    workspace, handle, port = served
    body = {"messages": QUESTION, "max_tokens": 1, "metadata": {"run_id": "run_elsewhere"}}
    status, answer = ask(port, "/v1/chat/completions", body, handle.key)
    assert status == 200
    trace = TraceStore(Catalog(workspace), EventLog(workspace)).get(answer["id"])
    assert trace.client == {"key": "own", "metadata": {"run_id": "run_elsewhere"}}


def test_deep_and_endless_bodies_are_refused(served: tuple[Workspace, ServerHandle, int]) -> None:
    port = served[2]
    for raw in (b'{"content":' + b"[" * 1_000_000 + b"}", b'{"content":' * 100_000, b'{"content": "a'):
        status, told = ask(port, "/tokenize", raw)
        assert (status, told["error"]["code"]) == (400, "invalid_request")


def test_a_field_that_is_said_twice_is_refused_by_its_path(served: tuple[Workspace, ServerHandle, int]) -> None:
    raw = b'{"messages": [{"role": "user", "content": "a", "content": "b"}], "max_tokens": 1}'
    status, told = ask(served[2], "/v1/chat/completions", raw)
    assert (status, told["error"]["param"]) == (400, "messages[0].content")
    assert "twice" in told["error"]["message"]


def test_the_share_of_nothing_is_the_likeliest_token(served: tuple[Workspace, ServerHandle, int]) -> None:
    body = {"messages": QUESTION, "max_tokens": 12}
    likeliest = ask(served[2], "/v1/chat/completions", body | {"temperature": 0})[1]["choices"]
    for given in ({"top_p": 0}, {"top_k": 1}):
        told = ask(served[2], "/v1/chat/completions", body | {"temperature": 2.0, "top_k": -1} | given)[1]["choices"]
        assert told == likeliest


@pytest.mark.slow
async def test_a_stream_goes_on_beside_a_text_of_four_megabytes(served: tuple[Workspace, ServerHandle, int]) -> None:
    _, handle, port = served
    begun = asyncio.Event()
    body = json.dumps({"content": "a " * 1_990_000}).encode()
    long = asyncio.create_task(asyncio.to_thread(ask, port, "/tokenize", body))
    ended = 0
    while not long.done():
        assert (await stream(handle, begun, 200)).timings["completion_tokens"] == 200
        ended += 1
    status, told = await long
    assert status == 200
    assert told["count"] == len(told["tokens"]) > 1_000_000
    # A text that stopped the streams would have let one end at the most.
    assert ended > 1


async def quiet(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await guard.answer(send, 200, {})


@contextlib.asynccontextmanager
async def small_server(monkeypatch: pytest.MonkeyPatch, app: Any, tls: ssl.SSLContext | None = None) -> Any:
    """A server with eight places, and its port."""
    monkeypatch.setattr(listener, "places", lambda _doors: 8)
    options = ServerOptions("", "m", "", "", "", KEY, None, host="127.0.0.1", port=1)
    config = uvicorn.Config(guard.Guard(app, options), http=PatientProtocol, lifespan="off", log_level="error")
    server = BoundedServer(config, tls)
    listening = listen_at("127.0.0.1", 0)
    running = asyncio.create_task(server.serve([listening]))
    port = int(listening.getsockname()[1])
    while not server.started:
        await asyncio.sleep(0)
    yield server, port
    server.should_exit = True
    await running


async def test_where_every_place_is_at_work_a_newcomer_is_told_so_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = asyncio.Event()
    begun = 0

    async def working(scope: Any, receive: Any, send: Any) -> None:
        nonlocal begun
        begun += 1
        await go_on.wait()
        await guard.answer(send, 200, {})

    async with small_server(monkeypatch, working) as (_, port):
        request = HEAD.replace(b"POST", b"GET") + b"\r\n"
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        for _, writer in open_ones:
            writer.write(request)
        while begun < 8:
            await asyncio.sleep(0)
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()
        go_on.set()
        for reader, writer in open_ones:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()


async def test_an_address_that_has_taken_all_places_gives_some_up_and_answers_that_began_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, begun = asyncio.Event(), 0

    async def working(scope: Any, receive: Any, send: Any) -> None:
        nonlocal begun
        begun += 1
        if begun <= 2:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
            await send({"type": "http.response.body", "body": b"so far", "more_body": True})
            await go_on.wait()
            await send({"type": "http.response.body", "body": b" and whole"})
            return
        await go_on.wait()
        await guard.answer(send, 200, {})

    async with small_server(monkeypatch, working) as (_, port):
        request = HEAD.replace(b"POST", b"GET") + b"\r\n"

        async def come(address: str, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
            made, before = [], begun
            for _ in range(count):
                pair = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
                pair[1].write(request)
                made.append(pair)
                while begun == before:
                    await asyncio.sleep(0)
                before = begun
            return made

        greedy = await come("127.0.0.1", 8)
        others = await come("127.0.0.2", 4)
        # Equal now: one more of either is turned away, and nobody else is.
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
        go_on.set()
        answers = [(await reader.read()) for reader, _ in greedy]
        assert [b"so far" in answer for answer in answers] == [True] * 2 + [False] * 6
        assert all(b"and whole" in answer for answer in answers[:2])
        assert [answer[9:12] for answer in answers] == [b"200"] * 4 + [b"503"] * 4
        assert all([(await reader.readline()).startswith(b"HTTP/1.1 200 ") for reader, _ in others])
        for _, writer in (*greedy, *others):
            writer.close()


async def test_without_descriptors_half_open_connections_make_way_and_one_line_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listener, "_PAUSE_SECONDS", 0.01)
    async with small_server(monkeypatch, quiet) as (server, port):
        (door,) = server.servers
        idle = await asyncio.open_connection("127.0.0.1", port)
        while not door._open:
            await asyncio.sleep(0)

        class Short:
            """The listening socket of a process whose descriptors are used up, twice; then the real one."""

            left = 2

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

            def accept(self) -> Any:
                if self.left:
                    self.left -= 1
                    raise OSError(24, "Too many open files")
                return real.accept()

        real = door.socket
        door.socket = Short()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD.replace(b"POST", b"GET") + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        assert await idle[0].read() == b""
        writer.close()
    assert capfd.readouterr().err.count("Too many open files") == 1


async def test_an_address_is_encrypted_and_clients_that_speak_in_the_clear_take_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = listener.encryption(str(certificate), str(key))
    assert tls is not None
    async with small_server(monkeypatch, quiet, tls) as (_, port):
        plain = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in plain[:10]:
            writer.write(HEAD + b"\r\n")
        trusting = ssl.create_default_context(cafile=str(certificate))
        status, _ = await asyncio.to_thread(ask, port, "/x", {}, KEY, trusting)
        assert status == 200
        for _, writer in plain:
            writer.close()


def test_an_empty_key_is_no_key() -> None:
    checked = guard.Guard(quiet, ServerOptions("", "monitor", "", "", "", "", None, host="127.0.0.1", keys=(KEY,)))
    for given in (b"Bearer ", b"Bearer", b"Bearer  ", b""):
        assert checked._caller([given], over_tcp=True) is None
    caller = checked._caller([f"Bearer {KEY}".encode()], over_tcp=True)
    assert caller is not None
    assert not caller.own


@pytest.mark.slow
def test_a_server_makes_its_socket_again(served: tuple[Workspace, ServerHandle, int]) -> None:
    workspace, handle, _ = served
    Path(handle.socket).unlink()
    wait_for(Path(handle.socket).exists)
    again = ServerSupervisor(workspace).ensure(ModelRegistry(Catalog(workspace)).get("support-base"))
    assert again.process == handle.process
