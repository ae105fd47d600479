"""Requests for a chain by its name, ``chain/NAME@label``: its output as a model's answer, the last prompt's text streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from llmops_tui.chains.asking import PATH
from llmops_tui.chains.conversation import inputs_of
from llmops_tui.chains.definition import Body
from llmops_tui.chains.executor import ChainRun, StepFailedError, as_text
from llmops_tui.chains.resolution import Resolved, resolve
from llmops_tui.chains.served.pooled import PooledModels
from llmops_tui.chains.spans import MemoryJournal
from llmops_tui.chains.store import PREFIX, ChainStore, ChainVersion, is_chain
from llmops_tui.chains.tools import ChainTools
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.router.listings import ModelEntry
from llmops_tui.inference.server.answers import envelope, error_body
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.connection import read_body, while_connected
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.schemas import ChatRequest
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.inference.wire import Usage
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.ids import new_id

if TYPE_CHECKING:
    from llmops_tui.inference.router.catalogue import RegisteredModels
    from llmops_tui.inference.router.pool import ModelPool

# What a request may have; how steps are asked, they say themselves.
_FIELDS = {"model", "messages", "stream", "stream_options", "metadata", "user"}
# Of one request: far more than anybody waits for.
_MOST_STEPS = 2_000
_END = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class _Asked:
    """One request for a chain, checked."""

    request: Request
    version: ChainVersion
    resolved: Resolved
    inputs: Variables
    stream: bool
    usage: bool

    @property
    def caller(self) -> Caller:
        caller: Caller = self.request.scope["caller"]
        return caller


class ServedChains:
    """The chains of a workspace; see :class:`llmops_tui.inference.router.others.Others`."""

    def __init__(self, catalog: Catalog, pool: ModelPool, models: RegisteredModels) -> None:
        self._store = ChainStore(catalog)
        self._tools = ChainTools(catalog)
        self._pool, self._models = pool, models

    def owns(self, name: str) -> bool:
        """Whether a name begins as those of chains do."""
        return is_chain(name)

    async def entries(self, caller: Caller) -> list[ModelEntry]:
        """Each chain by its name, unless requests by that are refused, and by each of its labels."""
        known = await asyncio.to_thread(self._store.summaries)
        refused = await asyncio.to_thread(self._store.withdrawn)
        return [
            {
                "id": f"{PREFIX}{one['chain']}{which}",
                "object": "model",
                "created": int(one["changed_at"]),
                "owned_by": "chain",
                "state": "not_loaded",
            }
            for one in known
            if caller.sees(PREFIX + one["chain"])
            for which in ("", *(f"@{label}" for label in one["labels"]))
            if which or one["chain"] not in refused
        ]

    async def close(self) -> None:
        """End the processes."""
        await asyncio.to_thread(self._tools.close)

    async def answer(self, request: Request, given: JsonObject) -> Response:
        """The chain's output as a chat completion.

        Raises:
            FieldRefusedError: a field that a chain cannot honour, by name. KeyRefusedError: ``key_scope``: the caller's key is
                not for the chain, or not for a model that it asks. LlmopsError: ``model_not_found``; a step failed.
        """
        asked = await self._asked(request, given)
        models = PooledModels(self._pool, self._models, asked.caller, asked.version.served)
        if asked.stream:
            return await self._stream(asked, models, given)
        run = ChainRun(asked.resolved, self._tools, models, MemoryJournal(), most=_MOST_STEPS)
        try:
            value = await while_connected(request, run.run(asked.inputs))
        except StepFailedError as error:
            raise of_request(error, given) from error
        message = {"role": "assistant", "content": as_text(value)}
        whole: dict[str, Any] = dict(envelope("chat", new_id("chatcmpl"), asked.version.served, [], chunk=False))
        whole["choices"] = [{"index": 0, "message": message, "finish_reason": _stopped(run), "logprobs": None}]
        return JSONResponse({**whole, "usage": _usage(run)})

    async def _asked(self, request: Request, given: JsonObject) -> _Asked:
        name = str(given["model"])
        if request.url.path != PATH:
            raise FieldRefusedError("model", f"{name[:100]!r} is a chain, which answers {PATH} alone", "Ask it there.")
        for field, value in given.items():
            if field not in _FIELDS and value is not None:
                raise FieldRefusedError(
                    str(field)[:60], "is not honoured by a chain, whose steps say how they are asked", "Leave it out."
                )
        body = await read_body(request, ChatRequest)
        try:
            version = await asyncio.to_thread(self._store.served, name)
        except NotFoundError as error:
            raise LlmopsError(
                "model_not_found", f"no {name[:100]!r} is kept here", error.hint or "GET /v1/models lists them."
            ) from error
        caller: Caller = request.scope["caller"]
        # Before anything is looked up or loaded for a key that is not for it.
        caller.check_model(PREFIX + version.name)
        resolved = await asyncio.to_thread(resolve, version.chain, self._tools)
        for one in resolved.steps.values():
            if one.prompt is not None and not one.model:
                raise LlmopsError(
                    "chain_without_model",
                    f"step {one.step.name} of {version.served} names no model",
                    "Name one in the chain.",
                )
        for model in resolved.models:
            meant = await self._models.meant(model)
            caller.check_model(meant.model.name, meant.name.partition("+")[2])
        try:
            inputs = inputs_of(version.chain, given["messages"])
        except InputRefusedError as error:
            raise FieldRefusedError("messages", error.message, error.hint) from error
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return _Asked(request, version, resolved, inputs, body.stream, usage)

    async def _stream(self, asked: _Asked, models: PooledModels, given: JsonObject) -> Response:
        """An answer as it comes; what fails before its first piece is refused as a whole request is."""
        pieces: asyncio.Queue[str | None] = asyncio.Queue()

        async def told(piece: str) -> None:
            await pieces.put(piece)

        final = final_paths(asked.resolved.chain.body)
        run = ChainRun(
            asked.resolved, self._tools, models, MemoryJournal(), streamed=final, told=told, most=_MOST_STEPS
        )

        async def work() -> Any:
            try:
                return await run.run(asked.inputs)
            finally:
                await pieces.put(None)

        task = asyncio.create_task(work())
        try:
            first = await while_connected(asked.request, pieces.get())
            if first is None and task.exception() is not None:
                await task
        except StepFailedError as error:
            raise of_request(error, given) from error
        except BaseException:
            task.cancel()
            raise
        return StreamingResponse(self._events(asked, run, task, first, pieces), media_type="text/event-stream")

    async def _events(
        self,
        asked: _Asked,
        run: ChainRun,
        task: asyncio.Task[Any],
        first: str | None,
        pieces: asyncio.Queue[str | None],
    ) -> AsyncIterator[bytes]:
        answer_id = new_id("chatcmpl")

        def event(delta: JsonObject, stopped: str | None = None) -> bytes:
            told: dict[str, Any] = dict(envelope("chat", answer_id, asked.version.served, [], chunk=True))
            told["choices"] = [{"index": 0, "delta": delta, "finish_reason": stopped}]
            return f"data: {json.dumps(told)}\n\n".encode()

        try:
            yield event({"role": "assistant", "content": ""})
            piece, any_came = first, False
            while piece is not None:
                any_came = True
                yield event({"content": piece})
                piece = await pieces.get()
            try:
                value = await task
            except LlmopsError as error:
                yield f"data: {json.dumps(error_body(error.code, error.message, error.hint, 'server_error'))}\n\n".encode()
                return
            if not any_came:
                yield event({"content": as_text(value)})
            yield event({}, _stopped(run))
            if asked.usage:
                last: dict[str, Any] = dict(envelope("chat", answer_id, asked.version.served, [], chunk=True))
                yield f"data: {json.dumps({**last, 'usage': _usage(run)})}\n\n".encode()
            yield _END
        finally:
            # The client may have left.
            task.cancel()


def of_request(error: StepFailedError, given: JsonObject) -> LlmopsError:
    """What failed, by the field of the request where that is at fault: a step cannot search for an empty question."""
    messages = given.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    empty = isinstance(last, dict) and not str(last.get("content") or "").strip()
    if error.code != "bad_search" or not empty:
        return error
    return FieldRefusedError(f"messages[{len(messages or ()) - 1}].content", error.message, error.hint, error.code)


def final_paths(body: Body, path: str = "") -> frozenset[str]:
    """The places of the prompts whose answer is the output of a body as it is: of a branch one of several."""
    step = body.steps.get(body.output)
    if step is None:
        return frozenset()
    if step.kind == "prompt":
        return frozenset({f"{path}{step.name}"})
    if step.kind != "branch":
        return frozenset()
    parts = (
        final_paths(inner, f"{path}{step.name}.{part.removeprefix('case ')}/") for part, inner in step.bodies.items()
    )
    return frozenset().union(*parts)


def _stopped(run: ChainRun) -> str:
    return run.last.stopped if run.last is not None and run.last.stopped else "stop"


def _usage(run: ChainRun) -> Usage:
    """Tokens of all steps together."""
    counts = run.counts
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
    }
