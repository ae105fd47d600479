"""One request passed to a model's server, and its answer passed back as it comes."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.experiments.outcomes import AnswerOutcome
from llmops_tui.inference.experiments.traced import EXPERIMENT
from llmops_tui.inference.prompt_traced import PROMPT, RETRIEVED
from llmops_tui.inference.router.pool import ModelPool, Upstream
from llmops_tui.inference.server.answers import error_body
from llmops_tui.inference.server.callers import ON_BEHALF, OWNER, Caller
from llmops_tui.inference.server.connection import while_connected
from llmops_tui.inference.server.last_words import StreamEnd
from llmops_tui.models.registry import Model

if TYPE_CHECKING:
    from llmops_tui.inference.server_record import ServerHandle

# A server may end for idleness just when it is asked, and its successor must not do so for ever.
_TRIES = 3
# Of one connection, or of access to this server alone; the guard of the model's server asks for its own.
_OWN_HEADERS = {
    b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"expect",
    b"content-length", b"authorization", b"x-api-key", b"api-key", b"cookie", b"origin", b"date", b"server", ON_BEHALF,
    EXPERIMENT, PROMPT, RETRIEVED,
}  # fmt: skip
# What an answer's beginning is looked through for; its id stands near the start.
_BEGINNING = 4096
_ID = re.compile(rb'"(resp_[A-Za-z0-9]{1,80})"')
_DIED = error_body("server_died", "the server of this model died while it answered", "Try again.", "server_error")

Told = Callable[[str, "ServerHandle"], None]
"""Learns the id of a response, and which server made it."""
Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Watching:
    """Of an experiment's request: what its server is told, and who learns that its answer failed."""

    header: Header | None
    failed: Callable[[], Awaitable[None]]


class LoadFailedError(LlmopsError):
    """A model that is registered could not be loaded; its code and message are the reason's."""


