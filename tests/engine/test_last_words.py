"""A server that ends tells those whom it does not answer any more, in the form of their address."""

from __future__ import annotations

import asyncio
import json
import logging
import socket

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from llmops_tui.inference.server.guard import Guard
from llmops_tui.inference.server.listener import listen_at
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.serving import make_http

KEY = "a-key-of-at-least-sixteen-characters"
SSE, LINES = "text/event-stream", "application/x-ndjson"


class Endless:
    """An application that never finishes: it sends ``sent`` of an answer, or nothing where that is none."""

    def __init__(self, kind: str, sent: bytes | None) -> None:
        self.kind, self.sent = kind, sent
        self.reached = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if self.sent is not None:
            headers = [(b"content-type", self.kind.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self.sent, "more_body": True})
        self.reached.set()
        await asyncio.Event().wait()


async def ended_under(path: str, app: Endless, *, twice: bool = False) -> httpx.Response:
    """The answer to a request that a server is ended under."""
    listening: socket.socket = listen_at("127.0.0.1", 0)
    port = listening.getsockname()[1]
    options = ServerOptions("", "m", "", "", "", "own", None, host="127.0.0.1", port=port, keys=(KEY,))
    http = make_http(Guard(app, options), options)
    http.config.timeout_graceful_shutdown = 120 if twice else 0
    serving = asyncio.create_task(http.serve([listening]))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", verify=False, headers=headers, timeout=60
    ) as client:
        asking = asyncio.create_task(client.post(path, json={}))
        await app.reached.wait()
        for _ in range(1 + twice):
            http.ask_to_end()
        await serving
        return await asking


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat"])
async def test_a_request_without_an_answer_is_told_to_come_again(
    path: str, twice: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await ended_under(path, Endless("", None), twice=twice)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    error = answer.json()["error"]
    assert "the server is ending" in (error if path == "/api/chat" else error["message"])
    assert path == "/api/chat" or error["code"] == "server_ending"
    assert answer.json().get("type") == ("error" if path == "/v1/messages" else None)
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("path", "kind", "sent"),
    [
        ("/v1/chat/completions", SSE, b'data: {"a": 1}\n\n'),
        ("/v1/messages", SSE, b'event: a\ndata: {"a": 1}\n\n'),
        ("/v1/responses", SSE, b'event: a\ndata: {"type": "a", "sequence_number": 6, "a": 1}\n\n'),
        ("/api/chat", LINES, b'{"a": 1}\n'),
    ],
)
async def test_a_stream_that_began_ends_with_an_error(path: str, kind: str, sent: bytes) -> None:
    answer = await ended_under(path, Endless(kind, sent))
    assert answer.status_code == 200
    assert answer.content.startswith(sent)
    last = answer.content[len(sent) :].decode()
    if kind == SSE:
        assert last.startswith("data: " if path == "/v1/chat/completions" else "event: error\ndata: ")
        assert last.endswith("\n\n")
    told = json.loads(last.partition("data: ")[2] or last)
    assert "the server is ending" in str(told["error"])
    assert told.get("sequence_number") == (7 if path == "/v1/responses" else None)


@pytest.mark.parametrize(("kind", "sent"), [(SSE, b'data: {"a'), ("application/json", b'{"a": ')])
async def test_half_an_answer_is_never_a_whole_one(kind: str, sent: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await ended_under("/v1/chat/completions", Endless(kind, sent))
