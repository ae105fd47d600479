"""Servers in this process over an engine that answers as it is told, and keys for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import httpx

from llmops_tui.inference.access.clock import LimitClock
from llmops_tui.inference.access.gate import AccessGate
from llmops_tui.inference.access.keys import Scope
from llmops_tui.inference.access.store import KeyStore, NewKey
from llmops_tui.inference.server.app import ModelServer
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
OWN = "the-own-key-of-the-workspace"
HI = [{"role": "user", "content": "Hi"}]
SAID = 4
"""Tokens of an answer that is not cut shorter; of every prompt there are 10."""
PROMPT = 10


class Counting:
    """An engine whose prompts have ten tokens, and whose answers have four where they may; it keeps what it was asked.

    With ``hold`` an answer stops after its first token until that is set.
    """

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.info = {
            "n_vocab": 2048,
            "n_ctx": 512,
            "engine": "fake",
            "bos": "",
            "eos": "",
            "ranks": True,
            "labels": ["good"],
            "fills": True,
        }
        self.pid, self.state, self.fallback, self.last_failure = 1, "ok", {}, ""
        self.lost: Callable[[], None] = lambda: None
        self.works, self.silent_for, self.hang_seconds = False, 0.0, 300.0
        self.hold: asyncio.Event | None = None
        self.held = asyncio.Event()
        self.evaluated = 0

    async def start(self) -> None:
        pass

    async def facts(self) -> dict[str, Any]:
        return self.info

    async def stop(self) -> None:
        pass

    def when_over(self, request_id: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """What was cut came to its prompt and one token."""
        tell({"finish_reason": "cancelled", "prompt_tokens": PROMPT, "completion_tokens": 1})

    async def call(self, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        self.calls.append(request)
        told = {"id": request["id"]}
        result: dict[str, Any] = {"finish_reason": "length", "reused_tokens": 0, "dimensions": 1, "text": ""}
        if request["op"] in {"embed", "rank", "classify"}:
            result["tokens"] = PROMPT * len(request["inputs"])
            for index in range(len(request["inputs"])):
                yield [told | {"event": "vector", "index": index, "embedding": "AACAPw=="}]
        elif request["op"] == "generate":
            made = min(SAID, request["parameters"]["max_tokens"])
            yield [told | {"event": "text", "text": "a"}]
            if self.hold is not None:
                self.held.set()
                await self.hold.wait()
            self.evaluated += PROMPT + made
            result |= {"prompt_tokens": PROMPT, "completion_tokens": made, "total_ms": 250.0}
        elif request["op"] == "count":
            result = {"count": PROMPT * len(request.get("inputs", [1])), "longest": PROMPT}
        else:
            result |= {"count": PROMPT, "tokens": [1], "pieces": ["a"]}
        yield [told | {"event": "done", "result": result}]


class Time:
    """The clocks of a machine, told by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def clock(self) -> LimitClock:
        """A clock for a limiter."""
        return LimitClock(lambda: self.now, lambda: self.now, lambda: "boot")


class Doors:
    """One model's server, and clients of it by their keys."""

    def __init__(self, workspace: Workspace, time: Time, **options: Any) -> None:
        self.workspace = workspace
        self.time = time
        self.event_log = EventLog(workspace)
        self.store = KeyStore(self.event_log, clock=lambda: time.now)
        self.engine = Counting()
        given = ServerOptions(
            str(workspace.root), "m", str(MODEL), "", "", OWN, TEMPLATE,
            **{"host": "127.0.0.1", "keys": ("a-key-of-the-owner-file",), "parallel": 4} | options,
        )  # fmt: skip
        self.server = ModelServer(given, self.engine)  # type: ignore[arg-type]
        gate = AccessGate(self.event_log, time.clock(), self.store)
        self.server.gate = gate
        transport = httpx.ASGITransport(app=self.server.app())
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def key(self, name: str = "app", **scope: Any) -> NewKey:
        """A key that was made just now."""
        return self.store.create(name, Scope(**scope))

    async def ask(self, secret: str, path: str, body: Any, method: str = "POST") -> httpx.Response:
        """One request with a key."""
        headers = {"Authorization": f"Bearer {secret}"}
        if method == "POST" and body is not None:
            return await self.http.post(path, json=body, headers=headers)
        return await self.http.request(method, path, headers=headers)

    async def chat(self, secret: str, **more: Any) -> httpx.Response:
        """A chat completion."""
        return await self.ask(secret, "/v1/chat/completions", {"messages": HI, "max_tokens": SAID, **more})

    def left(self, key: NewKey) -> dict[str, int]:
        """What is left of a key's limits now, by unit and span."""
        connection = self.event_log.connection()
        now = self.server.gate.limiter.now(connection, write=False)
        standings = self.server.gate.limiter.standings(connection, key.key, now)
        return {f"{one.unit} a {one.span}": one.left for one in standings}


@contextlib.asynccontextmanager
async def opened(workspace: Workspace, **options: Any) -> AsyncIterator[Doors]:
    """Doors that are closed at the end."""
    doors = Doors(workspace, Time(), **options)
    try:
        yield doors
    finally:
        await doors.http.aclose()
        await doors.server.close()
