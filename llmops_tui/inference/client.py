"""The client of a model server: the same protocol for our own servers and any OpenAI-compatible one."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

from llmops_tui.bounded_http import SHORT, lines, read_whole
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.inference.endpoints import Endpoint
from llmops_tui.inference.engine_wire import Health
from llmops_tui.inference.remote import RemoteHandle
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.socket_transport import async_socket_transport
from llmops_tui.inference.wire import Reply, Timings, TokenProbability, ToolCall, TopToken, Warned

if TYPE_CHECKING:
    import httpx

# Another's server that says nothing for so long, or does not end for so long, is left.
_SILENT_SECONDS = 600.0
_WHOLE_SECONDS = 4 * 3600.0
_STREAM_BYTES = 64_000_000
_TOKEN_BYTES = 4096
_MESSAGE = 2000
_MOST_CALLS = 128
_MOST_ALTERNATIVES = 20


@dataclass
class StreamEnd:
    """The last event of a stream: why it ended, the engine's figures (see ``GenerationResult``), and calls of tools.

    ``warnings`` are what a server of ours could not do as asked.
    """

    finish_reason: str
    timings: Timings = field(default_factory=Timings)
    calls: list[ToolCall] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)


@dataclass(frozen=True)
class Thought:
    """A piece of what a model thinks before its answer."""

    text: str


@dataclass(frozen=True)
class TokensTold:
    """Tokens of an answer with their log-probabilities, told where they were asked for, behind their text."""

    tokens: list[TokenProbability]


Told = str | Thought | TokensTold | StreamEnd
"""What a stream is made of."""


class ModelClient:
    """An asynchronous client of one model; use it as a context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        # Imported here: it takes as long as half the app, and the first frame does not need it.
        import httpx

        self.model = endpoint.model
        self._who = endpoint.url if isinstance(endpoint, RemoteHandle) else f"the server of {endpoint.model!r}"
        self._remote = endpoint if isinstance(endpoint, RemoteHandle) else None
        self._transport_error = httpx.TransportError
        self._read_timeout = httpx.ReadTimeout
        transport = None if isinstance(endpoint, RemoteHandle) else async_socket_transport(endpoint.socket)
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url=self._remote.url if self._remote is not None else "http://localhost",
            headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
            # A long prompt may take minutes before its first token; the death of our own engine is noticed at once all the same.
            timeout=httpx.Timeout(10.0, read=_SILENT_SECONDS if self._remote is not None else None),
            # A key is sent to the address that it is for, and nowhere else.
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def health(self) -> Health:
        """The server's facts: status, context, engine."""
        return cast("Health", dict((await self._http.get("/health")).json()))

    async def stream_chat(
        self,
        messages: Sequence[Mapping[str, object]],
        parameters: SamplingParameters,
        metadata: Mapping[str, object] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[Told, None]:
        """Stream an answer: pieces of thinking and of text, then one :class:`StreamEnd`.

        Leaving the iteration early cancels the generation. ``extra`` are further fields of the request, such as
        ``response_format``.

        Raises:
            LlmopsError: the server refused, failed, or died (``server_died``).
        """
        body = {"messages": messages, **(extra or {})}
        async with contextlib.aclosing(self._stream("/v1/chat/completions", body, parameters, metadata)) as events:
            async for event in events:
                yield event

    async def stream_completion(
        self,
        prompt: str,
        parameters: SamplingParameters,
        metadata: Mapping[str, object] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[Told, None]:
        """Stream the continuation of a raw text; as :meth:`stream_chat`."""
        body = {"prompt": prompt, **(extra or {})}
        async with contextlib.aclosing(self._stream("/v1/completions", body, parameters, metadata)) as events:
            async for event in events:
                yield event

    async def complete(
        self, path: str, body: Mapping[str, object], metadata: Mapping[str, object] | None = None
    ) -> Reply:
        """One answer of any endpoint as it comes, such as scores; ``metadata`` is for the record of a chat with our own server.

        Raises:
            LlmopsError: the server refused, failed, or died.
        """
        name, told = (self.model, metadata) if self._remote is None else (self._remote.served_name, None)
        return await self._post(path, {"model": name, **({"metadata": told} if told else {}), **body})

    async def generate(
        self,
        path: str,
        body: Mapping[str, object],
        parameters: SamplingParameters,
        metadata: Mapping[str, object] | None = None,
    ) -> Reply:
        """One whole answer of ``/v1/chat/completions`` or ``/v1/completions``, with the engine's figures where it is ours.

        Raises:
            LlmopsError: the server refused, failed, or died.
        """
        given = {**body, **self._request(parameters, metadata), "stream": False}
        given.pop("stream_options", None)
        return await self._post(path, given)

    async def tokenize(
        self,
        *,
        content: str | None = None,
        messages: Sequence[Mapping[str, object]] | None = None,
        enable_thinking: bool | None = None,
    ) -> Reply:
        """Tokens of a text or of a rendered conversation: ``{"tokens", "pieces", "text"}``.

        ``enable_thinking`` renders it as for an answer that is to be thought about or not.

        Raises:
            LlmopsError: ``not_offered`` where a remote endpoint counts no tokens.
        """
        if self._remote is not None:
            raise LlmopsError("not_offered", f"the endpoint of {self.model!r} returns no separate tokens")
        body = {"content": content, "messages": messages, "enable_thinking": enable_thinking}
        return await self._post("/tokenize", body)

    async def _post(self, path: str, body: Mapping[str, object]) -> Reply:
        async with self._asking(path, body) as response:
            raw = await read_whole(response, self._who, until=self._until())
        try:
            return cast("Reply", dict(parse_json(raw)))
        except (ValueError, TypeError) as error:
            raise self._odd(error) from error

    @contextlib.asynccontextmanager
    async def _asking(self, path: str, body: Mapping[str, object]) -> AsyncIterator[httpx.Response]:
        """A good answer, its body not read yet."""
        try:
            async with self._http.stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await read_whole(response, self._who, SHORT, self._until()))
                yield response
        except self._read_timeout as error:
            raise LlmopsError("server_silent", f"{self._who} sent nothing for {_SILENT_SECONDS:g} s") from error
        except self._transport_error as error:
            raise _died(self.model) from error
        except UnicodeEncodeError as error:
            half = error.object[error.start : error.start + 1]
            raise InputRefusedError(
                "bad_text", f"the request has half of a character, {half!a}", "Write UTF-8."
            ) from error

    def _until(self) -> float:
        """When an answer that begins now has to be whole, by ``time.monotonic``; our own server's may take any time."""
        return time.monotonic() + _WHOLE_SECONDS if self._remote is not None else math.inf

    def _odd(self, error: Exception) -> LlmopsError:
        told = f"{self._who} did not respond as OpenAI's API does: {type(error).__name__}"
        return LlmopsError("not_openai_compatible", told, "Check that the address is the intended server.")

    async def _stream(
        self,
        path: str,
        body: Mapping[str, object],
        parameters: SamplingParameters,
        metadata: Mapping[str, object] | None,
    ) -> AsyncGenerator[Told, None]:
        given = {**body, **self._request(parameters, metadata)}
        clock = _Clock()
        end: StreamEnd | None = None
        async with self._asking(path, given) as response:
            async with contextlib.aclosing(lines(response, self._who, _most(parameters), self._until())) as told:
                async for line in told:
                    if not line.startswith("data:") or (data := line[5:].strip()) == "[DONE]":
                        continue
                    try:
                        thought, text, ended = clock.see(parsed := parse_json(data))
                        tokens = _tokens_in(parsed)
                    except (ValueError, KeyError, TypeError, AttributeError) as error:
                        raise self._odd(error) from error
                    if thought:
                        yield Thought(thought)
                    if text:
                        yield text
                    if tokens:
                        yield TokensTold(tokens)
                    end = ended or end
        if end is None:
            raise _died(self.model)
        # An endpoint that tells no figures is timed here.
        yield StreamEnd(end.finish_reason, end.timings or clock.figures(), clock.calls, end.warnings)

    def _request(self, parameters: SamplingParameters, metadata: Mapping[str, object] | None) -> dict[str, object]:
        """The part of a body that says how; a remote endpoint gets no name that OpenAI's API lacks, unless it was set."""
        if self._remote is None:
            return {
                "model": self.model,
                "stream": True,
                "metadata": metadata or {},
                **parameters.model_dump(mode="json", exclude_none=True),
            }
        given = parameters.model_dump(mode="json", exclude_defaults=True)
        given |= {"temperature": parameters.temperature, "max_tokens": parameters.max_tokens, "seed": parameters.seed}
        usage = {"include_usage": True}
        return {"model": self._remote.served_name, "stream": True, "stream_options": usage, **given}


def _tokens_in(event: JsonObject) -> list[TokenProbability]:
    """The tokens of an event of a chat; of what is no such record, none.

    Raises:
        TypeError, KeyError, ValueError: it is none that can be read.
    """
    found: list[TokenProbability] = []
    for choice in list(event.get("choices") or ())[:1]:
        told = choice.get("logprobs") or {}
        for one in told.get("content") or () if isinstance(told, dict) else ():
            top = [_token_in(other) for other in (one.get("top_logprobs") or ())[:_MOST_ALTERNATIVES]]
            found.append({**_token_in(one), "top_logprobs": top})
    return found


def _token_in(one: JsonObject) -> TopToken:
    token: TopToken = {"token": str(one["token"])[:_MESSAGE], "logprob": float(one["logprob"])}
    if isinstance(raw := one.get("bytes"), list):
        token["bytes"] = list(bytes(raw))
    if isinstance(number := one.get("id"), int):
        token["id"] = number
    return token


def _warned(one: JsonObject) -> Warned:
    return {"param": str(one.get("param", ""))[:_MESSAGE], "message": str(one.get("message", ""))[:_MESSAGE]}


class _Clock:
    """Times of a stream as its client sees them, for endpoints that tell none."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first: float | None = None
        self._last = self._started
        self._usage: dict[str, Any] = {}
        self.calls: list[ToolCall] = []

    def see(self, event: JsonObject) -> tuple[str, str, StreamEnd | None]:
        """Take note of an event; returns its thinking, its text, and the end that it may tell.

        Raises:
            LlmopsError: it tells of a failure.
            TypeError, AttributeError: it is no event.
        """
        if "error" in event:
            raise _from_body(event)
        usage = dict(event.get("usage") or {})
        self._usage = usage or self._usage
        # The event with the token counts has no choice.
        choices = list(event.get("choices") or ())
        if not choices:
            return "", "", None
        self._last = time.monotonic()
        self._first = self._first or self._last
        choice = dict(choices[0])
        delta = dict(choice.get("delta") or {})
        for piece in delta.get("tool_calls") or ():
            self._see_call(dict(piece))
        text = choice.get("text") or delta.get("content") or ""
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        if not isinstance(text, str) or not isinstance(thought, str):
            raise TypeError("text")
        reason = choice.get("finish_reason")
        if not reason:
            return thought, text, None
        end = StreamEnd(str(reason)[:100], cast("Timings", dict(event.get("timings") or {})))
        told = event.get("warnings")
        end.warnings = [_warned(one) for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        return thought, text, end

    def _see_call(self, piece: JsonObject) -> None:
        """Put a piece of a call behind what is there of it; its number says of which, where several are under way.

        Raises:
            TypeError: it is none.
        """
        function = dict(piece.get("function") or {})
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        number = piece.get("index", len(self.calls) if name else len(self.calls) - 1)
        if not isinstance(name, str) or not isinstance(arguments, str) or not isinstance(number, int):
            raise TypeError("tool_calls")
        if number == len(self.calls) < _MOST_CALLS:
            given = str(piece.get("id") or f"call_{number}")[:200]
            self.calls.append({"id": given, "type": "function", "function": {"name": name, "arguments": arguments}})
        elif 0 <= number < len(self.calls):
            self.calls[number]["function"]["arguments"] += arguments
        else:
            raise TypeError("tool_calls")

    def figures(self) -> Timings:
        """In the form of the engine's own."""
        span = self._last - (self._first or self._last)
        details = self._usage.get("prompt_tokens_details")
        made_details = self._usage.get("completion_tokens_details")
        thought = _count(made_details.get("reasoning_tokens")) if isinstance(made_details, dict) else None
        made = _count(self._usage.get("completion_tokens"))
        cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
        return {
            "prompt_tokens": _count(self._usage.get("prompt_tokens")),
            "completion_tokens": made,
            "reused_tokens": cached,
            "reasoning_tokens": thought,
            "ttft_ms": (self._first - self._started) * 1000 if self._first is not None else None,
            "total_ms": (self._last - self._started) * 1000,
            "tokens_per_s": (made - 1) / span if made and made > 1 and span > 0 else None,
        }


def _died(model: str) -> LlmopsError:
    return LlmopsError("server_died", f"the server of {model!r} died", "Try again: the server is restarted.")


def _refusal(status: int, raw: bytes) -> LlmopsError:
    if 300 <= status < 400:
        return LlmopsError(
            "redirected",
            f"the server answers {status}, a redirect; the key is not sent to its target",
            "If its target is the intended server, give that address.",
        )
    try:
        return _from_body(parse_json(raw))
    except (ValueError, KeyError, TypeError, AttributeError):
        return LlmopsError("server_refused", f"the server answered {status}: {raw[:200]!r}")


def _from_body(body: JsonObject) -> LlmopsError:
    error = body["error"]
    if isinstance(error, str):
        return LlmopsError("server_error", error[:_MESSAGE])
    code = str(error.get("code") or "server_error")[:100]
    return LlmopsError(code, str(error["message"])[:_MESSAGE], str(error.get("hint", ""))[:_MESSAGE])


def _count(value: Any) -> int | None:
    """A count of tokens that a server told, where it is one that can be kept."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else None


def _most(parameters: SamplingParameters) -> int:
    """How many bytes a stream may have: far more than so many tokens with all that is told of them."""
    return _STREAM_BYTES + _TOKEN_BYTES * parameters.max_tokens
