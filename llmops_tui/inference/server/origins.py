"""Web pages that may use the server: their preflights are answered, and they may read every answer.

A browser asks before it sends what a page alone could not (a key, JSON), without the key; that one question is answered to
allowed origins. All else needs the key as from any other client. Cookies play no part, so credentials are never allowed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from starlette.types import Message, Scope, Send

ANY = "*"
NULL = "null"
Headers = list[tuple[bytes, bytes]]
_METHODS = b"GET, HEAD, POST, DELETE, OPTIONS"
# What clients of the APIs here send beside a body; a browser asks for them by name, and for what its client adds.
_SENT = ("authorization", "content-type", "x-api-key", "anthropic-version", "anthropic-beta")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_SECONDS = b"600"
# What pages may read without being allowed to.
_READABLE = {b"cache-control", b"content-language", b"content-length", b"content-type", b"expires", b"pragma"}


class AllowedOrigins:
    """The origins that were allowed, compared as they are written; :data:`ANY` allows all of them."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = {origin.encode("latin-1", "replace") for origin in allowed}
        self.any = ANY in allowed

    def allow(self, given: Sequence[bytes]) -> bool:
        """Whether a request with these ``Origin`` headers comes from no page, or from one that was allowed."""
        return self.any or all(origin in self._allowed for origin in given)

    def of(self, given: Sequence[bytes]) -> Headers:
        """The headers that every answer to such a request has, refusals too; none without allowed origins."""
        if not self._allowed:
            return []
        allowed = b"*" if self.any else given[0] if len(given) == 1 and self.allow(given) else None
        # What is kept for one page must not be given to another.
        return [(b"vary", b"Origin")] + ([(b"access-control-allow-origin", allowed)] if allowed else [])

    def preflight(self, method: str, headers: Mapping[bytes, Sequence[bytes]]) -> Headers | None:
        """What is told to a browser that asks for a page; none where it is no such question.

        The origin was allowed already. Header names are allowed as asked for: clients add their own, which are not read here.
        """
        asked = b"access-control-request-method" in headers and bool(headers.get(b"origin")) and bool(self._allowed)
        if method != "OPTIONS" or not asked:
            return None
        listed = b",".join(headers.get(b"access-control-request-headers", ())).decode("latin-1").lower().split(",")
        names = dict.fromkeys([*_SENT, *(name for one in listed if _HEADER_NAME.fullmatch(name := one.strip()))])
        told = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", ", ".join(names).encode()),
            (b"access-control-max-age", _SECONDS),
            (b"vary", b"Access-Control-Request-Headers, Access-Control-Request-Private-Network"),
        ]
        if headers.get(b"access-control-request-private-network") == [b"true"]:
            # The page is from the internet, and this server on the user's own machine or network.
            told.append((b"access-control-allow-private-network", b"true"))
        return told


def readable(send: Send, scope: Scope, headers: Headers) -> Send:
    """A ``send`` whose answers have these headers, and let their page read the others; ``scope`` keeps them."""
    if not headers:
        return send
    scope["page_headers"] = headers

    async def readable_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers, *_exposed(message["headers"], headers)]}
        await send(message)

    return readable_send


def _exposed(own: Iterable[tuple[bytes, bytes]], page: Headers) -> Headers:
    if not any(name == b"access-control-allow-origin" for name, _ in page):
        return []
    names = {name.lower() for name, _ in own}
    told = sorted(n for n in names if n not in _READABLE and not n.startswith(b"access-control-") and n != b"vary")
    return [(b"access-control-expose-headers", b", ".join(told))] if told else []
