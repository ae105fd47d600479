"""The client of a model server: the same protocol for our own servers and any OpenAI-compatible one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.supervisor import ServerHandle


@dataclass
class StreamEnd:
    """The last event of a stream: why it ended, and the engine's figures (see ``GenerationResult``)."""

    finish_reason: str
    timings: dict[str, Any] = field(default_factory=dict)


class ModelClient:
    """An asynchronous client of one model server; use it as a context manager."""

    def __init__(self, handle: ServerHandle) -> None:
        # Imported here: it takes as long as half the app, and the first frame does not need it.
        import httpx

        self.model = handle.model
        self._transport_error = httpx.TransportError
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=handle.socket),
            base_url="http://model",
            headers={"Authorization": f"Bearer {handle.key}"},
            # A long prompt may take minutes before its first token; the engine's death is noticed at once all the same.
            timeout=httpx.Timeout(10.0, read=None),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def health(self) -> dict[str, Any]:
        """The server's facts: status, context, engine."""
        return dict((await self._http.get("/health")).json())

    async def stream_chat(
        self, messages: list[dict[str, str]], parameters: SamplingParameters, metadata: dict[str, Any] | None = None
    ) -> AsyncIterator[str | StreamEnd]:
        """Stream an answer: pieces of text, then one :class:`StreamEnd`.

        Leaving the iteration early cancels the generation.

        Raises:
            LlmopsError: the server refused, failed, or died (``server_died``).
        """
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        async for event in self._stream("/v1/chat/completions", body, parameters, metadata):
            yield event

    async def stream_completion(
        self, prompt: str, parameters: SamplingParameters, metadata: dict[str, Any] | None = None
    ) -> AsyncIterator[str | StreamEnd]:
        """Stream the continuation of a raw text; as :meth:`stream_chat`."""
        body: dict[str, Any] = {"model": self.model, "prompt": prompt}
        async for event in self._stream("/v1/completions", body, parameters, metadata):
            yield event

    async def tokenize(
        self, *, content: str | None = None, messages: list[dict[str, str]] | None = None
    ) -> dict[str, Any]:
        """Tokens of a text or of a rendered conversation: ``{"tokens", "pieces", "text"}``."""
        try:
            response = await self._http.post("/tokenize", json={"content": content, "messages": messages})
        except self._transport_error as error:
            raise _died(self.model) from error
        if response.status_code != 200:
            raise _refusal(response.content)
        return dict(response.json())

    async def _stream(
        self, path: str, body: dict[str, Any], parameters: SamplingParameters, metadata: dict[str, Any] | None
    ) -> AsyncIterator[str | StreamEnd]:
        body |= parameters.model_dump() | {"stream": True, "metadata": metadata or {}}
        ended = False
        try:
            async with self._http.stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    raise _refusal(await response.aread())
                async for line in response.aiter_lines():
                    if not line.startswith("data: ") or line == "data: [DONE]":
                        continue
                    event = json.loads(line[6:])
                    if "error" in event:
                        raise _from_body(event)
                    choice = event["choices"][0]
                    text = choice.get("text") or (choice.get("delta") or {}).get("content")
                    if text:
                        yield text
                    if choice.get("finish_reason"):
                        ended = True
                        yield StreamEnd(choice["finish_reason"], event.get("timings", {}))
        except self._transport_error as error:
            raise _died(self.model) from error
        if not ended:
            raise _died(self.model)


def _died(model: str) -> LlmopsError:
    return LlmopsError("server_died", f"the server of {model!r} died", "Run again: it is started anew.")


def _refusal(raw: bytes) -> LlmopsError:
    try:
        return _from_body(json.loads(raw))
    except (ValueError, KeyError, TypeError):
        return LlmopsError("server_refused", f"the server answered {raw[:200]!r}")


def _from_body(body: dict[str, Any]) -> LlmopsError:
    error = body["error"]
    return LlmopsError(str(error.get("code") or "server_error"), str(error["message"]), str(error.get("hint", "")))
