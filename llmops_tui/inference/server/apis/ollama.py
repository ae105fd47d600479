"""Ollama's API: conversations, prompts, vectors, and what there is to be told of the served model."""

from __future__ import annotations

import base64
import re
import struct
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from llmops_tui import __version__
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import Call
from llmops_tui.inference.server.adapters import AdapterShelf
from llmops_tui.inference.server.apis.base import Answer, Asked, AskedText, Complete, FormatOf
from llmops_tui.inference.server.apis.ollama_models import ServedModel, capabilities
from llmops_tui.inference.server.apis.ollama_request import (
    OllamaChat,
    OllamaEmbed,
    OllamaEmbeddings,
    OllamaGenerate,
    OllamaShow,
    Options,
)
from llmops_tui.inference.server.apis.ollama_teller import OllamaTeller, silence
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.connection import read_body, translated, while_connected
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.gaps import Gap
from llmops_tui.inference.server.generation import Generator
from llmops_tui.inference.server.schemas import ChatRequest, CompletionRequest
from llmops_tui.inference.server.texts import Texts

# Clients ask for it, and use no API that is newer.
API_VERSION = "0.12.6"
# What is managed by commands, since a client of a served model is not the owner of the workspace.
_ELSEWHERE = {
    "pull": "Fetch models with llmops model get, and serve them.",
    "create": "Register models with llmops model add, and merge adapters with llmops model merge.",
    "delete": "Remove models with llmops model remove.",
    "copy": "Register the file under another name with llmops model add.",
    "push": "Models are not sent anywhere.",
    "blobs/{digest}": "Register models with llmops model add.",
}
_SAMPLING = {
    "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty", "seed", "stop",
}  # fmt: skip


class OllamaApi:
    """The endpoints below ``/api``; ``answer`` and ``complete`` answer what is a chat or a text completion."""

    def __init__(
        self,
        model: ServedModel,
        format_of: FormatOf,
        engine: Engine,
        generator: Generator,
        adapters: AdapterShelf,
        texts: Texts,
        answer: Answer,
        complete: Complete,
    ) -> None:
        self._model = model
        self._format_of = format_of
        self._engine = engine
        self._generator = generator
        self._adapters = adapters
        self._texts = texts
        self._answer = answer
        self._complete = complete

    def routes(self) -> list[Route]:
        """Its addresses."""
        posted: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "chat": self.chat,
            "generate": self.generate,
            "embed": self.embed,
            "embeddings": self.embeddings,
            "show": self.show,
        }
        told = {"tags": self.tags, "ps": self.running}
        return [
            *(Route(f"/api/{name}", do, methods=["POST"]) for name, do in posted.items()),
            *(Route(f"/api/{name}", do) for name, do in told.items()),
            *modelless_routes(),
        ]

    async def chat(self, request: Request) -> Response:
        """``POST /api/chat``."""
        body = await read_body(request, OllamaChat)
        await self._check(request, body.model, body.options)
        if body.silent:
            return self._loaded(body)
        given = body.as_chat() | await self._thinking(request, body)
        chat = translated(ChatRequest, given, _called)
        return await self._answer(request, Asked(chat, body.stream, _teller(body.model, chat=True), _called))

    async def generate(self, request: Request) -> Response:
        """``POST /api/generate``."""
        body = await read_body(request, OllamaGenerate)
        await self._check(request, body.model, body.options)
        if body.silent:
            return self._loaded(body)
        teller = _teller(body.model, chat=False)
        if body.plain:
            text = translated(CompletionRequest, body.as_text(), _of_prompt)
            gap = Gap(body.suffix) if body.suffix else None
            return await self._complete(request, AskedText(text, body.stream, teller, _of_prompt, gap))
        chat = translated(ChatRequest, body.as_chat() | await self._thinking(request, body), _of_prompt)
        return await self._answer(request, Asked(chat, body.stream, teller, _of_prompt))

    async def embed(self, request: Request) -> Response:
        """``POST /api/embed``."""
        body = await read_body(request, OllamaEmbed)
        begun = time.monotonic()
        vectors, tokens = await self._vectors(request, body.model, body.input, body.dimensions, body.options)
        took = round((time.monotonic() - begun) * 1e9)
        figures = {"total_duration": took, "load_duration": 0, "prompt_eval_count": tokens}
        return JSONResponse({"model": body.model, "embeddings": vectors, **figures})

    async def embeddings(self, request: Request) -> Response:
        """``POST /api/embeddings``."""
        body = await read_body(request, OllamaEmbeddings)
        vectors, _ = await self._vectors(request, body.model, [body.prompt], None, body.options)
        return JSONResponse({"embedding": vectors[0]})

    async def tags(self, request: Request) -> Response:
        """``GET /api/tags``: the model, and each adapter with it."""
        names = [self._model.name, *(f"{self._model.name}+{name}" for name in await self._adapters.names())]
        facts = await self._model.facts()
        seen = [name for name in names if request.scope["caller"].sees(name)]
        return JSONResponse({"models": [{"name": name, "model": name, **facts} for name in seen]})

    async def running(self, request: Request) -> Response:
        """``GET /api/ps``: the model, which is loaded as long as its server runs."""
        if not request.scope["caller"].sees(self._model.name):
            return JSONResponse({"models": []})
        facts = await self._model.facts()
        facts.pop("modified_at")
        context = (await self._engine.facts())["n_ctx"]
        named = {"name": self._model.name, "model": self._model.name}
        return JSONResponse({"models": [{**named, **facts, "expires_at": None, "context_length": context}]})

    async def show(self, request: Request) -> Response:
        """``POST /api/show``."""
        body = await read_body(request, OllamaShow)
        info = await self._engine.facts()
        able = capabilities(
            await self._format_of(request, body.model),
            generates=info.get("generates", True),
            ranks=bool(info.get("ranks")),
            fills=bool(info.get("fills")),
        )
        return JSONResponse({**await self._model.shown(), "capabilities": able})

    async def _check(self, request: Request, model: str, options: Options) -> None:
        """Refuse another model, and a context that is not there."""
        await self._adapters.of(request.scope["caller"], model)
        context = (await self._engine.facts())["n_ctx"]
        if options.num_ctx is not None and options.num_ctx > context:
            raise FieldRefusedError(
                "options.num_ctx",
                f"the model is loaded with a context of {context:,} tokens, and {options.num_ctx:,} are requested",
                f"Serve it with --context {options.num_ctx}.",
            )

    async def _thinking(self, request: Request, body: OllamaChat | OllamaGenerate) -> JsonObject:
        """What makes the template think as much as wanted."""
        think, chat = body.think, await self._format_of(request, body.model)
        if think is None:
            return {}
        if think is False:
            return {"reasoning_effort": "none"}
        if chat.answers.thinking is None:
            raise FieldRefusedError("think", "this model does not think", "Leave it out, or give false.")
        if think is True:
            named = chat.mentions("enable_thinking")
            return {"chat_template_kwargs": {"enable_thinking": True}} if named else {}
        return {"reasoning_effort": think}

    def _loaded(self, body: OllamaChat | OllamaGenerate) -> Response:
        """The answer to a request that says nothing, which clients send to have a model loaded."""
        if body.unloads:
            raise FieldRefusedError(
                "keep_alive",
                "0 asks to unload the model, which stays loaded until its server ends",
                f"End it with llmops model stop {self._model.name}, or serve with --all.",
            )
        return JSONResponse(silence(body, "load"))

    async def _vectors(
        self, request: Request, model: str, texts: list[str], dimensions: int | None, options: Options
    ) -> tuple[list[list[float]], int]:
        """The vectors of texts, and how many tokens these have."""
        await self._check(request, model, options)
        adapter = await self._adapters.of(request.scope["caller"], model)
        call: Call = {"op": "embed", "inputs": texts, "adapter": adapter, "dimensions": dimensions}
        async with self._generator.admitted(request.scope["caller"], call) as ticket:
            packed, result = await while_connected(request, self._texts.vectors(call, ticket))
        width = result["dimensions"]
        return [list(struct.unpack(f"<{width}f", base64.b64decode(one))) for one in packed], result["tokens"]


