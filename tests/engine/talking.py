"""A server whose model says what it is told to say, asked by one API: whole answers, and the events of streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from llmops_tui.workspace.layout import Workspace
from tests.engine.test_request_fields import HI, MESSAGES, RESULT, Server

FIGURES = {"count": 5, "prompt_tokens": 9, "reused_tokens": 4, "completion_tokens": 40}


class Talking(Server):
    """The server; ``path`` is the API's address, whose events have names."""

    path: ClassVar[str] = MESSAGES
    least: ClassVar[dict[str, Any]] = {"messages": HI, "max_tokens": 50}

    def says(self, text: str, /, reason: str = "stop", **more: Any) -> None:
        """What the model answers from now on, a letter at a time; each is a token. ``more`` is told at the end: figures, and of short operations the ``text``."""
        result = RESULT | {"finish_reason": reason} | FIGURES | more

        async def call(request: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
            self.engine.calls.append(request)
            first = {name: FIGURES[name] for name in ("prompt_tokens", "reused_tokens")}
            for piece in text if request["op"] == "generate" else "":
                yield [{"id": request["id"], "event": "text", "text": piece, "sizes": [len(piece.encode())]} | first]
                first = {}
            yield [{"id": request["id"], "event": "done", "result": result}]

        self.engine.call = call  # type: ignore[method-assign,assignment]

    async def whole(self, **body: Any) -> dict[str, Any]:
        answer = await self.post(self.path, self.least | body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def events(self, **body: Any) -> list[dict[str, Any]]:
        answer = await self.post(self.path, self.least | {"stream": True} | body)
        assert answer.status_code == 200, answer.text
        found = []
        for event in answer.text.strip().split("\n\n"):
            name, data = event.split("\n")
            found.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {found[-1]['type']}"
        return found

    @property
    def asked_for(self) -> dict[str, Any]:
        """The last call to generate that the engine got."""
        return next(call for call in reversed(self.engine.calls) if call["op"] == "generate")

    @property
    def prompt(self) -> str:
        return str(self.asked_for["text"])


async def opened(workspace: Workspace, template: str) -> AsyncIterator[Talking]:
    """A server with this template, closed at the end."""
    server = Talking(workspace, template)
    yield server
    await server.http.aclose()
    await server.server.close()