class Passed(Response):
    """An answer that comes from a model's server; its length and type are the server's."""

    def __init__(
        self,
        request: Request,
        answer: httpx.Response,
        release: contextlib.AsyncExitStack,
        told: Callable[[str], None] | None = None,
        watching: Watching | None = None,
    ) -> None:
        """``release`` is closed at the end, whatever that is; ``told`` learns the id of a response."""
        self.status_code = answer.status_code
        self.background = None
        self.raw_headers = _kept(answer.headers.raw, {b"content-length"})
        self._request = request
        self._answer = answer
        self._release = release
        self._told = told
        self._watching = watching
        self._outcome = AnswerOutcome(answer.status_code) if watching is not None else None
        self._noted = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  as responses are called
        """Send it; a client that leaves ends the work on it."""
        try:
            await while_connected(self._request, self._send_all(send))
        except LlmopsError as error:
            if error.code != "client_left":
                raise
        finally:
            await self._release.aclose()
            await self._note_failure()

    async def _note_failure(self) -> None:
        """Have it kept that the answer failed, before its client has the end of it and asks again."""
        if self._watching is not None and self._outcome is not None and self._outcome.failed and not self._noted:
            self._noted = True
            await self._watching.failed()

    def tell(self, headers: Iterable[Header]) -> None:
        """Tell the client more beside the answer."""
        self.raw_headers += headers

    async def drop(self) -> None:
        """Leave the answer unread."""
        await self._release.aclose()

    async def _send_all(self, send: Send) -> None:
        await self._note_failure()
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        end = StreamEnd(self._request.url.path)
        seen = b"" if self._told is not None else None
        try:
            # The next piece is read when this one is on its way: a slow client slows the model's server down, not our memory.
            async for piece in self._answer.aiter_raw():
                if seen is not None and self._told is not None and len(seen) < _BEGINNING:
                    seen += piece
                    if found := _ID.search(seen):
                        self._told(found[1].decode())
                        seen = None
                end.see(piece)
                if self._outcome is not None:
                    self._outcome.see(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except httpx.TransportError:
            if self._outcome is not None:
                self._outcome.break_off()
            last = end.last_words(self._answer.headers.get("content-type", ""), _DIED, 502)
            if last is None:
                # Unfinished, the connection is cut, so that nobody takes half an answer for a whole one.
                return
            await send({"type": "http.response.body", "body": last, "more_body": True})
        if self._outcome is not None:
            self._outcome.end()
        await self._note_failure()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(frozen=True)
class Asked:
    """A request as a model's server gets it, now or later."""

    method: str
    place: bytes
    headers: tuple[Header, ...]
    raw: bytes

    @classmethod
    def of(cls, request: Request, raw: bytes, more: Iterable[Header] = ()) -> Asked:
        """A client's request with this body, and more headers."""
        headers = _kept(request.scope["headers"], set())
        caller: Caller = request.scope["caller"]
        if not caller.own:
            headers.append((ON_BEHALF, caller.passed_on()))
        headers += more
        query = request.scope.get("query_string", b"")
        place = request.scope["raw_path"] + (b"?" + query if query else b"")
        return cls(request.method, place, tuple(headers), raw)

    def beside(self, raw: bytes, more: Iterable[Header]) -> Asked:
        """The same request with another body, as nobody's run: what a program of ours calls its run is one answer's name."""
        kept = tuple(pair for pair in self.headers if pair[0] not in {EXPERIMENT, PROMPT, RETRIEVED, ON_BEHALF})
        behalf = next((v for n, v in self.headers if n == ON_BEHALF), Caller(own=False, client=OWNER).passed_on())
        return Asked(self.method, self.place, (*kept, (ON_BEHALF, behalf), *more), raw)

    async def send(self, upstream: Upstream) -> httpx.Response:
        """The answer as it begins; whoever asks closes it.

        Raises:
            httpx.TransportError: the server cannot be reached, or went away.
        """
        url = upstream.http.base_url.copy_with(raw_path=self.place)
        asked = upstream.http.build_request(self.method, url, content=self.raw or None, headers=list(self.headers))
        return await upstream.http.send(asked, stream=True)

    async def ask_unseen(self, pool: ModelPool, model: Model) -> bool:
        """Ask to the end, with nobody there who reads it; whether the answer failed.

        Raises:
            LlmopsError: the model cannot be loaded.
        """
        async with pool.use(model) as upstream:
            try:
                answer = await self.send(upstream)
                outcome = AnswerOutcome(answer.status_code)
                try:
                    async for piece in answer.aiter_raw():
                        outcome.see(piece)
                finally:
                    await answer.aclose()
            except httpx.TransportError:
                pool.lost(upstream)
                return True
        return bool(outcome.failed)


async def pass_on(
    pool: ModelPool,
    request: Request,
    model: Model,
    raw: bytes,
    told: Told | None = None,
    watching: Watching | None = None,
    headers: Iterable[Header] = (),
) -> Passed:
    """The answer of a model's server to a request with this body; ``told`` learns of the response that it makes.

    ``headers`` are more of them for the model's server.

    Raises:
        LoadFailedError: the model cannot be loaded.
        LlmopsError: ``client_left``; ``server_died``: it went away before it answered.
    """
    seen = (watching.header,) if watching is not None and watching.header is not None else ()
    asked = Asked.of(request, raw, (*headers, *seen))
    for attempt in range(1, _TRIES + 1):
        async with contextlib.AsyncExitStack() as stack:
            upstream = await _loaded(pool, request, model, stack)
            try:
                answer = await while_connected(request, asked.send(upstream))
            except httpx.ConnectError as error:
                # Nothing was sent yet.
                pool.lost(upstream)
                if attempt == _TRIES:
                    raise _died(model.name) from error
                continue
            except httpx.TransportError as error:
                pool.lost(upstream)
                raise _died(model.name) from error
            stack.push_async_callback(answer.aclose)
            learns = functools.partial(_tell, told, upstream.handle) if told is not None else None
            return Passed(request, answer, stack.pop_all(), learns, watching)
    raise AssertionError("unreachable")


def _tell(told: Told, maker: ServerHandle, made: str) -> None:
    told(made, maker)


async def _loaded(pool: ModelPool, request: Request, model: Model, stack: contextlib.AsyncExitStack) -> Upstream:
    try:
        return await while_connected(request, stack.enter_async_context(pool.use(model)))
    except LlmopsError as error:
        if error.code == "client_left":
            raise
        raise LoadFailedError(error.code, f"{model.name!r} cannot be loaded: {error.message}", error.hint) from error


def _kept(headers: list[tuple[bytes, bytes]], beside: set[bytes]) -> list[tuple[bytes, bytes]]:
    return [(n.lower(), v) for n, v in headers if n.lower() not in _OWN_HEADERS or n.lower() in beside]


def _died(model: str) -> LlmopsError:
    return LlmopsError(
        "server_died", f"the server of {model!r} died before it answered", "Try again: the model is loaded again."
    )
