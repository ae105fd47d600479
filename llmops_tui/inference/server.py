"""The model server: an OpenAI-compatible endpoint on a Unix socket in front of one engine process."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference import api
from llmops_tui.inference.templating import TemplateRenderer
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.journal import Journal
from llmops_tui.workspace.layout import Workspace

_Body = TypeVar("_Body", bound=pydantic.BaseModel)

MAX_BODY = 4_000_000
MAX_WAITING = 64
# A model without a template of its own still has to be talked to; this is the plainest form.
_PLAIN_TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


@dataclass(frozen=True)
class ServerOptions:
    """What one model server is started with."""

    workspace: str
    model: str
    path: str
    sha256: str
    socket: str
    key: str
    chat_template: str | None
    context: int = 0
    threads: int = 0
    gpu_layers: int = 0
    idle_seconds: float = 900.0


@dataclass
class _Record:
    """One request as the journal keeps it."""

    id: str
    body: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    first_at: float | None = None
    text: list[str] = field(default_factory=list)


class ModelServer:
    """Answers requests one at a time; the others wait in a bounded queue."""

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._journal = Journal(Workspace(Path(options.workspace)))
        log = Path(options.workspace) / "logs" / f"engine-{options.model}.log"
        self.engine = EngineProcess(
            {
                "path": options.path, "context": options.context, "threads": options.threads,
                "gpu_layers": options.gpu_layers,
            },
            log,
        )  # fmt: skip
        self._renderer = TemplateRenderer()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self.last_used = time.monotonic()
        self.failure: LlmopsError | None = None

    @property
    def busy(self) -> bool:
        """Whether any request runs or waits."""
        return self._waiting > 0

    def app(self) -> Starlette:
        """The HTTP application."""
        routes = [
            Route("/health", self._health),
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._completion, methods=["POST"]),
            Route("/tokenize", self._tokenize, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={LlmopsError: _answer_error})

    async def load(self) -> None:
        """Start the engine; a failure is kept for ``/health`` to tell."""
        try:
            await self.engine.start()
            await asyncio.to_thread(self._render, [api.Message(role="user", content="hello")])
        except LlmopsError as error:
            self.failure = error

    async def close(self) -> None:
        """End all processes."""
        await self.engine.stop()
        self._renderer.close()

    async def _health(self, _request: Request) -> Response:
        if self.failure is not None:
            return JSONResponse({"status": "failed", "error": self.failure.as_dict()}, 503)
        if not self.engine.info:
            return JSONResponse({"status": "loading"}, 503)
        facts = {"status": "ok", "model": self.options.model, "engine_pid": self.engine.pid, "waiting": self._waiting}
        return JSONResponse(facts | self.engine.info)

    async def _models(self, request: Request) -> Response:
        self._authorize(request)
        entry = {"id": self.options.model, "object": "model", "created": 0, "owned_by": "local"}
        return JSONResponse({"object": "list", "data": [entry]})

    async def _chat(self, request: Request) -> Response:
        body = await self._body(request, api.ChatRequest)
        messages = [m.model_dump() for m in body.messages]
        text = await asyncio.to_thread(self._render, body.messages)
        return await self._generate("chat", body, text, messages, add_special=False)

    async def _completion(self, request: Request) -> Response:
        body = await self._body(request, api.CompletionRequest)
        messages = [{"role": "prompt", "content": body.prompt}]
        return await self._generate("text", body, body.prompt, messages, add_special=True)

    async def _tokenize(self, request: Request) -> Response:
        body = await self._body(request, api.TokenizeRequest)
        text = body.content or ""
        if body.messages is not None:
            text = await asyncio.to_thread(self._render, body.messages)
        call = {
            "op": "tokenize", "id": new_id("tok"), "text": text,
            "add_special": body.add_special, "parse_special": body.parse_special,
        }  # fmt: skip
        async for batch in self.engine.call(call):
            if batch[-1]["event"] == "error":
                raise LlmopsError(**batch[-1]["error"])
        return JSONResponse(batch[-1]["result"] | {"text": text})

    def _render(self, messages: list[api.Message]) -> str:
        info = self.engine.info
        context = {
            "messages": [m.model_dump() for m in messages],
            "add_generation_prompt": True,
            "bos_token": info.get("bos", ""),
            "eos_token": info.get("eos", ""),
        }
        return self._renderer.render(self.options.chat_template or _PLAIN_TEMPLATE, context, "chat")

    async def _generate(
        self,
        kind: str,
        body: api.ChatRequest | api.CompletionRequest,
        text: str,
        messages: list[dict[str, Any]],
        *,
        add_special: bool,
    ) -> Response:
        try:
            parameters = body.sampling()
        except pydantic.ValidationError as error:
            raise _invalid(error) from error
        if self._waiting >= MAX_WAITING:
            busy = api.error_body(
                "queue_full", f"{self._waiting} requests are waiting already", kind="rate_limit_error"
            )
            return JSONResponse(busy, 429, headers={"Retry-After": "2"})
        known = body.metadata
        record = _Record(
            str(known.get("run_id") or new_id("run")),
            {
                "started_at": time.time(), "model": self.options.model, "model_sha256": self.options.sha256,
                "prompt": known.get("prompt"), "prompt_version": known.get("prompt_version"),
                "variables": known.get("variables"), "messages": messages, "parameters": parameters.model_dump(),
                "engine": self.engine.info.get("engine"),
            },
        )  # fmt: skip
        call = {
            "op": "generate", "id": record.id, "text": text, "add_special": add_special,
            "parameters": parameters.model_dump(),
        }  # fmt: skip
        if body.stream:
            events = self._stream(kind, body, record, call)
            # The first event is awaited here, so that a refusal is still an HTTP error and not a broken stream.
            first = await anext(events)
            return StreamingResponse(_chain(first, events), media_type="text/event-stream")
        done: dict[str, Any] = {}
        async for messages_ in self._run(record, call):
            done = messages_[-1]
        result = done["result"]
        answer = api.whole(kind, record.id, self.options.model, "".join(record.text), result["finish_reason"])
        return JSONResponse(answer | {"usage": api.usage(result), "timings": result})

    async def _stream(
        self, kind: str, body: api.ChatRequest | api.CompletionRequest, record: _Record, call: dict[str, Any]
    ) -> AsyncIterator[bytes]:
        """Server-sent events; all that is there is written at once, so a slow reader costs few writes."""
        try:
            async for messages in self._run(record, call):
                out = []
                for message in messages:
                    if message["event"] == "text":
                        event = api.chunk(kind, record.id, self.options.model, message["text"], None)
                    else:
                        reason = message["result"]["finish_reason"]
                        event = api.chunk(kind, record.id, self.options.model, None, reason)
                        event["timings"] = message["result"]
                        if body.stream_options.include_usage:
                            event["usage"] = api.usage(message["result"])
                    out.append(f"data: {json.dumps(event)}\n\n")
                yield "".join(out).encode()
            yield b"data: [DONE]\n\n"
        except LlmopsError as error:
            if not record.text:
                raise
            body_ = api.error_body(error.code, error.message, error.hint, "server_error")
            yield f"data: {json.dumps(body_)}\n\n".encode()

    async def _run(self, record: _Record, call: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        """Run one generation in its turn; what became of it is in the journal before the last message is passed on."""
        self._waiting += 1
        try:
            async with self._turn:
                async for messages in self.engine.call(call):
                    self.last_used = time.monotonic()
                    *before, last = messages
                    texts = [m["text"] for m in messages if m["event"] == "text"]
                    if texts:
                        record.first_at = record.first_at or time.monotonic()
                        record.text += texts
                    if last["event"] == "error":
                        error = LlmopsError(**last["error"])
                        self._keep(record, {"finish_reason": "error", "error": error.message})
                        if before:
                            yield before
                        raise error
                    if last["event"] == "done":
                        self._keep(record, last["result"])
                    yield messages
        except (asyncio.CancelledError, GeneratorExit):
            self._keep(record, {"finish_reason": "cancelled"})
            raise
        finally:
            self._waiting -= 1
            self.last_used = time.monotonic()

    def _keep(self, record: _Record, result: dict[str, Any]) -> None:
        now = time.monotonic()
        times: dict[str, Any] = {"total_ms": (now - record.started) * 1000}
        if record.first_at is not None:
            times["ttft_ms"] = (record.first_at - record.started) * 1000
        if result["finish_reason"] == "cancelled":
            times["completion_tokens"] = len(record.text)
        self._journal.append("request", record.id, record.body | times | result | {"output": "".join(record.text)})

    async def _body(self, request: Request, model: type[_Body]) -> _Body:
        self._authorize(request)
        self.last_used = time.monotonic()
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise InputRefusedError("not_json", "the body must be application/json")
        raw = bytearray()
        async for part in request.stream():
            raw += part
            if len(raw) > MAX_BODY:
                raise InputRefusedError("body_too_large", f"the body is larger than {MAX_BODY:,} bytes")
        try:
            return model.model_validate_json(bytes(raw))
        except pydantic.ValidationError as error:
            raise _invalid(error) from error

    def _authorize(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.options.key.encode()):
            raise LlmopsError("invalid_api_key", "the API key is missing or wrong")


# Refusals that the engine makes come over its pipe without their type.
_STATUS = {
    "invalid_api_key": 401, "body_too_large": 413, "not_json": 415, "context_length_exceeded": 400, "empty_prompt": 400,
    "engine_keeps_dying": 503, "model_load_failed": 503,
}  # fmt: skip


async def _answer_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, LlmopsError)
    status = _STATUS.get(error.code, 400 if isinstance(error, InputRefusedError) else 500)
    return JSONResponse(api.error_body(error.code, error.message, error.hint), status)


def _invalid(error: pydantic.ValidationError) -> InputRefusedError:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the body"
    return InputRefusedError("invalid_request", f"{place}: {first['msg']}")


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


async def serve(options: ServerOptions, state: Path) -> None:
    """Serve until asked to stop or idle for too long; ``state`` is removed at the end."""
    server = ModelServer(options)
    http = uvicorn.Server(
        uvicorn.Config(
            server.app(), uds=options.socket, log_level="warning", access_log=False, lifespan="off",
            timeout_keep_alive=30, h11_max_incomplete_event_size=16_384,
        )
    )  # fmt: skip
    loading = asyncio.create_task(server.load())
    idle = asyncio.create_task(_stop_when_idle(server, http))
    try:
        await http.serve()
    finally:
        idle.cancel()
        loading.cancel()
        await server.close()
        _clean_up(options, state)


def _clean_up(options: ServerOptions, state: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        if json.loads(state.read_text())["pid"] == os.getpid():
            state.unlink()
    Path(options.socket).unlink(missing_ok=True)


async def _stop_when_idle(server: ModelServer, http: uvicorn.Server) -> None:
    while True:
        await asyncio.sleep(1)
        idle = not server.busy and time.monotonic() - server.last_used > server.options.idle_seconds
        if idle or server.failure is not None:
            # A failed load stays up for a moment, so that whoever waits for it can read why.
            await asyncio.sleep(3 if server.failure is not None else 0)
            http.should_exit = True
            return


if __name__ == "__main__":
    os.umask(0o077)
    state_path = Path(sys.argv[1])
    asyncio.run(serve(ServerOptions(**json.loads(state_path.read_text())["options"]), state_path))
