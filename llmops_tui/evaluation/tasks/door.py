"""A local address for a model server that listens on a socket, while another program asks it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from llmops_tui.inference.endpoints import Endpoint
from llmops_tui.inference.server_record import ServerHandle

_PIECE = 1 << 16


@contextlib.contextmanager
def open_door(endpoint: Endpoint) -> Iterator[str]:
    """The address of an endpoint, such as ``http://127.0.0.1:40001``; one of a socket is passed on for as long as this lasts.

    What comes is passed on as it is: the server asks for its key, which nobody else knows.
    """
    if not isinstance(endpoint, ServerHandle):
        yield endpoint.url
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="door", daemon=True)
    thread.start()
    door = _Door(endpoint.socket)
    try:
        port = asyncio.run_coroutine_threadsafe(door.open(), loop).result(30)
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(door.close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


class _Door:
    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        try:
            inner_reader, inner_writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            writer.close()
            return
        ways = [asyncio.create_task(_copy(reader, inner_writer)), asyncio.create_task(_copy(inner_reader, writer))]
        try:
            # A client that has said everything is still to be answered; the server closes when it hears no more.
            await ways[1]
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, inner_writer):
                end.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
