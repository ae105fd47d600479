"""Serve one model over HTTP until asked to stop, or idle for too long."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.server.app import ModelServer
from llmops_tui.inference.server.guard import PROGRAM_HEAD
from llmops_tui.inference.server.listener import (
    BACKLOG,
    BoundedServer,
    PatientProtocol,
    encryption,
    listen_at,
    listen_on,
    places,
)
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.serving_note import ServingNote
from llmops_tui.inference.server.shutdown import Ending
from llmops_tui.jobs.process import identify
from llmops_tui.workspace.checksums import record_checksums_at_end
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace


async def serve(
    options: ServerOptions, state: Path, engine: Engine, starting: asyncio.Task[None], ending: Ending
) -> None:
    """Serve with an engine that is being started, until ``ending`` hears of it; ``state`` is removed at the end."""
    server = ModelServer(options, engine)
    http = make_http(server.app(), options)
    ending.tell(http.ask_to_end)
    loading = asyncio.create_task(server.load(starting))
    note = ServingNote(EventLog(Workspace(Path(options.workspace))), options)
    noting = asyncio.create_task(_note_when_loaded(note, loading, server))
    idle = asyncio.create_task(_stop_when_idle(server, http))
    sockets = listen(options)
    try:
        await http.serve(sockets)
    finally:
        idle.cancel()
        noting.cancel()
        loading.cancel()
        await server.close()
        await asyncio.to_thread(note.ended)
        clean_up(options, state)
        record_checksums_at_end(Workspace(Path(options.workspace)))


async def _note_when_loaded(note: ServingNote, loading: asyncio.Task[None], server: ModelServer) -> None:
    await asyncio.shield(loading)
    if server.failure is None:
        await asyncio.to_thread(note.began)


def make_http(app: ASGIApp, options: ServerOptions) -> BoundedServer:
    """What speaks HTTP for an application that is guarded."""
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        lifespan="off",
        http=PatientProtocol,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=PROGRAM_HEAD,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=2,
    )
    return BoundedServer(config, encryption(options.tls_cert, options.tls_key))


def listen(options: ServerOptions) -> list[socket.socket]:
    """The sockets to serve on: the workspace's own, and an address where one was asked for."""
    own = listen_on(options.socket)
    return [own, listen_at(options.host, options.port)] if options.host else [own]


def stay_reachable(http: BoundedServer, path: str) -> None:
    """Make the server's own socket again where its file is gone: cleaned up, or deleted by somebody."""
    if os.path.lexists(path):
        return
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = listen_on(path)
    except OSError as error:
        sys.stderr.write(f"the socket {path} is gone and cannot be made again: {error.strerror}\n")
        return
    http.servers[0].close()
    http.servers[0] = http.open(fresh, places(len(http.servers)))


def clean_up(options: ServerOptions, state: Path) -> None:
    """Take the server's record away, where it is still this one's, and its socket."""
    with contextlib.suppress(OSError, ValueError):
        if json.loads(state.read_text())["pid"] == os.getpid():
            state.unlink()
    Path(options.socket).unlink(missing_ok=True)


async def _stop_when_idle(server: ModelServer, http: BoundedServer) -> None:
    generator = server.generator
    needed_by = identify(server.options.needed_by)
    while True:
        await asyncio.sleep(1)
        if http.started:
            stay_reachable(http, server.options.socket)
        # A model that takes long to load is not idle meanwhile.
        if server.engine.state == "loading":
            generator.last_used = time.monotonic()
        idle = not generator.active and time.monotonic() - generator.last_used > server.options.idle_seconds
        if server.options.needed_by and not generator.active and (needed_by is None or not needed_by.alive()):
            # Also while it loads: whoever waits for it, too, loads it anew.
            http.should_exit = True
            return
        if idle or server.failure is not None:
            # A failed load stays up for a moment, so that whoever waits for it can read why.
            await asyncio.sleep(3 if server.failure is not None else 0)
            http.should_exit = True
            return
