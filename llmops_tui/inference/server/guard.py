"""Access control before any handler: Host and Origin, API key, size and pace of a request."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import hmac
import ipaddress
import json
import re
import socket
from collections.abc import Iterable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.access.gate import whole_seconds
from llmops_tui.inference.experiments.traced import EXPERIMENT, traced
from llmops_tui.inference.prompt_traced import PROMPT, RETRIEVED, traced_prompt, traced_retrievals
from llmops_tui.inference.server.access import Access
from llmops_tui.inference.server.callers import ON_BEHALF, OWNER, Caller, key_name, on_behalf
from llmops_tui.inference.server.error_shapes import shaped
from llmops_tui.inference.server.last_words import ENDING, Watched
from llmops_tui.inference.server.limits_told import telling_limits
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.origins import AllowedOrigins, Headers, readable
from llmops_tui.inference.server.refusals import RefusedError

MAX_BODY = 4_000_000
MAX_HEAD = 16_384
PROGRAM_HEAD = 65_536
"""Of a program of the workspace, which tells what a request was made of."""
BODY_SECONDS = 30.0
WRITE_SECONDS = 60.0
# How much of a body that was refused is read all the same, so that its client comes to read the answer.
DISCARDED_BYTES = 64_000_000
DISCARDED_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# These tell nothing that is not public: whether the server lives, and what requests look like.
_OPEN_PATHS = {"/", "/health", "/ping", "/openapi.json", "/docs"}
# Anthropic's clients say so of requests with fields that are new; which are taken does not depend on it.
_PARAMETERS = {path: {b"", b"beta=true"} for path in ("/v1/messages", "/v1/messages/count_tokens")}
# Lists whose addresses may say which part is wanted; who answers refuses what it does not know.
_LISTS = {"/v1/files", "/v1/batches"}
# What is asked by an address alone.
_BODILESS = re.compile(r"/v1/batches/[^/]+/cancel")
# Spans of other applications come as OpenTelemetry's exporters send them: in protobuf, and packed by its collector.
_KINDS = {"/v1/traces": ("application/x-protobuf",)}
_PACKED = {"/v1/traces": (b"gzip",)}
# Where a file is sent: as a form, and more of it than of any other body.
_UPLOADS = {"/v1/files"}
MAX_UPLOAD = 101_000_000
UPLOAD_SECONDS = 600.0


class Guard:
    """ASGI middleware around the application.

    - A Host that is not ours is refused, so that a name which was rebound to this address reaches nothing.
    - An Origin is refused unless it was allowed: no web page may talk to a model behind its visitor's back. One that was
      allowed gets what its browser asks for, and reads every answer; see :mod:`.origins`.
    - Keys are compared in constant time, by their hashes, all of them every time. Access keys, where there are any, are let
      in by ``access``, which knows their scopes and counts their requests, whatever they ask.
    - Bodies are bounded, must be JSON, not compressed, and must come within :data:`BODY_SECONDS`; files are sent as forms.
    - Parameters in the address are refused but for lists: none has a meaning here, and only ``beta=true`` is known to have
      none.
    """

    def __init__(self, app: ASGIApp, options: ServerOptions, access: Access | None = None) -> None:
        self._app = app
        self._access = access
        self._options = options
        # Where there is none, an empty one is no key.
        self._has_own, self._own = bool(options.key), _digest(options.key.encode())
        self._keys = [(_digest(k.encode()), key_name(k)) for k in options.keys]
        self._origins = AllowedOrigins(options.allowed_origins)
        # Without a key, listening to other machines or to any web page is refused here too, whoever started the server.
        self._open = options.open_access and not (options.host and is_public(options.host)) and not self._origins.any
        self._hosts = {h.lower() for h in (*_LOOPBACK, *options.allowed_hosts)}
        self._any_address = options.host in {"0.0.0.0", "::"}  # noqa: S104  compared, not bound
        if options.host:
            self._hosts.add(options.host.lower())
        if self._any_address:
            self._hosts.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or answer it."""
        if scope["type"] != "http":
            return
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        bounded = _Bounded(receive, *_bounds(scope))
        watched = Watched(readable(_paced(send), scope, self._origins.of(headers.get(b"origin", []))), scope["path"])
        limited = telling_limits(watched, scope)
        send = _heard_out(scope, limited, bounded) if _body_comes(scope) else limited
        try:
            self._check_place(scope, headers)
            if (told := self._origins.preflight(scope["method"], headers)) is not None:
                await _answer_preflight(send, told)
                return
            await self._let_in(scope, headers)
            body = self._check(scope, headers)
            await self._app(scope, bounded if body else receive, send)
        except RefusedError as refused:
            shown = shaped(scope["path"], refused.body, refused.status)
            await answer(send, refused.status, shown, retry_after=refused.retry_after)
        except asyncio.CancelledError:
            # The server is ending, and waits no longer for this answer.
            if watched.begun:
                await watched.break_off(ENDING, 503, whole=bool(scope.get("answered")))
            else:
                await answer(watched, 503, shaped(scope["path"], ENDING, 503))

    def _check_place(self, scope: Scope, headers: dict[bytes, list[bytes]]) -> None:
        """Refuse a head that is too large, a Host that is not ours, and pages that were not allowed."""
        most = MAX_HEAD if _over_tcp(scope) else PROGRAM_HEAD
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > most:
            raise RefusedError(431, "head_too_large", f"the head is larger than {most:,} bytes")
        if _over_tcp(scope) and not self._host_allowed(headers.get(b"host", [])):
            raise RefusedError(403, "host_refused", "this Host is not one this server answers to")
        if not self._origins.allow(headers.get(b"origin", [])):
            raise RefusedError(403, "origin_refused", "requests from web pages of this origin are not allowed")

    async def _let_in(self, scope: Scope, headers: dict[bytes, list[bytes]]) -> None:
        """Find whose request it is, and refuse it where it is nobody's, or beyond what its key is for."""
        over_tcp = _over_tcp(scope)
        address = (scope.get("client") or ("",))[0] or ""
        given, named = headers.get(b"authorization", []), headers.get(b"x-api-key", [])
        caller = self._caller(given, address, over_tcp=over_tcp, named=named)
        came_here = caller is None or not caller.own
        caller = _sender(caller, headers)
        if self._access is not None and scope["path"] not in _OPEN_PATHS:
            caller = await self._access.caller(caller, _keys_of(given, named), scope)
        if came_here and caller is not None:
            caller = dataclasses.replace(caller, recording=self._options.record, replayed=self._options.replay)
        scope["caller"] = caller
        scope["trusted"] = (caller is not None and caller.grant is None) or not over_tcp
        if scope["path"] not in _OPEN_PATHS and caller is None:
            raise RefusedError(401, "invalid_api_key", "the API key is missing or wrong", "authentication_error")

    def _check(self, scope: Scope, headers: dict[bytes, list[bytes]]) -> bool:
        """Refuse or not; returns whether a body is to come."""
        asks = scope["method"] == "GET" and scope["path"] in _LISTS
        if not asks and scope.get("query_string", b"") not in _PARAMETERS.get(scope["path"], {b""}):
            raise RefusedError(
                400,
                "unknown_parameter",
                "parameters in the address have no meaning here: put them into the body",
                param=scope["query_string"].decode("latin-1").partition("=")[0][:60],
            )
        if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            return False
        packed = {one.strip().lower() for value in headers.get(b"content-encoding", []) for one in value.split(b",")}
        if packed - {b"", b"identity", *_PACKED.get(scope["path"], ())}:
            told = "the body is compressed, and is not unpacked here: send it as it is, without Content-Encoding"
            raise RefusedError(415, "body_compressed", told)
        lengths = headers.get(b"content-length", [])
        largest, _ = _bounds(scope)
        if lengths and (not lengths[0].isdigit() or int(lengths[0]) > largest):
            raise RefusedError(413, "body_too_large", f"the body is larger than {largest:,} bytes")
        kinds = [k.decode("latin-1").partition(";")[0].strip().lower() for k in headers.get(b"content-type", [])]
        if scope["method"] == "POST" and scope["path"] in _UPLOADS:
            if kinds != ["multipart/form-data"]:
                raise RefusedError(415, "not_a_form", "the body must be a form with a file: multipart/form-data")
        elif (
            scope["method"] == "POST"
            and kinds not in ([kind] for kind in ("application/json", *_KINDS.get(scope["path"], ())))
            and not _says_all(scope, kinds)
        ):
            raise RefusedError(415, "not_json", "the body must be JSON and say so: Content-Type: application/json")
        return True

    def _host_allowed(self, given: list[bytes]) -> bool:
        if len(given) != 1:
            return False
        name = given[0].decode("latin-1").strip().lower()
        if name.startswith("["):
            name, bracket, rest = name[1:].partition("]")
            if not bracket or (rest and not (rest[0] == ":" and rest[1:].isdigit())):
                return False
        elif ":" in name:
            name, _, port = name.rpartition(":")
            if not port.isdigit():
                return False
        name = name.removesuffix(".")
        if name in self._hosts:
            return True
        # A name can be rebound; an address cannot.
        return self._any_address and _is_address(name)

    def _caller(
        self, given: list[bytes], address: str = "", *, over_tcp: bool, named: Sequence[bytes] = ()
    ) -> Caller | None:
        """Whose key it is; none where it is nobody's. ``named`` are keys under a name of their own, as some clients send them.

        Of a key in each of both places, one has to be right: a client may have another server's in its environment.
        """
        own, name, known = False, "", False
        for key in _keys_of(given, named):
            digest = _digest(key)
            own |= hmac.compare_digest(digest, self._own) and self._has_own
            fitting = [called for theirs, called in self._keys if hmac.compare_digest(digest, theirs)]
            name, known = name or "".join(fitting)[:8], known or bool(fitting)
        if not (own or known or self._open):
            return None
        if own and over_tcp:
            # It names no runs from there, and is nobody else all the same.
            own, name = False, name or OWNER
        return Caller(own, name, "own" if own else name if len(self._keys) > 1 else address)


