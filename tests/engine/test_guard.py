"""Who is let in: a table of Host, Origin, key, size and method, and requests that are no requests."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.server import guard, listener
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.waiting import wait_for

KEY = "a-key-of-at-least-sixteen-characters"
BODY = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "temperature": 0}).encode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, filled_once: Path) -> Iterator[tuple[ServerHandle, int]]:
    import shutil

    root = tmp_path_factory.mktemp("guard") / "ws"
    shutil.copytree(filled_once, root)
    workspace, port = Workspace(root), free_port()
    options = LoadOptions(
        threads=1,
        parallel=4,
        context=256,
        host="127.0.0.1",
        port=port,
        keys=(KEY, "another-key-of-some-length"),
        allowed_hosts=("models.example",),
        allowed_origins=("https://good.example",),
    )
    supervisor = ServerSupervisor(workspace)
    handle = supervisor.ensure(ModelRegistry(Catalog(workspace)).get("support-base"), options)
    yield handle, port
    supervisor.stop("support-base")


async def exchange(port: int, raw: bytes, *, wait: float = 120.0) -> bytes:
    """Send bytes; whatever comes until the other side closes, or has answered once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        await writer.drain()
        async with asyncio.timeout(wait):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(x.split(b":")[1]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length")), 0
            )
            return head + await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        return getattr(error, "partial", b"")
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@dataclass(frozen=True)
class Case:
    """One request and the statuses it may get."""

    name: str
    expected: set[int]
    method: str = "POST"
    path: str = "/v1/chat/completions"
    host: str | None = "127.0.0.1"
    authorization: tuple[str, ...] = (f"Bearer {KEY}",)
    headers: tuple[tuple[str, str], ...] = ()
    kind: str | None = "application/json"
    body: bytes = BODY
    length: str | None = None

    def raw(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"Host: {self.host}"] if self.host is not None else []
        lines += [f"Authorization: {value}" for value in self.authorization]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Type: {self.kind}"] if self.kind is not None else []
        length = str(len(self.body)) if self.length is None else self.length
        lines += [f"Content-Length: {length}"] if length else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


def origin(value: str) -> tuple[tuple[str, str], ...]:
    return (("Origin", value),)


def get(name: str, path: str, expected: set[int], **more: Any) -> Case:
    return Case(name, expected, method="GET", path=path, kind=None, body=b"", length="", **more)