_ANY = ["GET", "HEAD", "POST", "PUT", "DELETE"]


def modelless_routes() -> list[Route]:
    """The addresses that are no model's: what version this is, and what no server does."""
    refused = (Route(f"/api/{name}", _refusal(name, hint), methods=_ANY) for name, hint in _ELSEWHERE.items())
    return [Route("/", _heartbeat), Route("/api/version", _version), *refused]


async def _heartbeat(_request: Request) -> Response:
    """What clients ask first; some go by the words."""
    return PlainTextResponse("Ollama is running")


async def _version(_request: Request) -> Response:
    """Of the API that is spoken, and of what speaks it."""
    return JSONResponse({"version": API_VERSION, "server": f"llmops {__version__}"})


def _refusal(name: str, hint: str) -> Callable[[Request], Awaitable[Response]]:
    async def refused(_request: Request) -> Response:
        path = f"/api/{name.partition('/')[0]}"
        raise InputRefusedError("unsupported", f"{path} is not offered by a server of models", hint)

    return refused


def _teller(model: str, *, chat: bool) -> Callable[[list[Choice], str], OllamaTeller]:
    # A model goes by the name that it was asked for.
    return lambda _choices, _name: OllamaTeller(model, chat=chat)


def _called(param: str) -> str:
    """What a field of a chat completion is called here."""
    name = re.split(r"\W", param, maxsplit=1)[0]
    if name in _SAMPLING:
        return f"options.{param}"
    if param.startswith("response_format"):
        return "format" + param.removeprefix("response_format").removeprefix(".json_schema.schema")
    if name in {"reasoning_effort", "chat_template_kwargs"}:
        return "think"
    if name == "max_tokens":
        return "options.num_predict"
    return re.sub(r"\.reasoning_content$", ".thinking", re.sub(r"^(messages\[\d+\])\.name$", r"\1.tool_name", param))


def _of_prompt(param: str) -> str:
    """The same for a prompt."""
    return "prompt" if param.startswith("messages") else _called(param)
