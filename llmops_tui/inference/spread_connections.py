"""Connections to one server, of which each is looked at alone.

httpcore goes through all connections of a pool whenever a request begins or ends, and asks the system of each that is idle
whether it is still open: with thirty requests at once that is a third of a request's work. Here each is a pool of one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import httpx

# What is idle for so long is closed, one with each request that ends.
_IDLE_SECONDS = 30.0


class SpreadConnections(httpx.AsyncBaseTransport):
    """As many connections as there are requests at once; the one that was used last is used next."""

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport]) -> None:
        """``make`` makes a transport for one request at a time."""
        self._make = make
        self._idle: list[tuple[float, httpx.AsyncBaseTransport]] = []
        self._closed = False
        self.made = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the connection is free again when its answer was read, or left."""
        if self._idle:
            _, transport = self._idle.pop()
        else:
            transport = self._make()
            self.made += 1
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            # Of a request that is cancelled at the wrong moment httpcore counts the connection as taken for ever, and this
            # pool has no other.
            await transport.aclose()
            raise
        response.stream = _Answer(cast("httpx.AsyncByteStream", response.stream), lambda: self._give_back(transport))
        return response

    async def aclose(self) -> None:
        """Close what is idle now, and all else when its answer has ended."""
        self._closed = True
        while self._idle:
            await self._idle.pop()[1].aclose()

    async def _give_back(self, transport: httpx.AsyncBaseTransport) -> None:
        if self._closed:
            await transport.aclose()
            return
        now = time.monotonic()
        self._idle.append((now, transport))
        if self._idle[0][0] < now - _IDLE_SECONDS:
            await self._idle.pop(0)[1].aclose()


class _Answer(httpx.AsyncByteStream):
    """The body of an answer, at whose end its connection is given back, once."""

    def __init__(self, stream: httpx.AsyncByteStream, give_back: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._give_back: Callable[[], Awaitable[None]] | None = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        give_back, self._give_back = self._give_back, None
        try:
            await self._stream.aclose()
        finally:
            if give_back is not None:
                await give_back()
