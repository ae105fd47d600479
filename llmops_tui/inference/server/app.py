"""The HTTP application of one model server: its routes and handlers."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Literal, TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.access.gate import AccessGate
from llmops_tui.inference.constraint_checker import ConstraintChecker
from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import Health
from llmops_tui.inference.filed.batches import BatchStore
from llmops_tui.inference.server.access import Access
from llmops_tui.inference.server.adapters import AdapterShelf
from llmops_tui.inference.server.apis.anthropic import AnthropicApi
from llmops_tui.inference.server.apis.batches import BatchesApi
from llmops_tui.inference.server.apis.infill import InfillApi
from llmops_tui.inference.server.apis.keys import KeysApi
from llmops_tui.inference.server.apis.ollama import OllamaApi
from llmops_tui.inference.server.apis.ollama_models import ServedModel
from llmops_tui.inference.server.apis.otlp import OtlpApi
from llmops_tui.inference.server.apis.response_store import ResponseStore
from llmops_tui.inference.server.apis.responses import ResponsesApi
from llmops_tui.inference.server.classifying import CLASSIFY, Classifying
from llmops_tui.inference.server.completions import Completions
from llmops_tui.inference.server.connection import (
    error_answer,
    plain_error,
    refused,
    unexpected,
)
from llmops_tui.inference.server.conversation import ChatTemplate
from llmops_tui.inference.server.feedback import Feedback
from llmops_tui.inference.server.generation import Generator
from llmops_tui.inference.server.guard import Guard
from llmops_tui.inference.server.guarding import Guarding
from llmops_tui.inference.server.head_scores import HeadScores
from llmops_tui.inference.server.heartbeat import Heartbeat
from llmops_tui.inference.server.metrics import ServerMetrics
from llmops_tui.inference.server.openapi import api_page, describe_api, request_models
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.recording import HeldAnswers
from llmops_tui.inference.server.records import EventWriter
from llmops_tui.inference.server.refusals import RefusedError
from llmops_tui.inference.server.reranking import RERANK, Reranking
from llmops_tui.inference.server.texts import Texts
from llmops_tui.jobs.process import identify
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

# Facts of the engine that nobody but the chat template needs, and that may be long.
_TEXTS: tuple[Literal["controls", "marks"], ...] = ("controls", "marks")


class ModelServer:
    """One model's endpoint: many requests at once, a bounded queue before them."""

    def __init__(self, options: ServerOptions, engine: Engine) -> None:
        self.options = options
        self.engine = engine
        workspace = Workspace(Path(options.workspace))
        self._chat = ChatTemplate(
            options.chat_template, self.engine.facts, special_in_content=options.special_in_content
        )
        self._event_log = EventLog(workspace)
        self._writer = EventWriter(self._event_log, options.trace_content)
        self.gate = AccessGate(self._event_log)
        self._feedback = Feedback(self._event_log, options.trace_content)
        self._metrics = ServerMetrics(options.model)
        engine.lost = self._metrics.engine_lost
        self.generator = Generator(
            self.engine, self._writer, self._metrics, options.parallel * options.engines, model=options.model
        )
        self._adapters = AdapterShelf(
            workspace, options.model, self.engine, special_in_content=options.special_in_content
        )
        self._forms = ConstraintChecker(options.path, self._chat.format.visible)
        self.generator.held_answers = HeldAnswers(self._event_log, self._forms.problems).call
        self._texts = Texts(options.model, self.engine, self.generator, self._adapters, self._chat)
        head = HeadScores(Path(options.path), self.engine, self.generator, self._texts)
        self._reranking = Reranking(options.model, head, self._adapters)
        self._classifying = Classifying(options.model, head, self._adapters, self._event_log)
        self._completions = Completions(
            options,
            self.engine,
            self.generator,
            self._adapters,
            self._chat,
            self._forms,
            self._texts.ask,
            Guarding(workspace.root, options.model, self._event_log),
        )
        self._infill = InfillApi(self._completions.complete)
        self._responses = ResponsesApi(self._completions.answer, ResponseStore())
        self._ollama = OllamaApi(
            ServedModel(options.model, Path(options.path), options.sha256),
            self._completions.format_of,
            self.engine,
            self.generator,
            self._adapters,
            self._texts,
            self._completions.answer,
            self._completions.complete,
        )
        self._batches = BatchesApi(BatchStore(workspace, options.model), list(request_models()))
        self._anthropic = AnthropicApi(self._completions.answer, self._completions.count, self._completions.format_of)
        self._heartbeat = Heartbeat(self.engine, self._texts.ask)
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
            Route("/v1/chat/completions", self._completions.chat, methods=post),
            Route("/v1/completions", self._completions.text, methods=post),
            Route("/v1/embeddings", self._texts.embeddings, methods=post),
            *(Route(f"{begin}/{name}", self._reranking.rank, methods=post) for begin in ("/v1", "") for name in RERANK),
            *(
                Route(f"{begin}/{name}", self._classifying.classify, methods=post)
                for begin in ("/v1", "")
                for name in CLASSIFY
            ),
            Route("/v1/responses", self._responses.create, methods=post),
            Route("/v1/responses/{id}", self._responses.get),
            Route("/v1/responses/{id}", self._responses.delete, methods=["DELETE"]),
            *self._ollama.routes(),
            *self._batches.routes(),
            *KeysApi(self.gate.store).routes(),
            *OtlpApi(self._event_log, self.options.trace_content).routes(),
            Route("/v1/messages", self._anthropic.create, methods=post),
            Route("/v1/messages/count_tokens", self._anthropic.count_tokens, methods=post),
            Route("/v1/feedback", self._feedback.take, methods=post),
            Route("/infill", self._infill.fill, methods=post),
            Route("/tokenize", self._texts.tokenize, methods=post),
            Route("/detokenize", self._texts.detokenize, methods=post),
            Route("/tokenizer_info", self._tokenizer_info),
        ]
        handlers = {
            LlmopsError: self._answer_error,
            RefusedError: refused,
            404: plain_error,
            405: plain_error,
            Exception: unexpected,
        }
        access = Access(self.gate, self.options.model)
        return Guard(Starlette(routes=routes, exception_handlers=handlers), self.options, access)

    async def load(self, starting: Awaitable[None]) -> None:
        """Wait for the engine's start; a failure is kept for ``/health`` to tell."""
        try:
            await starting
            # The first rendering starts the template process.
            await self._chat.render([{"role": "user", "content": "hello"}], None, {})
            await self._batches.go_on()
        except LlmopsError as error:
            self.failure = error
        except OSError as error:
            self.failure = LlmopsError("server_start_failed", f"the engine could not be started: {error}")

    async def close(self) -> None:
        """End all processes; what is recorded is written."""
        await self._heartbeat.close()
        await self.generator.close()
        await self.gate.close()
        await self._writer.close()
        await self.engine.stop()
        self._chat.close()
        self._adapters.close()
        self._forms.close()

    # Facts

    async def _health(self, request: Request) -> Response:
        trusted = bool(request.scope.get("trusted"))
        if self.failure is not None:
            return JSONResponse({"status": "failed"} | ({"error": self.failure.as_dict()} if trusted else {}), 503)
        status, state = await self._heartbeat.inspect()
        if status == "loading":
            phase, share = self.engine.loading
            return JSONResponse({"status": "loading"} | ({"phase": phase, "share": share} if trusted else {}), 503)
        facts: Health = {"status": status}
        if status == "failing":
            facts["retry_in_s"] = round(self.engine.retry_in, 1)
        if trusted:
            engine = identify(self.engine.pid) if self.engine.pid is not None else None
            facts = {
                **facts,
                "model": self.options.model,
                "engine_pid": self.engine.pid,
                "engine_started": engine.started if engine is not None else None,
                "active": self.generator.active,
                "batched": self.generator.batched,
                "waiting": self.generator.queued,
                "last_failure": self.engine.last_failure,
                "fallback": self.engine.fallback,
                **self.engine.info,
                "state": state,
            }
            if self.options.engines > 1:
                facts["engines"] = self.engine.standings
            for name in _TEXTS:
                facts.pop(name, None)
        return JSONResponse(facts, 200 if status == "ok" else 503)

    async def _metrics_page(self, _request: Request) -> Response:
        status, state = await self._heartbeat.inspect()
        page = self._metrics.page(state, self.generator.queued, "failed" if self.failure is not None else status)
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(describe_api())

    async def _docs(self, _request: Request) -> Response:
        return HTMLResponse(api_page())

    async def _models(self, request: Request) -> Response:
        names = [self.options.model, *(f"{self.options.model}+{a}" for a in await self._adapters.names())]
        seen = [name for name in names if request.scope["caller"].sees(name)]
        return JSONResponse({"object": "list", "data": [_model_entry(name) for name in seen]})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not name:
            # Elsewhere an empty one means the model that is served.
            raise HTTPException(404)
        await self._adapters.of(request.scope["caller"], name)
        return JSONResponse(_model_entry(name))

    async def _tokenizer_info(self, _request: Request) -> Response:
        info = await self.engine.facts()
        return JSONResponse(
            {
                "bos_token": info["bos"] or None,
                "eos_token": info["eos"] or None,
                "add_bos_token": info["add_bos"],
                "chat_template": self.options.chat_template,
            }
        )

    # Helpers

    async def _answer_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, LlmopsError)
        self._metrics.refused(error.code)
        return error_answer(error, request.url.path)


class _ModelEntry(TypedDict):
    """A model as ``/v1/models`` lists it."""

    id: str
    object: str
    created: int
    owned_by: str


def _model_entry(name: str) -> _ModelEntry:
    return {"id": name, "object": "model", "created": 0, "owned_by": "local"}
