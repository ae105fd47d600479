"""What an answer still says that cannot be finished: an error, in the form of its address, where one can follow what was sent."""

from __future__ import annotations

import json
import re

from starlette.types import Message, Send

from llmops_tui.inference.server.answers import error_body
from llmops_tui.inference.server.error_shapes import shaped
from llmops_tui.inference.wire import ErrorBody

ENDING = error_body(
    "server_ending",
    "the server is ending, and the answer was not finished",
    "Try again when it is started again.",
    "server_error",
)
# The number of an event of a response, at the event's beginning; so many bytes of a stream have it whole.
_NUMBER = re.compile(rb'data: \{"type": "[\w.]+", "sequence_number": (\d+),')
_NUMBER_BYTES = 200


class StreamEnd:
    """The end of what was sent of a stream; ``next`` is the number of the next event of a response."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.next = 0
        self._numbered = path.startswith("/v1/responses")
        self._end = b""

    def see(self, piece: bytes) -> None:
        """Look at the next piece; an event's beginning may be in two."""
        seen = self._end + piece
        if self._numbered:
            for found in _NUMBER.finditer(seen):
                self.next = int(found[1]) + 1
        self._end = seen[-_NUMBER_BYTES:]

    def last_words(self, kind: str, error: ErrorBody, status: int) -> bytes | None:
        """``error`` as the last of a stream of this media type; none where nothing can be said after what was sent."""
        told, path = error["error"], self._path
        if kind.startswith("application/x-ndjson") and self._end[-1:] in {b"", b"\n"}:
            return f"{json.dumps(shaped(path, error, status))}\n".encode()
        if not kind.startswith("text/event-stream") or self._end[-2:] not in {b"", b"\n\n"}:
            return None
        if path.startswith("/v1/messages"):
            # Its clients go by the name of an event.
            return f"event: error\ndata: {json.dumps(shaped(path, error, status))}\n\n".encode()
        if path.startswith("/v1/responses"):
            # Its clients go by the type, and OpenAI's own raises for what has an error within.
            event = {"type": "error", "sequence_number": self.next, "code": told["code"], "message": told["message"]}
            return f"event: error\ndata: {json.dumps({**event, 'param': None, **error})}\n\n".encode()
        return f"data: {json.dumps(error)}\n\n".encode()


class Watched:
    """A ``send`` that knows how far its answer is, for whoever has to end it."""

    def __init__(self, send: Send, path: str) -> None:
        self._send = send
        self._stream = StreamEnd(path)
        self._kind = ""
        self.begun = self._over = False

    async def __call__(self, message: Message) -> None:
        """Send, and keep in mind how far it is."""
        if message["type"] == "http.response.start":
            self.begun = True
            headers = {name.lower(): value for name, value in message.get("headers", ())}
            self._kind = headers.get(b"content-type", b"").decode("latin-1")
        elif message["type"] == "http.response.body":
            self._stream.see(message.get("body", b""))
            self._over = not message.get("more_body", False)
        await self._send(message)

    async def break_off(self, error: ErrorBody, status: int, *, whole: bool) -> None:
        """End an answer that began; ``whole`` where all of it was sent.

        What can have no last words is left unfinished: its connection is cut, so that nobody takes half an answer for a
        whole one.
        """
        if self._over:
            return
        last = b"" if whole else self._stream.last_words(self._kind, error, status)
        if last is not None:
            await self._send({"type": "http.response.body", "body": last})