def _keys_of(given: Sequence[bytes], named: Sequence[bytes]) -> list[bytes]:
    """The keys of a request; a header that stands twice has none."""
    bearers = [one[7:] for one in given if one[:7].lower() == b"bearer "]
    return [keys[0].strip() for keys, stated in ((bearers, given), (named, named)) if keys and len(stated) == 1]


def _sender(caller: Caller | None, headers: dict[bytes, list[bytes]]) -> Caller | None:
    """Whose request it is: the caller's, or of whom a program of ours says so that passes it on."""
    if caller is None or not caller.own:
        return caller
    if ON_BEHALF in headers:
        try:
            caller = on_behalf(headers[ON_BEHALF][0])
        except ValueError as error:
            raise RefusedError(400, "bad_caller", f"{ON_BEHALF.decode()}: {error}") from error
    if PROMPT in headers:
        try:
            caller = dataclasses.replace(caller, prompt=traced_prompt(headers[PROMPT][0]))
        except ValueError as error:
            raise RefusedError(400, "bad_caller", f"{PROMPT.decode()}: {error}") from error
    if RETRIEVED in headers:
        try:
            caller = dataclasses.replace(caller, retrieved=traced_retrievals(headers[RETRIEVED][0]))
        except ValueError as error:
            raise RefusedError(400, "bad_caller", f"{RETRIEVED.decode()}: {error}") from error
    if EXPERIMENT in headers:
        try:
            caller = dataclasses.replace(caller, experiment=traced(headers[EXPERIMENT][0]))
        except ValueError as error:
            raise RefusedError(400, "bad_caller", f"{EXPERIMENT.decode()}: {error}") from error
    return caller


