"""The client of a model server: the same protocol for our own servers and any OpenAI-compatible one."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.endpoints import Endpoint
from llmops_tui.inference.remote import RemoteHandle
from llmops_tui.inference.sampling import SamplingParameters


@dataclass
class StreamEnd:
    """The last event of a stream: why it ended, and the engine's figures (see ``GenerationResult``)."""

    finish_reason: str
    timings: dict[str, Any] = field(default_factory=dict)


class ModelClient:
    """An asynchronous client of one model; use it as a context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        # Imported here: it takes as long as half the app, and the first frame does not need it.
        import httpx

        self.model = endpoint.model
        self._remote = endpoint if isinstance(endpoint, RemoteHandle) else None
        self._transport_error = httpx.TransportError
        transport = None if isinstance(endpoint, RemoteHandle) else httpx.AsyncHTTPTransport(uds=endpoint.socket)
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url=self._remote.url if self._remote is not None else "http://localhost",
            headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
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
        self,
        messages: list[dict[str, str]],
        parameters: SamplingParameters,
        metadata: dict[str, Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> AsyncIterator[str | StreamEnd]:
        """Stream an answer: pieces of text, then one :class:`StreamEnd`.

        Leaving the iteration early cancels the generation. ``extra`` are further fields of the request, such as
        ``response_format``.

        Raises:
            LlmopsError: the server refused, failed, or died (``server_died``).
        """
        body: dict[str, Any] = {"messages": messages, **(extra or {})}
        async for event in self._stream("/v1/chat/completions", body, parameters, metadata):
            yield event

    async def stream_completion(
        self,
        prompt: str,
        parameters: SamplingParameters,
        metadata: dict[str, Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> AsyncIterator[str | StreamEnd]:
        """Stream the continuation of a raw text; as :meth:`stream_chat`."""
        body: dict[str, Any] = {"prompt": prompt, **(extra or {})}
        async for event in self._stream("/v1/completions", body, parameters, metadata):
            yield event

    async def complete(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One answer of any endpoint under ``/v1`` as it comes, for what needs more than text: scores, embeddings.

        Raises:
            LlmopsError: the server refused, failed, or died.
        """
        name = self._remote.served_name if self._remote is not None else self.model
        return await self._post(path, {"model": name, **body})

    async def generate(
        self, path: str, body: dict[str, Any], parameters: SamplingParameters, metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One whole answer of ``/v1/chat/completions`` or ``/v1/completions``, with the engine's figures where it is ours.

        Raises:
            LlmopsError: the server refused, failed, or died.
        """
        given = body | self._request(parameters, metadata) | {"stream": False}
        given.pop("stream_options", None)
        return await self._post(path, given)

    async def tokenize(
        self, *, content: str | None = None, messages: list[dict[str, str]] | None = None
    ) -> dict[str, Any]:
        """Tokens of a text or of a rendered conversation: ``{"tokens", "pieces", "text"}``.

        Raises:
            LlmopsError: ``not_offered`` where a remote endpoint counts no tokens.
        """
        if self._remote is not None:
            raise LlmopsError("not_offered", f"the endpoint of {self.model!r} does not tell tokens apart")
        return await self._post("/tokenize", {"content": content, "messages": messages})

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            response = await self._http.post(path, json=body)
        except self._transport_error as error:
            raise _died(self.model) from error
        if response.status_code != 200:
            raise _refusal(response.content)
        return dict(response.json())

    async def _stream(
        self, path: str, body: dict[str, Any], parameters: SamplingParameters, metadata: dict[str, Any] | None
    ) -> AsyncIterator[str | StreamEnd]:
        body |= self._request(parameters, metadata)
        clock = _Clock()
        end: StreamEnd | None = None
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
                    clock.see(event)
                    # The event with the token counts has no choice.
                    choice = (event.get("choices") or [{}])[0]
                    delta = choice.get("delta") or {}
                    text = choice.get("text") or delta.get("content")
                    if text:
                        yield text
                    if choice.get("finish_reason"):
                        end = StreamEnd(choice["finish_reason"], event.get("timings") or {})
        except self._transport_error as error:
            raise _died(self.model) from error
        if end is None:
            raise _died(self.model)
        # An endpoint that tells no figures is timed here.
        yield end if end.timings else StreamEnd(end.finish_reason, clock.figures())

    def _request(self, parameters: SamplingParameters, metadata: dict[str, Any] | None) -> dict[str, Any]:
        """The part of a body that says how; a remote endpoint gets no name that OpenAI's API lacks, unless it was set."""
        if self._remote is None:
            return {
                "model": self.model,
                "stream": True,
                "metadata": metadata or {},
                **parameters.model_dump(mode="json"),
            }
        given = parameters.model_dump(mode="json", exclude_defaults=True)
        given |= {"temperature": parameters.temperature, "max_tokens": parameters.max_tokens, "seed": parameters.seed}
        usage = {"include_usage": True}
        return {"model": self._remote.served_name, "stream": True, "stream_options": usage, **given}


class _Clock:
    """Times of a stream as its client sees them, for endpoints that tell none."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first: float | None = None
        self._last = self._started
        self._usage: dict[str, Any] = {}
        self._pieces = 0

    def see(self, event: dict[str, Any]) -> None:
        """Take note of an event."""
        self._usage = event.get("usage") or self._usage
        if event.get("choices"):
            self._last = time.monotonic()
            self._first = self._first or self._last
            self._pieces += 1

    def figures(self) -> dict[str, Any]:
        """In the form of the engine's own."""
        span = self._last - (self._first or self._last)
        made = self._usage.get("completion_tokens")
        cached = (self._usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        return {
            "prompt_tokens": self._usage.get("prompt_tokens"), "completion_tokens": made, "reused_tokens": cached,
            "ttft_ms": (self._first - self._started) * 1000 if self._first is not None else None,
            "total_ms": (self._last - self._started) * 1000,
            "tokens_per_s": (made - 1) / span if made and made > 1 and span > 0 else None,
        }  # fmt: skip


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
