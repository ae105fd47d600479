"""Model servers that say what they were told to, loaded and unloaded as the pool asks, and a router before them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.access.gate import AccessGate
from llmops_tui.inference.experiments.shadows import ShadowQueue
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.filed.batches import BatchStore
from llmops_tui.inference.router.app import Router
from llmops_tui.inference.router.catalogue import Listing
from llmops_tui.inference.router.experiments import RoutedExperiments
from llmops_tui.inference.router.metrics import RouterMetrics
from llmops_tui.inference.router.names import Meant, resolve
from llmops_tui.inference.router.others import Others
from llmops_tui.inference.router.pool import ModelPool
from llmops_tui.inference.router.prompts import ServedPrompts
from llmops_tui.inference.server.apis.batches import BatchesApi
from llmops_tui.inference.server.feedback import Feedback
from llmops_tui.inference.server.listener import listen_at
from llmops_tui.inference.server.openapi import request_models
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.serving import make_http
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.stages import StageStore
from llmops_tui.jobs.leases import MemoryShortError
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.models.registry import Model
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

KEY = "a-key-of-at-least-sixteen-characters"
WHOLE = b'{"id": "chatcmpl-1",  "choices":[]}'


class FakeServer:
    """One model's server on a Unix socket. ``answer`` writes what comes after a request was read; its name is in the answer."""

    def __init__(self, name: str, socket: Path) -> None:
        self.name = name
        self.socket = socket
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.streaming = False
        self.kind = "text/event-stream"
        self.status = 200
        self.body = WHOLE
        self.dies_before_head = False
        # What the first requests get in place of the answer: status, more of the head, body.
        self.first: list[tuple[int, str, bytes]] = []
        self.left = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.socket)

    def kill(self) -> None:
        """As a process that dies: its connections end, and its socket stays behind."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await self._one(reader, writer)
        writer.close()
        self._writers.discard(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((method, path, headers, body))
        if self.dies_before_head:
            writer.transport.abort()
            raise ConnectionError
        if not self.streaming:
            status, more, body = self.first.pop(0) if self.first else (self.status, "", self.body)
            head_out = f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\nx-kept: yes\r\n{more}"
            writer.write(f"{head_out}content-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            return
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {self.kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        gone = asyncio.ensure_future(reader.read(1))
        while True:
            piece = asyncio.ensure_future(self.pieces.get())
            await asyncio.wait({piece, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                piece.cancel()
                self.left.set()
                raise ConnectionError
            if (data := piece.result()) is None:
                writer.write(b"0\r\n\r\n")
                gone.cancel()
                await asyncio.wait({gone})
                return
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()


class FakeServers:
    """The servers of a workspace: ``memory`` bytes for models of one byte each, ``gates`` that a load waits for."""

    def __init__(self, folder: Path, memory: int = 100) -> None:
        self.folder = folder
        self.memory = memory
        self.sizes: dict[str, int] = {}
        self.live: dict[str, FakeServer] = {}
        self.public: set[str] = set()
        self.elsewhere_busy: set[str] = set()
        self.loads: list[str] = []
        self.stops: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.errors: dict[str, LlmopsError] = {}
        self.prepared: dict[str, Callable[[FakeServer], None]] = {}
        self.notes: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._ledger = threading.Lock()
        self._taken: set[str] = set()

    def handle(self, server: FakeServer) -> ServerHandle:
        asked: Any = {"host": "127.0.0.1"} if server.name in self.public else {}
        return ServerHandle(
            server.name, server.name, str(server.socket), "own-key", ProcessIdentity(1, 1.0), asked=asked
        )

    def running(self) -> list[ServerHandle]:
        return [self.handle(server) for server in list(self.live.values())]

    def size(self, name: str) -> int:
        return self.sizes.get(name, 1)

    def ensure(self, model: Model) -> ServerHandle:
        # Memory is taken by one at a time, before anything is loaded.
        with self._ledger:
            if model.name in self.live:
                return self.handle(self.live[model.name])
            free = self.memory - sum(self.size(name) for name in {*self.live, *self._taken})
            if self.size(model.name) > free:
                raise MemoryShortError(model.name, "host", self.size(model.name), free, [])
            self._taken.add(model.name)
        try:
            return self._load(model)
        finally:
            self._taken.discard(model.name)

    def _load(self, model: Model) -> ServerHandle:
        self.loads.append(model.name)
        if model.name in self.gates:
            assert self.gates[model.name].wait(120)
        if model.name in self.errors:
            raise self.errors[model.name]
        self._count += 1
        server = FakeServer(model.name, self.folder / f"{self._count}.sock")
        if model.name in self.prepared:
            self.prepared[model.name](server)
        asyncio.run_coroutine_threadsafe(server.start(), self._loop).result(30)
        self.live[model.name] = server
        return self.handle(server)

    def stop(self, model: str) -> bool:
        self.stops.append(model)
        server = self.live.pop(model)
        self._loop.call_soon_threadsafe(server.kill)
        return True

    def busy(self, handle: ServerHandle) -> bool:
        return handle.model in self.elsewhere_busy

    def note(self, handle: ServerHandle) -> None:
        self.notes.add(handle.socket)

    def noted(self, handle: ServerHandle) -> bool:
        return handle.socket in self.notes

    def room_of(self, handles: list[ServerHandle], device: str) -> int:
        assert device == "host"
        return sum(self.size(handle.model) for handle in handles)


class FixedModels:
    """Registered models that do not change."""

    def __init__(self, *names: str, aliases: dict[str, str] | None = None) -> None:
        made = [Model(n, "gguf", Path(f"/m/{n}.gguf"), n, 1, {"quantization": "Q4_0"}, 0.0, None) for n in names]
        self.found = Listing(tuple(made), aliases or {})

    async def listing(self) -> Listing:
        return self.found

    async def meant(self, asked: str) -> Meant:
        return resolve(asked, self.found.models, self.found.aliases)


class Running:
    """A router at an address, and a client of it."""

    def __init__(self, url: str, servers: FakeServers, pool: ModelPool, shadows: ShadowQueue) -> None:
        self.url = url
        self.servers = servers
        self.pool = pool
        self.shadows = shadows
        # Its doors, as methods and an address.
        self.doors: list[tuple[set[str], str]] = []
        self.http = httpx.AsyncClient(
            base_url=url, verify=False, headers={"Authorization": f"Bearer {KEY}"}, timeout=120
        )

    async def ask(self, model: str | None, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
        body = ({} if model is None else {"model": model}) | more
        return await self.http.post(path, json=body)

    def server(self, name: str) -> FakeServer:
        return self.servers.live[name]


@contextlib.asynccontextmanager
async def running(
    workspace: Workspace,
    models: FixedModels,
    servers: FakeServers,
    others: Callable[[ModelPool], Others] | None = None,
    port: int = 0,
    record: str = "",
    replay: str = "",
    **pool_options: Any,
) -> AsyncIterator[Running]:
    """A router that serves these models, and what ``others`` makes beside them, on a port, or a free one."""
    metrics = RouterMetrics()
    pool = ModelPool(servers, counts=metrics, **pool_options)
    listening = listen_at("127.0.0.1", port)
    port = listening.getsockname()[1]
    options = ServerOptions(
        str(workspace.root), "--all", "", "", "", "own", None, host="127.0.0.1", port=port, keys=(KEY,),
        record=record, replay=replay,
    )  # fmt: skip
    feedback = Feedback(EventLog(workspace), "keep")
    batches = BatchesApi(BatchStore(workspace), list(request_models()))
    gate = AccessGate(EventLog(workspace))
    prompts = ServedPrompts(Catalog(workspace), StageStore(EventLog(workspace)))
    experiments = RoutedExperiments(ExperimentStore(EventLog(workspace)), pool, models, prompts)  # type: ignore[arg-type]
    beside = others(pool) if others is not None else None
    router = Router(options, pool, models, feedback, metrics, batches, experiments, gate, prompts, beside)  # type: ignore[arg-type]
    shadowing = asyncio.create_task(experiments.shadows.run())
    app: Any = router.app()
    http = make_http(app, options)
    serving = asyncio.create_task(http.serve([listening]))
    found = Running(f"http://127.0.0.1:{port}", servers, pool, experiments.shadows)
    found.doors = [(route.methods, route.path) for route in app._app.routes]
    try:
        yield found
    finally:
        shadowing.cancel()
        await found.http.aclose()
        http.ask_to_end()
        await serving
        await pool.close()
        prompts.close()
        for server in servers.live.values():
            server.kill()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(600):
        while not condition():
            await asyncio.sleep(0.005)


def event(text: str) -> bytes:
    return f"data: {json.dumps({'text': text})}\n\n".encode()
