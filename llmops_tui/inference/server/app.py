"""The HTTP application of one model server: its routes, and what each does."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.server import events, schemas
from llmops_tui.inference.server.adapters import AdapterShelf
from llmops_tui.inference.server.conversation import AnswerReader, ChatFormat, tool_constraint
from llmops_tui.inference.server.generation import Choice, Generator, QueueFullError
from llmops_tui.inference.server.guard import Guard
from llmops_tui.inference.server.metrics import ServerMetrics
from llmops_tui.inference.server.openapi import api_page, describe_api
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.records import JournalWriter, Record
from llmops_tui.inference.templating import TemplateRenderer
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.journal import Journal
from llmops_tui.workspace.layout import Workspace

_Body = TypeVar("_Body", bound=pydantic.BaseModel)
_Result = TypeVar("_Result")
_ENGINE_OPTIONS = ("path", "context", "threads", "gpu_layers", "parallel", "cache_bytes", "speculate", "precision")
_STATE_SECONDS = 2.0


class ModelServer:
    """One model's endpoint: many requests at once, a bounded queue before them."""

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        workspace = Workspace(Path(options.workspace))
        self._format = ChatFormat.of(options.chat_template)
        self._writer = JournalWriter(Journal(workspace))
        self._metrics = ServerMetrics(options.model)
        self.engine = EngineProcess(
            {name: getattr(options, name) for name in _ENGINE_OPTIONS} | {"visible": self._format.visible},
            workspace.logs / f"engine-{options.model}.log",
            hang_seconds=options.hang_seconds,
            lost=self._metrics.engine_lost,
        )
        self.generator = Generator(self.engine, self._writer, self._metrics, options.parallel)
        self._adapters = AdapterShelf(workspace, options.model, self.engine)
        self._renderer = TemplateRenderer()
        self.failure: LlmopsError | None = None

    def app(self) -> ASGIApp:
        """The HTTP application, guarded."""
        post = ["POST"]
        routes = [
            Route("/health", self._health),
            Route("/ping", self._health),
            Route("/metrics", self._metrics_page),
            Route("/openapi.json", self._openapi),
            Route("/docs", self._docs),
            Route("/v1/models", self._models),
            Route("/v1/models/{name:path}", self._model),
            Route("/v1/chat/completions", self._chat, methods=post),
            Route("/v1/completions", self._completion, methods=post),
            Route("/v1/embeddings", self._embeddings, methods=post),
            Route("/v1/responses", self._responses, methods=post),
            Route("/tokenize", self._tokenize, methods=post),
            Route("/detokenize", self._detokenize, methods=post),
            Route("/tokenizer_info", self._tokenizer_info),
        ]
        handlers = {LlmopsError: self._answer_error, 404: _plain_error, 405: _plain_error, Exception: _unexpected}
        return Guard(Starlette(routes=routes, exception_handlers=handlers), self.options)

    async def load(self) -> None:
        """Start the engine; a failure is kept for ``/health`` to tell."""
        try:
            await self.engine.start()
            # The first rendering starts the template process.
            await asyncio.to_thread(self._render, [{"role": "user", "content": "hello"}], None, {})
        except LlmopsError as error:
            self.failure = error

    async def close(self) -> None:
        """End all processes; what is recorded is written."""
        await self._writer.close()
        await self.engine.stop()
        self._renderer.close()

    # Facts

    async def _health(self, request: Request) -> Response:
        trusted = bool(request.scope.get("trusted"))
        if self.failure is not None:
            return JSONResponse({"status": "failed"} | ({"error": self.failure.as_dict()} if trusted else {}), 503)
        if not self.engine.info:
            return JSONResponse({"status": "loading"}, 503)
        facts: dict[str, Any] = {"status": "ok"}
        if trusted:
            facts |= {
                "model": self.options.model, "engine_pid": self.engine.pid, "active": self.generator.active,
                "waiting": self.generator.queued, "last_failure": self.engine.last_failure, **self.engine.info,
                "state": await self._engine_state(),
            }  # fmt: skip
        return JSONResponse(facts)

    async def _metrics_page(self, _request: Request) -> Response:
        page = self._metrics.page(await self._engine_state(), self.generator.queued)
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _engine_state(self) -> dict[str, Any]:
        if self.engine.pid is None:
            return {}
        try:
            async with asyncio.timeout(_STATE_SECONDS):
                return await self._ask({"op": "state"})
        except (TimeoutError, LlmopsError):
            return {}

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(describe_api())

    async def _docs(self, _request: Request) -> Response:
        return HTMLResponse(api_page())

    async def _models(self, _request: Request) -> Response:
        names = [self.options.model, *(f"{self.options.model}+{a}" for a in await self._adapters.names())]
        return JSONResponse({"object": "list", "data": [_model_entry(name) for name in names]})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._adapters.of(name, "")
        return JSONResponse(_model_entry(name))

    async def _tokenizer_info(self, _request: Request) -> Response:
        info = self.engine.info
        return JSONResponse(
            {
                "bos_token": info.get("bos") or None, "eos_token": info.get("eos") or None,
                "add_bos_token": info.get("add_bos", False), "chat_template": self.options.chat_template,
            }
        )  # fmt: skip

    # Generation

    async def _chat(self, request: Request) -> Response:
        body = await self._body(request, schemas.ChatRequest)
        return await self._run_chat(request, body)

    async def _run_chat(self, request: Request, body: schemas.ChatRequest) -> Response:
        choices = await self._chat_choices(body)
        return await self._respond("chat", request, body, choices)

    async def _chat_choices(self, body: schemas.ChatRequest) -> list[Choice]:
        adapter = await self._adapters.of(body.model, body.adapter)
        tools = [t.model_dump() for t in body.tools or ()] if body.tool_choice != "none" else []
        form = body.constraint()
        if tools:
            form = tool_constraint(self._format, tools, body.tool_choice or "auto")
        turns = [m.as_turn() for m in body.messages]
        prompt = await asyncio.to_thread(self._render, turns, tools or None, body.chat_template_kwargs)
        dropped = 0
        if body.truncate == "oldest":
            prompt, dropped = await self._drop_oldest(turns, prompt, tools, body)
        source = {"text": prompt, "add_special": False}
        choices = []
        for index in range(body.n):
            choice = self._choice(body, index, source, turns, adapter, form, body.alternatives)
            choice.reader = AnswerReader(self._format, prompt=prompt, tools=bool(tools))
            choice.record.body["dropped_turns"] = dropped
            choices.append(choice)
        return choices

    async def _completion(self, request: Request) -> Response:
        body = await self._body(request, schemas.CompletionRequest)
        adapter = await self._adapters.of(body.model, body.adapter)
        choices: list[Choice] = []
        for prompt in body.prompts():
            is_text = isinstance(prompt, str)
            source = {"text": prompt, "add_special": body.add_special_tokens} if is_text else {"tokens": prompt}
            shown = str(prompt) if is_text else json.dumps(prompt)
            for _ in range(body.n):
                turns = [{"role": "prompt", "content": shown}]
                choice = self._choice(body, len(choices), source, turns, adapter, body.constraint(), body.logprobs)
                if body.echo and body.logprobs is not None:
                    choice.call["score_from"] = body.logprob_start_len
                elif body.echo:
                    choice.echo = (
                        shown if is_text else (await self._ask({"op": "detokenize", "tokens": prompt}))["text"]
                    )
                choices.append(choice)
        return await self._respond("text", request, body, choices)

    def _choice(
        self,
        body: schemas.ChatRequest | schemas.CompletionRequest,
        index: int,
        source: dict[str, Any],
        turns: list[dict[str, Any]],
        adapter: str,
        form: dict[str, Any] | None,
        logprobs: int | None,
    ) -> Choice:
        try:
            parameters = body.sampling(index).model_dump()
        except pydantic.ValidationError as error:
            raise _invalid(error) from error
        known = body.metadata or {}
        given_id = known.get("run_id") if index == 0 else None
        record = Record(
            str(given_id)[:100] if given_id else new_id("run"),
            {
                "started_at": time.time(), "model": self._named(adapter), "model_sha256": self.options.sha256,
                "adapter_sha256": self._adapters.sha256(adapter), "prompt": known.get("prompt"),
                "prompt_version": known.get("prompt_version"), "variables": known.get("variables"), "messages": turns,
                "parameters": parameters,
                "engine": self.engine.info.get("engine"),
            },
        )  # fmt: skip
        call = {
            "op": "generate", "id": new_id("call"), "parameters": parameters, "adapter": adapter, "logprobs": logprobs,
            "response_format": form, "truncate": "" if body.truncate == "oldest" else body.truncate,
            "reuse": body.cache_prompt, "ignore_eos": body.ignore_eos, "add_special": False, **source,
        }  # fmt: skip
        return Choice(index, record, call)

    async def _respond(
        self,
        kind: str,
        request: Request,
        body: schemas.ChatRequest | schemas.CompletionRequest,
        choices: list[Choice],
    ) -> Response:
        teller = events.Teller(kind, choices[0].record.id, self._named(choices[0].call["adapter"]))
        if body.stream:
            stream = self._stream(teller, choices, usage=body.include_usage)
            # The first event is awaited here, so that a refusal is still an HTTP error and not a broken stream.
            first = await _while_connected(request, anext(stream))
            return StreamingResponse(_chain(first, stream), media_type="text/event-stream")

        async def work() -> None:
            with self.generator.admitted():
                await self.generator.run_all(choices)

        await _while_connected(request, work())
        return JSONResponse(teller.whole(choices))

    async def _stream(self, teller: events.Teller, choices: list[Choice], *, usage: bool) -> AsyncIterator[bytes]:
        """Server-sent events; all that is there is written at once, so a slow reader costs few writes."""
        begun = False
        try:
            with self.generator.admitted():
                async for choice, messages in self.generator.stream_all(choices):
                    if out := teller.stream(choice, messages):
                        begun = True
                        yield out
            if usage:
                yield teller.usage(choices)
            yield b"data: [DONE]\n\n"
        except LlmopsError as error:
            if not begun:
                raise
            failure = schemas.error_body(error.code, error.message, error.hint, "server_error")
            yield f"data: {json.dumps(failure)}\n\n".encode()

    async def _responses(self, request: Request) -> Response:
        body = await self._body(request, schemas.ResponsesRequest)
        try:
            chat = body.as_chat()
        except pydantic.ValidationError as error:
            raise _invalid(error) from error
        (choice,) = await self._chat_choices(chat)
        teller = events.ResponseTeller(choice.record.id.replace("run_", "resp_"), self.options.model)
        if body.stream:

            async def stream() -> AsyncIterator[bytes]:
                yield teller.opened()
                with self.generator.admitted():
                    async for messages in self.generator.run(choice):
                        if out := teller.stream(choice, messages):
                            yield out

            return StreamingResponse(stream(), media_type="text/event-stream")

        async def work() -> None:
            with self.generator.admitted():
                await self.generator.run_all([choice])

        await _while_connected(request, work())
        return JSONResponse(teller.whole(choice))

    async def _embeddings(self, request: Request) -> Response:
        body = await self._body(request, schemas.EmbeddingRequest)
        await self._adapters.of(body.model, "")
        data, total = [], 0
        with self.generator.admitted():
            for index, given in enumerate(body.inputs()):
                source = {"text": given, "add_special": True} if isinstance(given, str) else {"tokens": given}
                result = await _while_connected(request, self._ask({"op": "embed", **source}))
                vector: list[float] = result["embedding"]
                if body.dimensions is not None and body.dimensions != len(vector):
                    raise InputRefusedError(
                        "bad_dimensions",
                        f"this model's embeddings have {len(vector)} dimensions, not {body.dimensions}",
                    )
                total += result["tokens"]
                packed = struct.pack(f"<{len(vector)}f", *vector)
                shown = vector if body.encoding_format == "float" else base64.b64encode(packed).decode()
                data.append({"object": "embedding", "index": index, "embedding": shown})
        usage = {"prompt_tokens": total, "total_tokens": total}
        return JSONResponse({"object": "list", "model": self.options.model, "data": data, "usage": usage})

    async def _tokenize(self, request: Request) -> Response:
        body = await self._body(request, schemas.TokenizeRequest)
        text = body.content if body.content is not None else body.prompt or ""
        if body.messages is not None:
            text = await asyncio.to_thread(self._render, [m.as_turn() for m in body.messages], None, {})
        special = body.add_special if body.add_special is not None else body.add_special_tokens
        call = {"op": "tokenize", "text": text, "add_special": special, "parse_special": body.parse_special}
        result = await self._ask(call)
        return JSONResponse(result | {"text": text, "count": len(result["tokens"]), "max_model_len": self._context})

    async def _detokenize(self, request: Request) -> Response:
        body = await self._body(request, schemas.DetokenizeRequest)
        result = await self._ask({"op": "detokenize", "tokens": body.tokens})
        return JSONResponse(result | {"prompt": result["text"]})

    # Helpers

    def _named(self, adapter: str) -> str:
        return f"{self.options.model}+{adapter}" if adapter else self.options.model

    @property
    def _context(self) -> int:
        return int(self.engine.info.get("n_ctx", 0))

    async def _ask(self, call: dict[str, Any]) -> dict[str, Any]:
        """One short operation of the engine."""
        async for batch in self.engine.call({"id": new_id("ask"), **call}):
            last = batch[-1]
            if last["event"] == "error":
                raise LlmopsError(**last["error"])
            if last["event"] == "done":
                return dict(last["result"])
        raise LlmopsError("engine_died", "the engine gave no answer")

    def _render(self, turns: list[dict[str, Any]], tools: list[dict[str, Any]] | None, extra: dict[str, Any]) -> str:
        info = self.engine.info
        context = extra | {
            "messages": turns,
            "tools": tools,
            "add_generation_prompt": True,
            "bos_token": info.get("bos", ""),
            "eos_token": info.get("eos", ""),
        }
        return self._renderer.render(self._format.template, context, "chat")

    async def _drop_oldest(
        self, turns: list[dict[str, Any]], prompt: str, tools: list[dict[str, Any]], body: schemas.ChatRequest
    ) -> tuple[str, int]:
        """Drop the oldest turns after the system's until the prompt and a quarter of the context fit."""
        kept = 1 if turns[0]["role"] == "system" else 0
        dropped = 0
        room = self._context - min(body.sampling().max_tokens, self._context // 4)
        while len(turns) > kept + 1:
            counted = await self._ask({"op": "tokenize", "text": prompt, "add_special": False})
            if len(counted["tokens"]) <= room:
                break
            # Halving keeps the number of renderings small; the rest goes turn by turn.
            excess = len(counted["tokens"]) / max(1, room)
            count = max(1, int((len(turns) - kept - 1) * (1 - 1 / excess) / 2))
            del turns[kept : kept + count]
            dropped += count
            prompt = await asyncio.to_thread(self._render, turns, tools or None, body.chat_template_kwargs)
        return prompt, dropped

    async def _body(self, request: Request, model: type[_Body]) -> _Body:
        self.generator.last_used = time.monotonic()
        try:
            return model.model_validate_json(await request.body())
        except pydantic.ValidationError as error:
            raise _invalid(error) from error

    async def _answer_error(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, LlmopsError)
        self._metrics.refused(error.code)
        status = _STATUS.get(error.code, 400 if isinstance(error, InputRefusedError) else 500)
        kind = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}.get(status, "invalid_request_error")
        headers = {"Retry-After": "1"} if isinstance(error, QueueFullError) else None
        return JSONResponse(schemas.error_body(error.code, error.message, error.hint, kind), status, headers=headers)


