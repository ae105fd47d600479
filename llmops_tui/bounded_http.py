"""HTTP responses of other machines, read with limits on total bytes, line length and decompressed size.

A server that sends without end is told so by name and left. The limits are far above what an honest one sends.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    import httpx

# A whole answer: 2,048 vectors of 4,096 numbers as text are a hundred megabytes.
WHOLE = 512_000_000
# What says why something was refused, and small facts.
SHORT = 4_000_000
# One line of a stream, which is one event.
LINE = 8_000_000


def too_much(who: str, what: str) -> LlmopsError:
    """The error for an answer that goes beyond its limits."""
    return LlmopsError(
        "answer_too_large",
        f"{safe_line(who)} sends {what}; the connection was closed",
        "Check that the address is the intended server.",
    )


class _Limits:
    """How much an answer has come to, and until when it may; ``until`` is by ``time.monotonic``."""

    def __init__(self, who: str, most: int, until: float) -> None:
        self._who = who
        self._most = most
        self._until = until
        self._size = 0

    def take(self, chunk: bytes) -> bytes:
        """Count some more of it.

        Raises:
            LlmopsError: ``answer_too_large`` or ``server_endless``.
        """
        self._size += len(chunk)
        if self._size > self._most:
            raise too_much(self._who, f"more than {self._most:,} bytes")
        if time.monotonic() > self._until:
            raise LlmopsError(
                "server_endless",
                f"{safe_line(self._who)} does not end its response",
                "Check that the address is the intended server.",
            )
        return chunk


def read_short(response: httpx.Response, who: str, most: int = SHORT, until: float = math.inf) -> bytes:
    """The body of an answer that is being streamed.

    Raises:
        LlmopsError: ``answer_too_large`` or ``server_endless``.
    """
    limits = _Limits(who, most, until)
    return b"".join(limits.take(chunk) for chunk in response.iter_bytes())


async def read_whole(response: httpx.Response, who: str, most: int = WHOLE, until: float = math.inf) -> bytes:
    """As :func:`read_short`, without blocking."""
    limits = _Limits(who, most, until)
    return b"".join([limits.take(chunk) async for chunk in response.aiter_bytes()])


async def lines(response: httpx.Response, who: str, most: int, until: float = math.inf) -> AsyncGenerator[str]:
    """The lines of a stream as they come, without their ends.

    Raises:
        LlmopsError: as :func:`read_short`; a line is at most :data:`LINE` bytes long.
    """
    limits, begun = _Limits(who, most, until), bytearray()
    async for chunk in response.aiter_bytes():
        *ended, rest = limits.take(chunk).split(b"\n")
        for one in ended:
            begun += one
            yield begun.removesuffix(b"\r").decode("utf-8", "replace")
            begun.clear()
        begun += rest
        if len(begun) > LINE:
            raise too_much(who, f"a line of more than {LINE:,} bytes")
    if begun:
        yield begun.decode("utf-8", "replace")


def holding(library: ModuleType, most: int) -> Callable[[Any], None]:
    """A hook for the answers that another library reads by itself; ``library`` is the HTTP package it is built on.

    Compressed answers are refused: what they unfold to is not known before it is there. Ask for ``identity``.
    """

    class Held(library.SyncByteStream):  # type: ignore[misc, name-defined]
        """A body that ends with an error where it goes beyond its limit."""

        def __init__(self, body: Any, who: str) -> None:
            self._body = body
            self._who = who

        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in self._body:
                size += len(chunk)
                if size > most:
                    raise too_much(self._who, f"more than {most:,} bytes")
                yield chunk

        def close(self) -> None:
            self._body.close()

    def hold(response: Any) -> None:
        who = str(response.request.url.host)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise too_much(who, "a compressed response, which was not requested")
        response.stream = Held(response.stream, who)

    return hold
