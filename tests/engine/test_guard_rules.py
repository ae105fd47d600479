"""What the guard lets in, of requests that never reach a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from llmops_tui.inference.server.callers import key_name
from llmops_tui.inference.server.guard import Guard
from llmops_tui.inference.server.options import ServerOptions

KEY = "a-key-of-at-least-sixteen-characters"
OPTIONS = ServerOptions("", "m", "", "", "", "own", None, host="127.0.0.1", port=1, keys=(KEY,))


async def status_of(method: str, path: str, **headers: str) -> int:
    """The status of a request; 200 where it is let in."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    sent: list[Any] = []
    given = {"host": "127.0.0.1:1"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 2),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    await Guard(app, OPTIONS)(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_of_a_key_has_no_case(scheme: str) -> None:
    assert await status_of("GET", "/v1/models", authorization=f"{scheme} {KEY}") == 200
    assert await status_of("GET", "/v1/models", authorization=f"{scheme} {KEY.upper()}") == 401


async def test_whether_a_server_lives_needs_no_key() -> None:
    assert await status_of("GET", "/") == 200
    assert await status_of("GET", "/api/tags") == 401


async def test_what_an_address_says_alone_needs_no_body() -> None:
    key = {"authorization": f"Bearer {KEY}"}
    cancel = "/v1/batches/batch_1/cancel"
    assert await status_of("POST", cancel, **key) == 200
    assert await status_of("POST", cancel, content_length="0", **key) == 200
    assert await status_of("POST", cancel, content_length="2", content_type="application/json", **key) == 200
    assert await status_of("POST", cancel, content_length="2", **key) == 415
    assert await status_of("POST", cancel, transfer_encoding="chunked", **key) == 415
    assert await status_of("POST", cancel, content_length="0", content_type="text/plain", **key) == 415
    assert await status_of("POST", "/v1/batches", **key) == 415


@pytest.mark.parametrize(
    ("encoding", "status"), [("gzip", 415), ("identity, deflate", 415), ("br", 415), ("identity", 200)]
)
async def test_a_compressed_body_is_refused_by_name(encoding: str, status: int) -> None:
    head = {"authorization": f"Bearer {KEY}", "content_type": "application/json", "content_encoding": encoding}
    assert await status_of("POST", "/v1/messages", **head) == status


@pytest.mark.parametrize("open_access", [True, False])
def test_whose_files_these_are_is_told_by_the_key_alone(open_access: bool) -> None:
    guard = Guard(None, replace(OPTIONS, open_access=open_access))  # type: ignore[arg-type]

    def owner(key: str, *, over_tcp: bool) -> str | None:
        found = guard._caller([f"Bearer {key}".encode()] if key else [], "127.0.0.1", over_tcp=over_tcp)
        return None if found is None else found.owner

    # The workspace's own key has its own files, from wherever it comes; who needs no key shares those of all such.
    assert owner("own", over_tcp=True) == owner("own", over_tcp=False) == "own"
    assert owner(KEY, over_tcp=True) == key_name(KEY)
    for key in ("", "unknown"):
        assert owner(key, over_tcp=True) == ("open" if open_access else None)
    assert len({"own", "open", key_name(KEY)}) == 3
    # Only over its socket does it name runs.
    told = [guard._caller([b"Bearer own"], over_tcp=over) for over in (True, False)]
    assert [one.own for one in told if one is not None] == [False, True]