# Refusals that the engine makes come over its pipe without their type.
_STATUS = {
    "queue_full": 429, "model_not_found": 404, "adapter_not_found": 404, "engine_keeps_dying": 503, "engine_died": 503,
    "engine_hung": 503, "model_load_failed": 503, "context_failed": 503,
    **dict.fromkeys(
        (
            "context_length_exceeded", "empty_prompt", "empty_input", "bad_token", "invalid_request", "grammar_invalid",
            "schema_invalid", "bad_response_format", "adapter_load_failed", "tokenize_failed",
        ),
        400,
    ),
}  # fmt: skip


async def _plain_error(_request: Request, error: Exception) -> Response:
    status = int(getattr(error, "status_code", 500))
    message = {404: "there is nothing here", 405: "this method is not for this path"}.get(status, "refused")
    headers = getattr(error, "headers", None)
    return JSONResponse(
        schemas.error_body("not_found" if status == 404 else "method_not_allowed", message), status, headers
    )


async def _unexpected(_request: Request, _error: Exception) -> Response:
    # The traceback is in the server's log; what is inside it is nobody's business outside.
    return JSONResponse(schemas.error_body("internal_error", "the server failed", kind="server_error"), 500)


def _invalid(error: pydantic.ValidationError) -> InputRefusedError:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part)[:60] for part in first["loc"][:6]) or "the body"
    return InputRefusedError("invalid_request", f"{place}: {first['msg']}"[:500])


def _model_entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "local"}


async def _while_connected(request: Request, work: Awaitable[_Result]) -> _Result:
    """Await work for as long as its client is there; then cancel it.

    Raises:
        asyncio.CancelledError: the client left.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.ensure_future(work)
    leaving = asyncio.create_task(gone())
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise LlmopsError("client_left", "the client left")
        result: _Result = task.result()
        return result
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part