OK, NO_HOST, NO_KEY = {200}, {403}, {401}
CASES = [
    # Hosts
    Case("host by address", OK),
    Case("host with our port", OK, host="127.0.0.1:8080"),
    Case("host with a forwarded port", OK, host="localhost:9999"),
    Case("host localhost", OK, host="localhost"),
    Case("host in capitals", OK, host="LOCALHOST"),
    Case("host with a final dot", OK, host="localhost."),
    Case("host of IPv6", OK, host="[::1]"),
    Case("host of IPv6 with port", OK, host="[::1]:8080"),
    Case("host that was allowed", OK, host="models.example"),
    Case("host rebound", NO_HOST, host="evil.example"),
    Case("host rebound with port", NO_HOST, host="evil.example:8080"),
    Case("host that begins like ours", NO_HOST, host="localhost.evil.example"),
    Case("host that ends like ours", NO_HOST, host="evil-localhost"),
    Case("host with a user", NO_HOST, host="localhost@evil.example"),
    Case("host with a bad port", NO_HOST, host="localhost:port"),
    Case("host of another address", NO_HOST, host="192.168.0.1"),
    Case("host as one number", NO_HOST, host="2130706433"),
    Case("host 0.0.0.0", NO_HOST, host="0.0.0.0"),
    Case("host with an open bracket", NO_HOST, host="[::1"),
    Case("host with rest after bracket", NO_HOST, host="[::1]evil"),
    Case("host empty", {400, 403}, host=""),
    Case("host missing", {400}, host=None),
    Case("host twice", {400}, headers=(("Host", "localhost"),)),
    Case("host with a path", {400, 403}, host="localhost/evil"),
    # Origins
    Case("origin that was allowed", OK, headers=origin("https://good.example")),
    Case("origin of a page", NO_HOST, headers=origin("https://evil.example")),
    Case("origin null", NO_HOST, headers=origin("null")),
    Case("origin of our own address", NO_HOST, headers=origin("http://127.0.0.1:8080")),
    Case("origin of localhost", NO_HOST, headers=origin("http://localhost")),
    Case("origin with http", NO_HOST, headers=origin("http://good.example")),
    Case("origin with a port", NO_HOST, headers=origin("https://good.example:444")),
    Case("origin in capitals", NO_HOST, headers=origin("HTTPS://GOOD.EXAMPLE")),
    Case("origins, one good", NO_HOST, headers=origin("https://good.example") + origin("https://evil.example")),
    Case("preflight of a page that was allowed", {204}, method="OPTIONS", authorization=(), body=b"",
         headers=(*origin("https://good.example"), ("Access-Control-Request-Method", "POST"))),
    Case("preflight of a foreign host", {403}, method="OPTIONS", authorization=(), body=b"", host="evil.example",
         headers=(*origin("https://good.example"), ("Access-Control-Request-Method", "POST"))),
    Case("preflight", {403}, method="OPTIONS", headers=origin("https://evil.example"), authorization=(), body=b""),
    Case("preflight without origin", {401}, method="OPTIONS", authorization=(), body=b""),
    # Keys
    Case("the second key", OK, authorization=("Bearer another-key-of-some-length",)),
    Case("no key", NO_KEY, authorization=()),
    Case("empty key", NO_KEY, authorization=("Bearer ",)),
    Case("bare word Bearer", NO_KEY, authorization=("Bearer",)),
    Case("wrong key", NO_KEY, authorization=("Bearer wrong",)),
    Case("key cut by one", NO_KEY, authorization=(f"Bearer {KEY[:-1]}",)),
    Case("key and one more", NO_KEY, authorization=(f"Bearer {KEY}x",)),
    Case("key in capitals", NO_KEY, authorization=(f"Bearer {KEY.upper()}",)),
    Case("key without Bearer", NO_KEY, authorization=(KEY,)),
    Case("key as Basic", NO_KEY, authorization=(f"Basic {KEY}",)),
    Case("two keys, one right", NO_KEY, authorization=(f"Bearer {KEY}", "Bearer wrong")),
    Case("both keys joined", NO_KEY, authorization=(f"Bearer {KEY}, another-key-of-some-length",)),
    Case("key beyond ASCII", NO_KEY, authorization=("Bearer \xe9\xe9\xe9",)),
    Case("key in the address", NO_KEY, authorization=(), path=f"/v1/chat/completions?key={KEY}"),
    Case("parameters in the address", {400}, path="/v1/chat/completions?stream=true"),
    get("parameters of a page", "/metrics?format=json", {400}),
    get("models without key", "/v1/models", NO_KEY, authorization=()),
    get("models with key", "/v1/models", OK),
    get("metrics without key", "/metrics", NO_KEY, authorization=()),
    get("metrics with key", "/metrics", OK),
    get("health without key", "/health", OK, authorization=()),
    get("health of a foreign host", "/health", NO_HOST, authorization=(), host="evil.example"),
    get("the API page without key", "/docs", OK, authorization=()),
    get("nothing there", "/v1/nothing", {404}),
    get("nothing there without key", "/v1/nothing", NO_KEY, authorization=()),
    get("a path upwards", "/../../etc/passwd", {404}),
    get("a path upwards, encoded", "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd", {404}),
    # Methods
    get("GET of what is posted to", "/v1/chat/completions", {405}),
    Case("PUT", {405}, method="PUT"),
    Case("DELETE", {405}, method="DELETE"),
    Case("PATCH", {405}, method="PATCH"),
    Case("POST to what is read", {405}, path="/v1/models"),
    Case("TRACE", {405}, method="TRACE", body=b"", length=""),
    Case("CONNECT", {400, 404, 405}, method="CONNECT", path="evil.example:443", body=b"", length=""),
    # Bodies
    Case("no type", {415}, kind=None),
    Case("a form", {415}, kind="application/x-www-form-urlencoded"),
    Case("plain text, as pages may send unasked", {415}, kind="text/plain"),
    Case("multipart", {415}, kind="multipart/form-data; boundary=x"),
    Case("JSON with a charset", OK, kind="application/json; charset=utf-8"),
    Case("JSON-like type", {415}, kind="application/jsonx"),
    Case("empty body", {400}, body=b""),
    Case("broken JSON", {400}, body=b'{"messages":'),
    Case("JSON that nests deep", {400}, body=b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    Case("a list", {400}, body=b"[]"),
    Case("bytes that are no text", {400}, body=b'{"messages": "\xff\xfe"}'),
    Case("said to be too large", {413}, length="4000001", body=b""),
    Case("said to be huge", {400, 413}, length="9" * 30, body=b""),
    Case("length below zero", {400}, length="-1"),
    Case("length no number", {400}, length="ten"),
    Case("a remote image", {400}, body=json.dumps({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]}]}).encode()),
    Case("a long head", {400, 431}, headers=tuple((f"X-{n}", "y" * 1000) for n in range(40))),
    Case("number out of bounds", {400}, body=BODY.replace(b'"max_tokens": 1', b'"max_tokens": -2')),
    Case("number not finite", {400}, body=BODY.replace(b'"temperature": 0', b'"temperature": NaN')),
    Case("number beyond bounds", {400}, body=BODY.replace(b'"max_tokens": 1', b'"max_tokens": 1' + b"0" * 400)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_who_is_let_in(case: Case, served: tuple[ServerHandle, int]) -> None:
    answer = await exchange(served[1], case.raw())
    assert status_of(answer) in case.expected, answer[:300]
    readable = (
        case.headers[:1] == origin("https://good.example") and ("Origin", "https://evil.example") not in case.headers
    )
    assert (b"access-control-allow-origin: https://good.example" in answer.lower()) is readable
    assert (b"access-control-allow" in answer.lower()) is readable
    if status_of(answer) >= 400 and b"application/json" in answer:
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]) >= {"message", "type", "code"}


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


