"""The HTTP application of all models at one address: who is let in, which model is meant, and where it goes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.access.gate import AccessGate, KeyRefusedError
from llmops_tui.inference.router.body import model_named
from llmops_tui.inference.router.catalogue import RegisteredModels
from llmops_tui.inference.router.experiments import Original, RoutedExperiments
from llmops_tui.inference.router.listings import model_entries, prompt_entries, tag_entries
from llmops_tui.inference.router.metrics import RouterMetrics
from llmops_tui.inference.router.names import Meant
from llmops_tui.inference.router.ollama import shown, unloading
from llmops_tui.inference.router.others import NoOthers, Others
from llmops_tui.inference.router.passing import LoadFailedError, pass_on
from llmops_tui.inference.router.pool import ModelPool
from llmops_tui.inference.router.prompts import PREFIX, ServedPrompts
from llmops_tui.inference.router.targets import Target, Targets
from llmops_tui.inference.server.access import Access
from llmops_tui.inference.server.apis.batches import BatchesApi
from llmops_tui.inference.server.apis.keys import KeysApi
from llmops_tui.inference.server.apis.ollama import modelless_routes
from llmops_tui.inference.server.apis.ollama_request import OllamaShow
from llmops_tui.inference.server.apis.ollama_teller import silence
from llmops_tui.inference.server.apis.otlp import OtlpApi
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.connection import (
    error_answer,
    plain_error,
    read_body,
    read_object,
    refused,
    unexpected,
)
from llmops_tui.inference.server.feedback import Feedback
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.guard import Guard
from llmops_tui.inference.server.openapi import api_page, describe_api, posted_paths
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.refusals import RefusedError
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

_REMEMBERED = 20_000


class Router:
    """One address for all models of a workspace.

    A request goes to the server of the model that its body names, which is loaded for it; what it has to say beside that
    is none of the router's business. Answers come back as they are.
    """

    def __init__(
        self,
        options: ServerOptions,
        pool: ModelPool,
        models: RegisteredModels,
        feedback: Feedback,
        metrics: RouterMetrics,
        batches: BatchesApi,
        experiments: RoutedExperiments,
        gate: AccessGate | None = None,
        prompts: ServedPrompts | None = None,
        others: Others | None = None,
    ) -> None:
        self._options = options
        self._pool = pool
        self._known = models
        self._targets = Targets(models, prompts)
        self._feedback = feedback
        self._metrics = metrics
        self._batches = batches
        self._experiments = experiments
        self._gate = gate
        self._others = others or NoOthers()
        self._spans = OtlpApi(EventLog(Workspace(Path(options.workspace))), options.trace_content)
        # Which model's server made a response; a client may ask for it again by its id alone.
        self._made_by: OrderedDict[str, ServerHandle] = OrderedDict()

    def app(self) -> ASGIApp:
        """The HTTP application, guarded as a model's server is."""
        routes = [
            Route("/health", self._health),
            Route("/ping", self._health),
            Route("/metrics", self._metrics_page),
            Route("/openapi.json", self._openapi),
            Route("/docs", self._docs),
            Route("/v1/models", self._models),
            Route("/v1/models/{name:path}", self._model),
            Route("/api/tags", self._tags),
            Route("/api/ps", self._loaded_tags),
            *modelless_routes(),
            *self._batches.routes(),
            *(KeysApi(self._gate.store).routes() if self._gate is not None else ()),
            *self._spans.routes(),
            Route("/tokenizer_info", self._by_body),
            Route("/v1/feedback", self._feedback.take, methods=["POST"]),
            Route("/v1/responses/{id}", self._by_id, methods=["GET", "DELETE"]),
            *(Route(path, self._by_body, methods=["POST"]) for path in posted_paths()),
        ]
        handlers = {
            LlmopsError: self._answer_error,
            RefusedError: refused,
            404: plain_error,
            405: plain_error,
            Exception: unexpected,
        }
        access = Access(self._gate) if self._gate is not None else None
        return Guard(Starlette(routes=routes, exception_handlers=handlers), self._options, access)

    # ── passing on ──

    async def _by_body(self, request: Request) -> Response:
        """Any request whose body names a model."""
        raw, given = await read_object(request) if request.method == "POST" else (b"", {})
        field, asked = model_named(given, request.url.path)
        caller: Caller = request.scope["caller"]
        if self._others.owns(asked):
            answered = await self._others.answer(request, given)
            self._metrics.passed(asked.partition("@")[0], answered.status_code)
            return answered
        _check_prompt(caller, asked)
        assigned = await self._experiments.assigned(request, asked, given) if asked else None
        if assigned is not None:
            target = await self._experiments.target(assigned)
        elif asked.startswith(PREFIX):
            target = await self._targets.of(asked)
        else:
            target = Target(await self._meant(field, asked, given, caller))
        # Before anything is loaded for a key that is not for it.
        target.check(caller)
        meant = target.meant
        if request.url.path == "/v1/responses":
            await self._check_before(meant, given.get("previous_response_id"))
        ready = await self._targets.ready(target, request.url.path, field, asked, raw, given)
        if request.url.path == "/api/show" and meant.model.name not in await self._loaded():
            await read_body(request, OllamaShow)
            return JSONResponse(await shown(meant.model))
        if (asks := await unloading(request, given)) is not None:
            if caller.grant is not None:
                raise KeyRefusedError("key_scope", "access keys unload no models, which others may be using")
            await self._pool.unload(meant.model.name)
            return JSONResponse(silence(asks, "unload"))
        told = self._remember if request.url.path == "/v1/responses" else None
        if assigned is not None:
            original = Original(field, raw, given)
            passed = await self._experiments.pass_on(request, assigned, target, ready, original, told)
        else:
            passed = await pass_on(self._pool, request, meant.model, ready.raw, told, headers=ready.headers)
        passed.tell(ready.told)
        self._metrics.passed(meant.model.name, passed.status_code)
        return passed

    async def _meant(self, field: str, asked: str, given: JsonObject, caller: Caller) -> Meant:
        before = given.get("previous_response_id")
        if not asked and isinstance(before, str) and before in self._made_by:
            asked = self._made_by[before].model
        if asked:
            return await self._known.meant(asked)
        served = [model for model in (await self._known.listing()).served if caller.sees(model.name)]
        if len(served) == 1:
            return Meant(served[0], served[0].name)
        if not served:
            hint = "llmops model add registers one."
            raise LlmopsError("model_not_found", "no model that can be served is registered here", hint)
        names = ", ".join(model.name for model in served[:5])
        raise FieldRefusedError(field, "is missing, and several models are served here", f"Name one: {names}.")

    async def _check_before(self, meant: Meant, before: object) -> None:
        """Refuse to go on from a response that the model's server cannot have, before the model is loaded for it."""
        maker = self._made_by.get(before) if isinstance(before, str) else None
        if maker is None:
            return
        if maker.model != meant.model.name:
            why = f"{maker.model!r} made it, and {meant.name!r} is asked to go on from it"
            hint = f"Ask {maker.model!r}, or send the whole conversation as input."
        elif not await self._lives(maker):
            why = f"the server of {maker.model!r}, which made it and kept it in memory, ended meanwhile"
            hint = "Send the whole conversation as input."
        else:
            return
        told = f"the response {str(before)[:100]!r} is not kept there: {why}"
        raise FieldRefusedError("previous_response_id", told, hint, "response_not_found")

    async def _lives(self, maker: ServerHandle) -> bool:
        who = (maker.process, maker.socket)
        return any((handle.process, handle.socket) == who for handle in await self._pool.loaded())

    async def _by_id(self, request: Request) -> Response:
        """A request about a response that was made: to the server of its model, or each loaded one until one knows it."""
        raw = await request.body()
        known = {model.name: model for model in (await self._known.listing()).served}
        made_by = self._made_by.get(request.path_params["id"])
        maker = made_by.model if made_by is not None else None
        # A server keeps its responses as long as it lives: to load a model for one would be in vain.
        names = [
            name
            for upstream in self._pool.known()
            if (name := upstream.handle.model) in known and maker in {name, None}
        ]
        for name in names:
            passed = await pass_on(self._pool, request, known[name], raw)
            # Whichever made it says also why it is gone.
            if passed.status_code != 404 or (made_by is not None and await self._lives(made_by)):
                self._metrics.passed(name, passed.status_code)
                return passed
            await passed.drop()
        why = f"; the server of {maker!r}, which made it, ended meanwhile" if maker is not None else ""
        raise LlmopsError("response_not_found", f"no response {request.path_params['id'][:100]!r} is kept here{why}")

    def _remember(self, made: str, maker: ServerHandle) -> None:
        self._made_by[made] = maker
        if len(self._made_by) > _REMEMBERED:
            self._made_by.popitem(last=False)

    # ── facts ──

    async def _loaded(self) -> set[str]:
        return {handle.model for handle in await self._pool.loaded()}

    async def _health(self, request: Request) -> Response:
        facts: JsonObject = {"status": "ok"}
        if request.scope.get("trusted"):
            counts = self._pool.counts().values()
            facts |= {
                "model": self._options.model,
                "models": [model.name for model in (await self._known.listing()).served],
                "loaded": sorted(await self._loaded()),
                "loading": sorted(self._pool.loading()),
                "active": sum(active for active, _ in counts),
                "waiting": sum(waiting for _, waiting in counts),
            }
        return JSONResponse(facts)

    async def _metrics_page(self, _request: Request) -> Response:
        names = [model.name for model in (await self._known.listing()).served]
        page = self._metrics.page(names, await self._loaded(), self._pool.counts())
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(describe_api())

    async def _docs(self, _request: Request) -> Response:
        return HTMLResponse(api_page())

    async def _models(self, request: Request) -> Response:
        entries = model_entries(await self._known.listing(), await self._loaded(), self._pool.loading())
        found = [one for one in entries if _seen(request, one)]
        prompts = [
            (name, target) for name, target in await self._targets.prompts() if target.seen(request.scope["caller"])
        ]
        others = await self._others.entries(request.scope["caller"])
        return JSONResponse({"object": "list", "data": [*found, *prompt_entries(prompts, entries), *others]})

    async def _model(self, request: Request) -> Response:
        asked = request.path_params["name"]
        if self._others.owns(asked):
            own = [one for one in await self._others.entries(request.scope["caller"]) if one["id"] == asked]
            if not own:
                raise LlmopsError("model_not_found", f"no {asked[:100]!r} is served here for this key")
            return JSONResponse(own[0])
        _check_prompt(request.scope["caller"], asked)
        target = await self._targets.of(asked)
        target.check(request.scope["caller"])
        meant = target.meant
        entries = model_entries(await self._known.listing(), await self._loaded(), self._pool.loading())
        if target.prompt is not None:
            return JSONResponse(prompt_entries([(asked, target)], entries)[0])
        return JSONResponse(next(entry for entry in entries if entry["id"] == meant.name))

    async def _tags(self, request: Request) -> Response:
        found = [one for one in tag_entries(await self._known.listing()) if _seen(request, one)]
        return JSONResponse({"models": found})

    async def _loaded_tags(self, request: Request) -> Response:
        entries = tag_entries(await self._known.listing(), await self._loaded())
        found = [one for one in entries if _seen(request, one)]
        return JSONResponse({"models": [{**entry, "expires_at": None} for entry in found]})

    async def _answer_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, LlmopsError)
        self._metrics.refused(error.code)
        return error_answer(error, request.url.path, 503 if isinstance(error, LoadFailedError) else None)


def _check_prompt(caller: Caller, asked: str) -> None:
    """Refuse a key what it is not for before it is looked whether that is there."""
    if caller.grant is not None and asked.startswith(PREFIX):
        caller.grant.check_prompt(asked.removeprefix(PREFIX).partition("@")[0])


def _seen(request: Request, entry: Mapping[str, Any]) -> bool:
    """Whether the caller's key is for a model of a list: itself, or what it is an alias of."""
    caller: Caller = request.scope["caller"]
    return caller.sees(str(entry.get("alias_of") or entry.get("id") or entry["name"]))
