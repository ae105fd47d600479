"""A model behind an address that answers by rule, and a reflector beside it: what is better is planted, so it is known."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

PLANTED = "Answer with the one word that names the colour, in capital letters."
COLOURS = ("red", "green", "blue", "black", "white")


def rows(count: int) -> list[dict[str, str]]:
    """Rows that ask for a colour; no two ask nearly the same."""
    found = []
    for n in range(count):
        words = [blake2b(f"{n}:{k}".encode(), digest_size=3).hexdigest() for k in range(6)]
        found.append({"text": f"{' '.join(words)} {COLOURS[n % 5]}", "label": COLOURS[n % 5].upper()})
    return found


def chance(*parts: str) -> float:
    """A number from 0 to 1 that these texts decide."""
    return int.from_bytes(blake2b("|".join(parts).encode(), digest_size=4).digest(), "big") / 2**32


class ScriptedModel:
    """An OpenAI-compatible server: rows are answered right with a chance that the instruction decides.

    ``proposals`` are what the reflector says, one after the other, the last one from then on.
    """

    def __init__(self, proposals: Sequence[str] = (PLANTED,), base: float = 0.5, planted: float = 0.9) -> None:
        self.proposals, self.base, self.planted = list(proposals), base, planted
        self.asked: list[tuple[str, str]] = []
        self.reflections: list[str] = []
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)

    def say(self, messages: list[dict[str, Any]]) -> str:
        text = "\n".join(str(message["content"]) for message in messages)
        with self._lock:
            if text.startswith("You improve the instruction"):
                said = self.proposals[min(len(self.reflections), len(self.proposals) - 1)]
                self.reflections.append(text)
                return f"Here it is:\n<instruction>{said}</instruction>"
            instruction, _, row = text.removesuffix("\nOutput:").rpartition("\n")
            row = row.removeprefix("Input: ")
            self.asked.append((instruction, row))
        colour = row.rsplit(" ", 1)[-1]
        right = chance(instruction, row) < (self.planted if PLANTED in instruction else self.base)
        return colour.upper() if right else "no colour"

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                self._answer({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if not self.path.endswith("/chat/completions"):
                    self._answer({"error": {"message": "not offered"}}, 404)
                    return
                said = model.say(body["messages"])
                message = {"role": "assistant", "content": said}
                usage = {
                    "prompt_tokens": sum(len(m["content"].split()) for m in body["messages"]),
                    "completion_tokens": 1,
                }
                self._answer(
                    {
                        "id": "x",
                        "object": "chat.completion",
                        "created": 1,
                        "model": "scripted",
                        "system_fingerprint": "fp-1",
                        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                        "usage": usage,
                    }
                )

            def _answer(self, body: dict[str, Any], status: int = 200) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        return Handler