async def test_a_body_in_chunks_is_measured_as_it_comes(served: tuple[ServerHandle, int]) -> None:
    head = Case("", set(), length="", body=b"", headers=(("Transfer-Encoding", "chunked"),)).raw()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = await exchange(served[1], head + chunk * 70)
    assert status_of(answer) == 413


def post_at_once(port: int, path: str, size: int, **headers: str) -> tuple[int, dict[str, Any]]:
    """Send a whole body before anything is read, as Python's own client does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"} | headers
    connection.request("POST", path, b" " * size, given)
    answer = connection.getresponse()
    told = json.loads(answer.read())["error"]
    connection.close()
    return answer.status, told


@pytest.mark.parametrize("size", [4_100_000, 30_000_000])
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/chat/completions", {}, 413),
        ("/v1/chat/completions", {"Connection": "close"}, 413),
        ("/v1/chat/completions", {"Authorization": "Bearer wrong"}, 401),
        ("/v1/chat/completions", {"Content-Type": "text/plain", "Content-Length": "3000000"}, 415),
        ("/v1/chat/completions", {"Host": "evil.example"}, 403),
        ("/v1/nothing", {"Content-Length": "3000000", "Connection": "close"}, 404),
        ("/v1/models", {"Content-Length": "3000000", "Connection": "close"}, 405),
    ],
)
def test_a_client_that_sends_on_sees_the_refusal_and_no_reset_connection(
    path: str, headers: dict[str, str], status: int, size: int, served: tuple[ServerHandle, int]
) -> None:
    length = int(headers.get("Content-Length", size))
    found, told = post_at_once(served[1], path, length, **headers)
    assert found == status
    assert told["message"]


def test_a_body_in_chunks_that_is_too_large_sees_its_refusal(served: tuple[ServerHandle, int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served[1], timeout=120)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/completions", (b" " * 65536 for _ in range(100)), headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


async def test_slow_heads_and_bodies_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await guard.answer(send, 200, {})

    port = free_port()
    options = ServerOptions("", "m", "", "", "", KEY, None, host="127.0.0.1", port=port)
    config = uvicorn.Config(
        guard.Guard(app, options),
        host="127.0.0.1",
        port=port,
        http=listener.PatientProtocol,
        lifespan="off",
        log_level="error",
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    assert status_of(await exchange(port, Case("", set()).raw())) == 200
    assert await exchange(port, b"POST / HT") == b""
    assert await exchange(port, b"POST / HTTP/1.1\r\nHost: localhost\r\nX: ") == b""
    assert status_of(await exchange(port, Case("", set(), length="500").raw())) == 408
    server.should_exit = True
    await running


def test_a_public_address_always_needs_a_key() -> None:
    for host, public in (
        ("0.0.0.0", True),
        ("192.168.1.5", True),
        ("::", True),
        ("box.local", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("localhost", False),
    ):
        assert guard.is_public(host) == public
        checked = guard.Guard(
            lambda *_: None, ServerOptions("", "m", "", "", "", KEY, None, host=host, open_access=True)
        )  # type: ignore[arg-type, return-value]
        assert (checked._caller([], over_tcp=True) is None) == public


def test_keys_are_made_kept_private_and_checked(workspace: Workspace) -> None:
    from llmops_tui.cli.options import Globals
    from llmops_tui.cli.output import Session
    from llmops_tui.cli.serve_address import keys_of

    session = Session(Globals(workspace=str(workspace.root)))
    keys, path = keys_of(session, None, no_key=False, host="127.0.0.1")
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(keys[0]) >= 43
    assert keys_of(session, None, no_key=False, host="127.0.0.1")[0] == keys
    assert keys_of(session, None, no_key=True, host="127.0.0.1") == ((), None)
    with pytest.raises(InputRefusedError, match="other machines"):
        keys_of(session, None, no_key=True, host="0.0.0.0")
    for empty in ("", " "):
        for no_key in (True, False):
            with pytest.raises(InputRefusedError, match="all addresses"):
                keys_of(session, None, no_key=no_key, host=empty)
    assert keys_of(session, None, no_key=True, host=None) == ((), None)
    path.chmod(0o640)
    with pytest.raises(InputRefusedError, match="other users can read"):
        keys_of(session, None, no_key=False, host="127.0.0.1")
    path.chmod(0o600)
    path.write_text("# a remark\na-key-with-a-#-in-its-middle\n  # another\n")
    assert keys_of(session, path, no_key=False, host=None)[0] == ("a-key-with-a-#-in-its-middle",)
    path.write_text("short\n")
    with pytest.raises(InputRefusedError, match="16 characters"):
        keys_of(session, path, no_key=False, host="127.0.0.1")


def mutated(rng: random.Random) -> bytes:
    """A request that is broken somewhere: its bytes, its JSON, or its shape."""
    path = rng.choice(
        ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize", "/v1/responses"]
    )
    value: Any = rng.choice(
        [
            None,
            True,
            -1,
            0,
            2**63,
            1e308,
            "x" * rng.randrange(2000),
            "\0",
            "🦊" * 9,
            [],
            {},
            [[]],
            [{}],
            [1, -1],
            [2**40],
            {"a": {}},
        ]
    )
    names = [
        "messages",
        "prompt",
        "input",
        "content",
        "tokens",
        "model",
        "max_tokens",
        "temperature",
        "stop",
        "n",
        "seed",
        "logprobs",
        "echo",
        "stream",
        "response_format",
        "grammar",
        "tools",
        "tool_choice",
        "logit_bias",
        "truncate",
        "adapter",
        "stream_options",
        "metadata",
        "top_p",
        "logprob_start_len",
        "chat_template_kwargs",
    ]
    good = {
        "messages": [{"role": "user", "content": "Hi"}],
        "prompt": "Hi",
        "input": "Hi",
        "content": "Hi",
        "tokens": [300],
        "max_tokens": 2,
    }
    body = json.dumps(good | {rng.choice(names): value for _ in range(rng.randrange(1, 4))}).encode()
    raw = bytearray(Case("", set(), path=path, body=body, headers=(("Connection", "close"),)).raw())
    for _ in range(rng.choice([0, 0, 1, 3, 20])):
        at = rng.randrange(len(raw))
        action = rng.randrange(3)
        if action == 0:
            raw[at] = rng.randrange(256)
        elif action == 1:
            del raw[at : at + rng.randrange(1, 30)]
        else:
            raw[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 10)))
        if not raw:
            raw = bytearray(b"\0")
    return bytes(raw)


async def fuzz(served: tuple[ServerHandle, int], count: int, seed: int) -> None:
    handle, port = served
    rng = random.Random(seed)
    places = asyncio.Semaphore(16)

    async def one(raw: bytes) -> None:
        async with places:
            try:
                # A request that lacks its end is waited for; not here.
                answer = await exchange(port, raw, wait=0.2 if raw.count(b"\r\n\r\n") == 0 else 5.0)
            except TimeoutError:
                return
            assert status_of(answer) != 500, (raw[:2000], answer[:500])
            if status_of(answer) == 200 and not raw.split(b" ")[1].startswith(
                (b"/health", b"/ping", b"/docs", b"/openapi")
            ):
                assert KEY.encode() in raw, raw[:500]

    for start in range(0, count, 200):
        await asyncio.gather(*(one(mutated(rng)) for _ in range(min(200, count - start))))
    assert handle.process.alive()
    assert status_of(await exchange(port, Case("", set()).raw())) == 200
    health = json.loads((await exchange(port, get("", "/health", set()).raw())).partition(b"\r\n\r\n")[2])
    assert health["last_failure"] == ""


@pytest.mark.slow
async def test_requests_that_are_none_neither_crash_nor_enter(served: tuple[ServerHandle, int]) -> None:
    await fuzz(served, 100, 1)


@pytest.mark.slow
async def test_ten_thousand_requests_that_are_none(served: tuple[ServerHandle, int]) -> None:
    await fuzz(served, 10_000, 2)


async def leave_midway(served: tuple[ServerHandle, int], count: int) -> None:
    """Clients that ask for a long stream and are gone after its first piece leave nothing running."""
    _, port = served
    body = json.dumps(
        {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 200, "stream": True, "ignore_eos": True}
    ).encode()
    raw = Case("", set(), body=body).raw()
    places = asyncio.Semaphore(32)

    async def one() -> None:
        async with places:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(raw)
            await reader.readuntil(b"data: ")
            writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(count)))

    def state() -> dict[str, Any]:
        import httpx

        headers = {"Authorization": f"Bearer {KEY}"}
        return dict(httpx.get(f"http://127.0.0.1:{port}/health", headers=headers).json())

    await asyncio.to_thread(wait_for, lambda: state()["active"] == 0)
    after = await asyncio.to_thread(state)
    assert (after["state"]["running"], after["state"]["waiting"], after["waiting"]) == (0, 0, 0)
    assert after["last_failure"] == ""


async def test_clients_that_leave_midway_leave_no_slot_behind(served: tuple[ServerHandle, int]) -> None:
    await leave_midway(served, 60)


@pytest.mark.slow
async def test_a_thousand_clients_that_leave_midway(served: tuple[ServerHandle, int]) -> None:
    await leave_midway(served, 1000)
