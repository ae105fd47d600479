"""Tokens and vectors of texts: the endpoints that ask the engine about texts and generate nothing.

Long answers come from the engine in parts and go on to the client in parts, so that no stream of this server waits while
one of them is put together.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypedDict, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import Call, Embedded, Told
from llmops_tui.inference.server import schemas
from llmops_tui.inference.server.adapters import AdapterShelf
from llmops_tui.inference.server.admission import Ticket
from llmops_tui.inference.server.connection import chain, read_body, while_connected
from llmops_tui.inference.server.conversation import ChatTemplate
from llmops_tui.inference.server.generation import Generator
from llmops_tui.inference.server.inputs import check_vocabulary
from llmops_tui.inference.server.short_calls import ask, parts_of
from llmops_tui.inference.server.template_features import turns_of
from llmops_tui.inference.server.thinking import template_variables

_CHUNK = 64 * 1024
_JSON = "application/json"


class _Said(TypedDict):
    """What ``/tokenize`` says beside the tokens: the text that was tokenized, and the longest that fits."""

    text: str
    max_model_len: int


class Texts:
    """``/tokenize``, ``/detokenize`` and ``/v1/embeddings`` of one model."""

    def __init__(
        self, model: str, engine: Engine, generator: Generator, adapters: AdapterShelf, chat: ChatTemplate
    ) -> None:
        self._model = model
        self._engine = engine
        self._generator = generator
        self._adapters = adapters
        self._chat = chat

    async def ask(self, call: Call) -> Told:
        """One short operation of the engine; parts of its answer are put together."""
        return await ask(self._engine, call)

    async def tokenize(self, request: Request) -> Response:
        """``POST /tokenize``."""
        body = await read_body(request, schemas.TokenizeRequest)
        adapter = await self._adapters.of(request.scope["caller"], body.model)
        text = body.content if body.content is not None else body.prompt or ""
        call: Call = {"op": "tokenize", "text": text}
        if body.messages is not None:
            # As an answer to the conversation would be asked for.
            chat = self._adapters.chat(adapter) or self._chat
            turns = turns_of(chat.format, body.messages)
            begun = turns.pop() if body.goes_on else None
            extra = template_variables(chat.format, {}, body.enable_thinking)
            prompt = await chat.render(turns, None, extra, begun)
            call, text = {**prompt.source(), "op": "tokenize"}, prompt.text
        call |= {"add_special": body.special, "parse_special": body.parse_special}
        longest = (await self._engine.facts())["n_ctx"]
        return await _in_parts(request, self._tokens(call, {"text": text, "max_model_len": longest}))

    async def detokenize(self, request: Request) -> Response:
        """``POST /detokenize``. The text is told under our name for it, and under those of llama.cpp and vLLM."""
        body = await read_body(request, schemas.DetokenizeRequest)
        await self._adapters.of(request.scope["caller"], body.model)
        check_vocabulary(body.tokens, self._engine.info.get("n_vocab", 0), "tokens")
        call: Call = {"op": "detokenize", "tokens": body.tokens}
        text = str((await while_connected(request, self.ask(call)))["text"])
        raw = orjson.dumps(text)
        return Response(b'{"text":' + raw + b',"content":' + raw + b',"prompt":' + raw + b"}", media_type=_JSON)

    async def embeddings(self, request: Request) -> Response:
        """``POST /v1/embeddings``: all texts in one call, so that they share the engine's steps."""
        body = await read_body(request, schemas.EmbeddingRequest)
        adapter = await self._adapters.of(request.scope["caller"], body.model)
        for place, given in enumerate(body.input):
            if not isinstance(given, str):
                at = f"input[{place}]" if len(body.input) > 1 else "input"
                check_vocabulary(given, self._engine.info.get("n_vocab", 0), at)
        call: Call = {"op": "embed", "inputs": body.input, "adapter": adapter, "dimensions": body.dimensions}
        async with self._generator.admitted(request.scope["caller"], call) as ticket:
            vectors, result = await while_connected(request, self.vectors(call, ticket))
        named = f"{self._model}+{adapter}" if adapter else self._model
        return StreamingResponse(_vectors(vectors, result, named, body.encoding_format), media_type=_JSON)

    async def vectors(self, call: Call, ticket: Ticket) -> tuple[list[str], Embedded]:
        """What the engine makes of each of a call's inputs, as the base64 of 32-bit values, and the figures of all."""
        found: dict[int, str] = {}
        async with self._generator.embedding_turn(ticket), aclosing(parts_of(self._engine, call)) as parts:
            async for part in parts:
                if "embedding" not in part:
                    ticket.used = cast("Embedded", part)["tokens"]
                    return [found[n] for n in range(len(found))], cast("Embedded", part)
                found[part["index"]] = part["embedding"]
        raise LlmopsError("engine_died", "the engine gave no answer")

    async def _tokens(self, call: Call, facts: _Said) -> AsyncIterator[bytes]:
        """One object of JSON: the tokens, then the pieces, then what there is once."""
        name, begun = "", b"{"
        async with aclosing(parts_of(self._engine, call)) as parts:
            async for part in parts:
                if "count" in part:
                    # An empty text has neither tokens nor pieces.
                    empty = b"" if name else b'"tokens":[],"pieces":['
                    yield begun * (not name) + empty + b"]," + orjson.dumps({**part, **facts})[1:]
                    return
                ((key, values),) = part.items()
                head = b"," if key == name else (b"]," if name else begun) + f'"{key}":['.encode()
                name = key
                yield head + orjson.dumps(values)[1:-1]


async def _in_parts(request: Request, parts: AsyncIterator[bytes]) -> Response:
    """An answer whose first part is awaited, so that a refusal is an HTTP error and not a broken answer."""
    first = await while_connected(request, anext(parts))
    return StreamingResponse(chain(first, parts), media_type=_JSON)


async def _vectors(vectors: list[str], result: Embedded, model: str, form: str) -> AsyncIterator[bytes]:
    """The answer to a request for embeddings, a chunk at a time."""
    chunk = bytearray(b'{"object":"list","model":' + orjson.dumps(model) + b',"data":[')
    for index, packed in enumerate(vectors):
        shown: Any = packed
        if form == "float":
            shown = struct.unpack(f"<{result['dimensions']}f", base64.b64decode(packed))
        chunk += b"," if index else b""
        chunk += orjson.dumps({"object": "embedding", "index": index, "embedding": shown})
        if len(chunk) > _CHUNK:
            yield bytes(chunk)
            chunk.clear()
            await asyncio.sleep(0)
    usage = {"prompt_tokens": result["tokens"], "total_tokens": result["tokens"]}
    yield bytes(chunk) + b'],"usage":' + orjson.dumps(usage) + b"}"
