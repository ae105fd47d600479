"""The Prometheus endpoint, behind the same guard as the model servers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from llmops_tui.inference.server.guard import Guard
from llmops_tui.inference.server.listener import BoundedServer, PatientProtocol, encryption, listen_at
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.socket_transport import async_socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.monitoring.exporter import page
from llmops_tui.monitoring.recorder import Recorder

_SECONDS = 2.0
# A driver that hangs holds up all looking: what was seen before must not pass for what is.
_STALE_SECONDS = 30.0


def application(recorder: Recorder, options: ServerOptions) -> ASGIApp:
    """The application: ``/metrics``, and ``/health`` which tells whether it looks; neither tells what is old as new."""
    supervisor = ServerSupervisor(recorder.workspace)

    async def metrics(_request: Request) -> Response:
        moment = recorder.moment
        if moment is None:
            return PlainTextResponse("not ready yet\n", 503)
        if recorder.age > _STALE_SECONDS:
            told = recorder.trouble or "a sample has not finished"
            return PlainTextResponse(f"no sample for {recorder.age:.0f} s: {told}\n", 503)
        handles = await asyncio.to_thread(supervisor.running)
        pages = await asyncio.gather(*(_page_of(handle) for handle in handles))
        body = await asyncio.to_thread(page, moment, [text for text in pages if text])
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def health(_request: Request) -> Response:
        status = "loading" if recorder.moment is None else "stale" if recorder.age > _STALE_SECONDS else "ok"
        return JSONResponse({"status": status}, 200 if status == "ok" else 503)

    return Guard(Starlette(routes=[Route("/metrics", metrics), Route("/health", health)]), options)


async def _page_of(handle: ServerHandle) -> str:
    """The page of one model server; empty where it does not answer."""
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(
            transport=async_socket_transport(handle.socket),
            base_url="http://localhost",
            timeout=_SECONDS,
            headers={"Authorization": f"Bearer {handle.key}"},
        ) as client:
            answer = await client.get("/metrics")
            return answer.text if answer.status_code == 200 else ""
    return ""


def serve(recorder: Recorder, options: ServerOptions, ready: Callable[[], None]) -> None:
    """Record and answer until interrupted."""
    config = uvicorn.Config(
        application(recorder, options),
        log_level="error",
        access_log=False,
        lifespan="off",
        http=PatientProtocol,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = BoundedServer(config, encryption(options.tls_cert, options.tls_key))

    async def run() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, setattr, server, "should_exit", True)
        config.load()
        server.lifespan = config.lifespan_class(config)
        sockets = [listen_at(options.host, options.port)]
        await server.startup(sockets)
        ready()
        await server.main_loop()
        await server.shutdown(sockets)

    recorder.start()
    try:
        asyncio.run(run())
    finally:
        recorder.stop()
