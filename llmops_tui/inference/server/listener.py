"""The listening sockets: how many connections each takes, how long an idle one lives, and which are closed first.

asyncio's own way to accept takes all that come before it counts any, and writes a traceback for each one that it has no
descriptor for. Here each socket has so many places; where they are taken, the oldest connection goes that has no request
of somebody who was let in, so that no number of half-open heads keeps anybody out or ends a stream. Where there is none, an
address that has more of them than the newcomer's gives one up whose answer has not begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmops_tui.inference.server.answers import error_body

HEAD_SECONDS = 20.0
BACKLOG = 1024
# Places of one socket, descriptors allowing: the engine runs few requests at once, and 64 more may wait.
_MOST = 512
# Descriptors for everything that is no connection, and how many are asked of the system.
_OTHER_DESCRIPTORS = 128
_DESCRIPTORS = 4096
_AT_ONCE = 64
_PAUSE_SECONDS = 1.0
# How long the server waits at its end for answers to be broken off.
_LAST_WORDS_SECONDS = 1.0
_BUSY = json.dumps(
    error_body("too_many_connections", "too many connections are open", kind="rate_limit_error")
).encode()
_TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Length: %d\r\n" % len(_BUSY)
)


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP protocol, but a client that does not finish a request's head in time is cut off."""

    _head_timer: asyncio.TimerHandle | None = None
    # Told when the connection is gone.
    left: Callable[[PatientProtocol], None] | None = None

    @property
    def gives_way(self) -> bool:
        """Whether it holds its place without a request of somebody who was let in that is still to be answered."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        scope: Any = cycle.scope
        return scope.get("caller") is None or bool(scope.get("answered"))

    @property
    def unanswered(self) -> bool:
        """Whether nothing of an answer was sent yet."""
        return self.cycle is None or not self.cycle.response_started

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A head is due now."""
        super().connection_made(transport)
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Between two requests the head of the next is due from its first byte on."""
        super().data_received(data)
        waiting = self.cycle is None or self.cycle.response_complete
        if not waiting:
            self._stop_clock()
        elif self._head_timer is None:
            self._head_timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._stop_clock()
        super().connection_lost(exc)
        if self.left is not None:
            self.left(self)

    def make_way(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    def turn_away(self) -> None:
        """Say that there are too many, and close."""
        scope: Any = self.cycle.scope if self.cycle is not None else {}
        page = b"".join(b"%s: %s\r\n" % header for header in scope.get("page_headers", ()))
        self.transport.write(_TURNED_AWAY + page + b"\r\n" + _BUSY)
        self.transport.close()

    def _stop_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class Listener:
    """Accepts the connections of one listening socket, ``most`` at a time; with ``tls`` they are encrypted."""

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], PatientProtocol],
        most: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.socket = listening
        self._make = make
        self._most = most
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        # In the order they came; a connection that is being encrypted has no transport yet, and goes with its task.
        self._open: dict[PatientProtocol, asyncio.Task[None]] = {}
        # Where each comes from; those of a Unix socket are all the same.
        self._from: dict[PatientProtocol, str] = {}
        self._short_of_descriptors = False
        self._closed = False
        listening.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self.socket)
            self.socket.close()

    async def wait_closed(self) -> None:
        """As servers of asyncio have it; connections are waited for elsewhere."""

    def _watch(self) -> None:
        if not self._closed:
            self._loop.add_reader(self.socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._without_descriptors(error)
                return
            connection.setblocking(False)
            host = str(address[0]) if isinstance(address, tuple) else ""
            if len(self._open) >= self._most and not (self._one_gives_way() or self._one_of_many_goes(host)):
                self._turn_away(connection)
                continue
            protocol = self._make()
            task = self._loop.create_task(self._take(connection, protocol))
            self._open[protocol], self._from[protocol] = task, host
            protocol.left = self._left

    async def _take(self, connection: socket.socket, protocol: PatientProtocol) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=HEAD_SECONDS if self._tls else None
            )
        except (OSError, asyncio.CancelledError):
            # It left, did not speak TLS, or had to make way; none of that is worth a line.
            connection.close()
            self._left(protocol)

    def _left(self, gone: PatientProtocol) -> None:
        self._open.pop(gone, None)
        self._from.pop(gone, None)

    def _one_gives_way(self) -> bool:
        oldest = next((p for p in self._open if p.gives_way), None)
        if oldest is None:
            return False
        # Its place is free now, whenever the transport tells of its end.
        self._open.pop(oldest).cancel()
        self._from.pop(oldest, None)
        oldest.make_way()
        return True

    def _one_of_many_goes(self, host: str) -> bool:
        """Turn away the newest unanswered request of the address with most places, where it has more than ``host`` would."""
        held = Counter(self._from[protocol] for protocol in self._open)
        (most, count), *_ = held.most_common(1)
        if count <= held[host] + 1:
            return False
        newest = next((p for p in reversed(self._open) if self._from[p] == most and p.unanswered), None)
        if newest is None:
            return False
        self._left(newest)
        newest.turn_away()
        return True

    def _turn_away(self, connection: socket.socket) -> None:
        if self._tls is None:
            with contextlib.suppress(OSError):
                connection.send(_TURNED_AWAY + b"\r\n" + _BUSY)
        connection.close()

    def _without_descriptors(self, error: OSError) -> None:
        """Make one free, and look again in a moment; told once."""
        if not self._short_of_descriptors:
            self._short_of_descriptors = True
            sys.stderr.write(f"no connection can be taken: {error.strerror}; half-open ones make way\n")
        self._one_gives_way()
        self._loop.remove_reader(self.socket)
        self._loop.call_later(_PAUSE_SECONDS, self._watch)


class BoundedServer(uvicorn.Server):
    """uvicorn's server behind doors. ``tls`` is for addresses; a Unix socket needs none."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(config)
        self._tls = tls

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """None: uvicorn's own are gone before what is due at the end has been written, and raise a signal again."""
        return contextlib.nullcontext()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; who is not answered in time is told so, before what would answer goes."""
        await super().shutdown(sockets)
        # Asked twice to end, it waited for none of them and broke none off.
        left = set(self.server_state.tasks)
        for task in left:
            if not task.cancelling():
                task.cancel()
        if left:
            await asyncio.wait(left, timeout=_LAST_WORDS_SECONDS)

    def ask_to_end(self) -> None:
        """End in good order; asked again, without waiting for what is being answered."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open a door for each socket, which listens already."""
        await self.lifespan.startup()
        most = places(len(sockets or ()))
        self.servers: list[Any] = [self.open(each, most) for each in sockets or ()]
        self.started = True

    def open(self, listening: socket.socket, most: int) -> Listener:
        """A door for one more socket."""
        tls = None if listening.family == socket.AF_UNIX else self._tls
        return Listener(listening, self._protocol, most, tls)

    def _protocol(self) -> PatientProtocol:
        return PatientProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def places(listeners: int) -> int:
    """How many connections each of so many sockets may have; the system is asked for more descriptors where it gives them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS:
        wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(_AT_ONCE, min(_MOST, (soft - _OTHER_DESCRIPTORS) // max(1, listeners)))


def listen_at(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        OSError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    public = socket.socket(family, socket.SOCK_STREAM)
    public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    public.bind((host, port))
    public.listen(BACKLOG)
    return public


def listen_on(path: str) -> socket.socket:
    """A Unix socket that listens; as :func:`listen_at`."""
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own.bind(path)
    own.listen(BACKLOG)
    return own


def encryption(certificate: str, key: str) -> ssl.SSLContext | None:
    """What encrypts an address; none without a certificate.

    Raises:
        OSError: a file cannot be read (``ssl.SSLError`` is one: what is in them does not belong together).
        ValueError: the key asks for a password, which nobody would be there to give.
    """
    if not certificate:
        return None
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(certificate, key or None, password=_no_password)
    return made


def _no_password() -> str:
    raise ValueError("the key is protected by a password")
