"""Web pages: which may use the server, what their browsers are told before and with every answer, and nothing without the key."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.cli.serve_address import origins_of
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.server.answers import error_body
from llmops_tui.inference.server.guard import Guard
from llmops_tui.inference.server.listener import PatientProtocol
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.origins import AllowedOrigins
from llmops_tui.inference.server_conflict import differences
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.workspace.layout import Workspace

KEY = "a-key-of-at-least-sixteen-characters"
PAGE, OTHER = "https://app.example", "https://evil.example"
PATHS = {"/whole": 200, "/stream": 200, "/busy": 429, "/broken": 500}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers of all kinds, by path."""
    status = PATHS[scope["path"]]
    headers = [(b"content-type", b"application/json")] + ([(b"retry-after", b"1")] if status == 429 else [])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for part in range(3 if scope["path"] == "/stream" else 1):
        await send({"type": "http.response.body", "body": str(part).encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def client(*origins: str, open_access: bool = False, guarded: Any = app) -> httpx.AsyncClient:
    options = ServerOptions(
        "", "m", "", "", "", KEY, None, host="127.0.0.1", port=80, allowed_origins=origins, open_access=open_access
    )
    transport = httpx.ASGITransport(app=Guard(guarded, options))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8080")


def from_page(origin: str = PAGE, *, key: str | None = KEY) -> dict[str, str]:
    return {"Origin": origin} | ({"Authorization": f"Bearer {key}"} if key else {})


def asked(origin: str = PAGE, method: str = "POST", **more: str) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method} | more


def told(answer: httpx.Response) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-")}


async def test_the_question_before_a_request_is_answered_without_the_key_and_the_request_only_with_it() -> None:
    async with client(PAGE) as http:
        wanted = "authorization, content-type,X-Stainless-OS"
        before = await http.options("/whole", headers=asked(**{"Access-Control-Request-Headers": wanted}))
        assert before.status_code == 204
        assert before.headers["access-control-allow-origin"] == PAGE
        assert "POST" in before.headers["access-control-allow-methods"].split(", ")
        named = set(before.headers["access-control-allow-headers"].split(", "))
        assert named >= {"authorization", "x-api-key", "anthropic-version", "content-type", "x-stainless-os"}
        assert int(before.headers["access-control-max-age"]) > 0
        assert "Origin" in before.headers["vary"]
        assert "access-control-allow-private-network" not in before.headers
        assert "access-control-allow-credentials" not in before.headers
        refused = await http.post("/whole", headers=from_page(key=None), json={})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == PAGE
        assert refused.json()["error"]["code"] == "invalid_api_key"
        done = await http.post("/whole", headers=from_page(), json={})
        assert (done.status_code, done.text) == (200, "0")


async def test_a_browser_that_asks_for_a_private_network_is_told_of_it() -> None:
    async with client(PAGE) as http:
        private = {"Access-Control-Request-Private-Network": "true"}
        before = await http.options("/whole", headers=asked(**private))
        assert before.headers["access-control-allow-private-network"] == "true"
        before = await http.options("/whole", headers=asked(OTHER, **private))
        assert before.status_code == 403
        assert not told(before)


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_can_be_read_by_the_page_and_by_no_other(path: str) -> None:
    async with client(PAGE, "http://localhost:3000") as http:
        for page in (PAGE, "http://localhost:3000"):
            answer = await http.post(path, headers=from_page(page), json={})
            assert answer.status_code == PATHS[path]
            assert answer.headers["access-control-allow-origin"] == page
            assert answer.headers["vary"] == "Origin"
        exposed = answer.headers.get("access-control-expose-headers", "").split(", ")
        assert ("retry-after" in exposed) is (PATHS[path] == 429)
        for page in (OTHER, PAGE.upper(), PAGE + "/", "http://app.example", f"{PAGE}:8443", "null", ""):
            answer = await http.post(path, headers=from_page(page), json={})
            assert answer.status_code == 403
            assert not told(answer)
        # What is kept of an answer to a program must not be given to a page.
        answer = await http.post(path, headers={"Authorization": f"Bearer {KEY}"}, json={})
        assert (answer.status_code, answer.headers["vary"]) == (PATHS[path], "Origin")
        assert not told(answer)


async def test_refusals_of_the_door_can_be_read_too() -> None:
    async with client(PAGE) as http:
        refusals: dict[int, dict[str, Any]] = {
            400: {"url": "/whole?x=1", "json": {}},
            413: {"url": "/whole", "content": b" " * 4_000_001, "headers": {"Content-Type": "application/json"}},
            415: {"url": "/whole", "content": b"x"},
            431: {"url": "/whole", "json": {}, "headers": {"X-Long": "y" * 20_000}},
            403: {"url": "/whole", "json": {}, "headers": {"Host": "evil.example"}},
        }
        for status, more in refusals.items():
            headers = from_page() | more.pop("headers", {})
            answer = await http.request("POST", headers=headers, **more)
            assert answer.status_code == status, answer.text
            assert answer.headers["access-control-allow-origin"] == PAGE


async def test_without_allowed_origins_nothing_is_told_and_no_page_is_let_in() -> None:
    async with client() as http:
        assert (await http.options("/whole", headers=asked())).status_code == 403
        answer = await http.post("/whole", headers=from_page(), json={})
        assert answer.status_code == 403
        answer = await http.post("/whole", headers={"Authorization": f"Bearer {KEY}"}, json={})
        assert answer.status_code == 200
        assert not told(answer)
        assert "vary" not in answer.headers


async def test_any_origin_is_allowed_only_when_that_was_said_and_never_without_a_key() -> None:
    async with client("*") as http:
        for page in (OTHER, "null", PAGE):
            answer = await http.post("/whole", headers=from_page(page), json={})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
            assert (await http.options("/whole", headers=asked(page))).status_code == 204
            assert (await http.post("/whole", headers=from_page(page, key=None), json={})).status_code == 401
    async with client("*", open_access=True) as http:
        assert (await http.post("/whole", headers=from_page(key=None), json={})).status_code == 401
    async with client(PAGE, open_access=True) as http:
        assert (await http.post("/whole", headers=from_page(key=None), json={})).status_code == 200


async def test_options_that_ask_for_nothing_are_no_question_and_need_the_key() -> None:
    async with client(PAGE) as http:
        assert (await http.options("/whole")).status_code == 401
        assert (await http.options("/whole", headers={"Origin": PAGE})).status_code == 401
        assert (await http.options("/whole", headers={"Access-Control-Request-Method": "POST"})).status_code == 401


def test_a_connection_that_is_turned_away_says_so_to_its_page() -> None:
    written: list[bytes] = []

    class Transport:
        write = staticmethod(written.append)

        def close(self) -> None:
            written.append(b"closed")

    class Cycle:
        scope = {"page_headers": AllowedOrigins([PAGE]).of([PAGE.encode()])}  # noqa: RUF012

    protocol = object.__new__(PatientProtocol)
    protocol.transport, protocol.cycle = Transport(), Cycle()  # type: ignore[assignment]
    protocol.turn_away()
    head, _, body = written[0].partition(b"\r\n\r\n")
    assert f"access-control-allow-origin: {PAGE}".encode() in head.split(b"\r\n")
    assert json.loads(body) == error_body(
        "too_many_connections", "too many connections are open", kind="rate_limit_error"
    )
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")


@given(st.lists(st.text(alphabet="abc-_,; \t:\r\n\"'/*é", max_size=12), max_size=6))
def test_names_of_headers_come_back_as_names_or_not_at_all(names: list[str]) -> None:
    listed = [",".join(names).encode("latin-1", "replace")]
    headers = {b"origin": [b"x"], b"access-control-request-method": [b"POST"]}
    found = dict(
        AllowedOrigins(["x"]).preflight("OPTIONS", headers | {b"access-control-request-headers": listed}) or []
    )
    allowed = found[b"access-control-allow-headers"].decode().split(", ")
    assert all(name and set(name) <= set("abcdefghijklmnopqrstuvwxyz-_*'") for name in allowed)


class Said:
    """A session that keeps what is narrated."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def say(self, text: str) -> None:
        self.told.append(text)


def test_origins_are_given_as_browsers_send_them() -> None:
    session: Any = Said()
    good = [PAGE, "http://localhost:3000", "http://[::1]:5173", "chrome-extension://abcdef", "tauri://localhost", PAGE]
    assert origins_of(session, good, no_key=False) == tuple(sorted(set(good)))
    assert session.told == []
    for wrong, right in {
        "https://app.example/": PAGE,
        "HTTPS://App.Example": PAGE,
        "https://app.example:443": PAGE,
        "https://app.example/chat?x#y": PAGE,
        "https://user@app.example": PAGE,
        "https://bücher.example": "https://xn--bcher-kva.example",
    }.items():
        with pytest.raises(InputRefusedError) as caught:
            origins_of(session, [wrong], no_key=False)
        assert (caught.value.code, caught.value.hint) == ("bad_origin", f"Use --allow-origin {right}")
    for wrong in ("app.example", "", "https://", "https://*.example", "localhost:3000"):
        with pytest.raises(InputRefusedError, match="no origin as browsers send it"):
            origins_of(session, [wrong], no_key=False)
    for anybody in ("*", "null"):
        assert origins_of(session, [anybody], no_key=False) == (anybody,)
        assert anybody in session.told[-1]
        with pytest.raises(InputRefusedError, match="with --no-key"):
            origins_of(session, [anybody], no_key=True)
    assert origins_of(session, [PAGE], no_key=True) == (PAGE,)


def test_another_serve_with_other_origins_names_the_difference() -> None:
    process = ProcessIdentity(1, 1.0)
    has = LoadOptions(host="127.0.0.1", port=8080, allowed_origins=(PAGE,))
    handle = ServerHandle("m", "", "", "", process, "http://127.0.0.1:8080", json.loads(json.dumps(vars(has))))
    assert differences(handle, has) == []
    (told_of,) = differences(handle, LoadOptions(host="127.0.0.1", port=8080))
    assert PAGE in told_of
    assert "allowed_origins" in told_of


async def test_the_whole_server_tells_a_page_of_refusals_and_failures(workspace: Workspace) -> None:
    from llmops_tui.inference.server.app import ModelServer
    from tests.engine.test_request_fields import PLAIN, FakeEngine

    engine = FakeEngine()
    options = ServerOptions(str(workspace.root), "m", "", "", "", KEY, PLAIN, host="127.0.0.1", allowed_origins=(PAGE,))
    server = ModelServer(options, engine)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app=server.app(), raise_app_exceptions=False)

    def fails(error: Exception) -> Any:
        async def call(_request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
            raise error
            yield []

        return call

    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080", headers=from_page()) as http:
        chat = {"messages": [{"role": "user", "content": "Hi"}]}
        found = {
            200: await http.post("/v1/chat/completions", json=chat),
            400: await http.post("/v1/chat/completions", json=chat | {"temperatur": 1}),
            404: await http.get("/nothing"),
            405: await http.get("/v1/chat/completions"),
        }
        streamed = await http.post("/v1/chat/completions", json=chat | {"stream": True})
        engine.call = fails(LlmopsError("engine_died", "the engine died"))  # type: ignore[method-assign]
        found[503] = await http.post("/v1/chat/completions", json=chat | {"stream": True})
        engine.call = fails(RuntimeError("a fault"))  # type: ignore[method-assign]
        found[500] = await http.post("/v1/chat/completions", json=chat)
    for status, answer in [*found.items(), (200, streamed)]:
        assert answer.status_code == status, answer.text
        assert answer.headers["access-control-allow-origin"] == PAGE
    await server.close()