class _Bounded:
    """A ``receive`` that refuses a body which is too large or comes too slowly."""

    def __init__(self, receive: Receive, largest: int, seconds: float) -> None:
        self._receive = receive
        self._largest, self._seconds = largest, seconds
        self._size = 0
        self._done = False
        self._deadline = asyncio.get_running_loop().time() + seconds

    async def __call__(self) -> Message:
        if self._done:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            # It was waited for long enough.
            self._done = True
            raise RefusedError(408, "body_too_slow", f"the body did not come within {self._seconds:g} s") from error
        self._size += len(message.get("body", b""))
        if self._size > self._largest:
            raise RefusedError(413, "body_too_large", f"the body is larger than {self._largest:,} bytes")
        self._done = not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Read on what nobody wants, as far as :data:`DISCARDED_BYTES` and :data:`DISCARDED_SECONDS` go."""
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARDED_SECONDS):
                while not self._done and size <= DISCARDED_BYTES:
                    message = await self._receive()
                    size += len(message.get("body", b""))
                    self._done = not message.get("more_body", False)


def _bounds(scope: Scope) -> tuple[int, float]:
    """How many bytes a body may have, and in how many seconds it has to come."""
    if scope["method"] == "POST" and scope["path"] in _UPLOADS:
        return MAX_UPLOAD, UPLOAD_SECONDS
    return MAX_BODY, BODY_SECONDS


def _says_all(scope: Scope, kinds: list[str]) -> bool:
    """Whether the address says all, and a request brings no body beside it."""
    return bool(_BODILESS.fullmatch(scope["path"])) and not kinds and not _body_comes(scope, empty=False)


def _over_tcp(scope: Scope) -> bool:
    return scope["server"] is not None and scope["server"][1] is not None


async def _answer_preflight(send: Send, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _body_comes(scope: Scope, *, empty: bool = True) -> bool:
    """Whether a body follows by itself; a client that waits for a word before it sends one does so in vain.

    One of no bytes is one where ``empty`` ones count.
    """
    names = {name.lower() for name, value in scope["headers"] if empty or value.strip() != b"0"}
    return b"expect" not in names and bool(names & {b"content-length", b"transfer-encoding"})


def _heard_out(scope: Scope, send: Send, bounded: _Bounded) -> Send:
    """A ``send`` that answers at once, but reads what is left of the body before an answer ends.

    Where a connection is closed on a client that is still sending, its system throws the answer away, and all that the
    client sees is a reset connection.
    """

    async def heard_out(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await send({**message, "more_body": True})
            # Whoever needs the place may have it.
            scope["answered"] = True
            await bounded.discard()
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return heard_out


def _paced(send: Send) -> Send:
    """A ``send`` that gives up on a client which reads nothing for :data:`WRITE_SECONDS`."""

    async def paced(message: Message) -> None:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await send(message)
        except TimeoutError as error:
            raise OSError("the client stopped reading") from error

    return paced


async def answer(send: Send, status: int, body: JsonObject, *, retry_after: float | None = None) -> None:
    """Send a JSON answer and close the connection; ``retry_after`` is in seconds."""
    raw = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(raw)).encode()),
        (b"connection", b"close"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 415:
        headers.append((b"accept-encoding", b"identity"))
    if retry_after is not None:
        headers.append((b"retry-after", str(whole_seconds(retry_after)).encode()))
    elif status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


def is_public(host: str) -> bool:
    """Whether an address to listen on can be reached from other machines."""
    return host not in _LOOPBACK and not (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def read_keys(lines: Iterable[str]) -> tuple[str, ...]:
    """The keys of a key file, one a line; a line that begins with ``#`` is a remark, and elsewhere it is part of the key."""
    return tuple(key for line in lines if (key := line.strip()) and not key.startswith("#"))
