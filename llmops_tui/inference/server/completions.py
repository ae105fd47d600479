"""Chat, text and responses: requests turned into the engine's calls, and its messages into answers."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pydantic
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.constraint_checker import ConstraintChecker
from llmops_tui.inference.engine_wire import Call, SamplingRecord, Told
from llmops_tui.inference.server import events, schemas
from llmops_tui.inference.server.adapters import AdapterShelf
from llmops_tui.inference.server.answers import error_body
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.connection import chain, invalid, read_body, while_connected
from llmops_tui.inference.server.conversation import AnswerReader, ChatTemplate, check_tools, tool_constraint
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.generation import Choice, Generator
from llmops_tui.inference.server.inputs import check_vocabulary
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.records import Record
from llmops_tui.inference.server.responses import ResponsesRequest
from llmops_tui.inference.server.template_features import turns_of, variables_of
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.workspace.ids import new_id

Ask = Callable[[Call], Awaitable[Told]]


class Completions:
    """The endpoints that generate. ``ask`` does one short operation of the engine."""

    def __init__(
        self,
        options: ServerOptions,
        engine: EngineProcess,
        generator: Generator,
        adapters: AdapterShelf,
        chat: ChatTemplate,
        forms: ConstraintChecker,
        ask: Ask,
    ) -> None:
        self._model = options.model
        self._sha256 = options.sha256
        self._engine = engine
        self._generator = generator
        self._adapters = adapters
        self._chat = chat
        self._forms = forms
        self._ask = ask

    def named(self, adapter: str) -> str:
        """What the model is called with an adapter beside it."""
        return f"{self._model}+{adapter}" if adapter else self._model

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        body = await read_body(request, schemas.ChatRequest)
        return await self._respond("chat", request, body, await self._chat_choices(body, request.scope["caller"]))

    async def _chat_choices(self, body: schemas.ChatRequest, caller: Caller) -> list[Choice]:
        adapter = await self._adapters.of(body.model, body.adapter)
        chat = self._adapters.chat(adapter) or self._chat
        tools = [t.as_shown() for t in body.offered]
        form = body.constraint()
        if tools:
            if form is not None and form.get("type") != "text":
                raise FieldRefusedError(
                    "grammar" if body.grammar else "response_format",
                    "an answer that may call tools is not constrained by a form beside that",
                    "Leave out the form, or set tool_choice to none.",
                    "bad_response_format",
                )
            check_tools(chat.format)
        turns = turns_of(chat.format, body.messages)
        extra = variables_of(chat.format, body.chat_template_kwargs, body.reasoning_effort)
        prompt = await chat.render(turns, tools or None, extra)
        if tools:
            several = body.parallel_tool_calls
            form = tool_constraint(chat.format, tools, body.demanded, several=several, prompt=prompt)
        grammar = await self._forms.grammar_of(form, caller.client)
        dropped = 0
        if body.truncate == "oldest":
            again = functools.partial(chat.render, turns, tools or None, extra)
            prompt, dropped = await self._drop_oldest(turns, prompt, again, body.sampling().max_tokens)
        source: Call = {"op": "generate", "text": prompt, "add_special": False}
        choices = []
        for index in range(body.n):
            choice = self._choice(body, index, source, turns, adapter, grammar, body.alternatives, caller)
            choice.reader = AnswerReader(
                chat.format,
                prompt=prompt,
                tools=tools,
                several=body.parallel_tool_calls,
                required=bool(tools) and body.demanded is not None,
            )
            choice.record.body["dropped_turns"] = dropped
            choices.append(choice)
        return choices

    async def text(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        body = await read_body(request, schemas.CompletionRequest)
        adapter = await self._adapters.of(body.model, body.adapter)
        grammar = await self._forms.grammar_of(body.constraint(), request.scope["caller"].client)
        # Each record names the engine.
        await self._engine.facts()
        choices: list[Choice] = []
        for place, prompt in enumerate(body.prompt):
            source: Call
            if isinstance(prompt, str):
                source = {"op": "generate", "text": prompt, "add_special": body.add_special_tokens}
                shown = prompt
            else:
                at = f"prompt[{place}]" if len(body.prompt) > 1 else "prompt"
                check_vocabulary(prompt, self._engine.info.get("n_vocab", 0), at)
                source, shown = {"op": "generate", "tokens": prompt}, json.dumps(prompt)
            for _ in range(body.n):
                turns: list[ChatMessage] = [{"role": "prompt", "content": shown}]
                choice = self._choice(
                    body, len(choices), source, turns, adapter, grammar, body.logprobs, request.scope["caller"]
                )
                if body.echo and body.logprobs is not None:
                    choice.call["score_from"] = body.logprob_start_len
                elif body.echo:
                    choice.echo = shown
                    if not isinstance(prompt, str):
                        choice.echo = (await self._ask({"op": "detokenize", "tokens": prompt}))["text"]
                choices.append(choice)
        return await self._respond("text", request, body, choices)

    def _choice(
        self,
        body: schemas.ChatRequest | schemas.CompletionRequest,
        index: int,
        source: Call,
        turns: list[ChatMessage],
        adapter: str,
        grammar: str,
        logprobs: int | None,
        caller: Caller,
    ) -> Choice:
        try:
            parameters = cast("SamplingRecord", body.sampling(index).model_dump())
        except pydantic.ValidationError as error:
            raise invalid(error) from error
        check_vocabulary(list(parameters["logit_bias"]), self._engine.info.get("n_vocab", 0), "logit_bias", named=True)
        # A program of ours names the first choice alone.
        named = caller.run_id(body.metadata) if index == 0 else None
        record = Record(
            named or new_id("run"),
            {
                "started_at": time.time(),
                "model": self.named(adapter),
                "model_sha256": self._sha256,
                "adapter_sha256": self._adapters.sha256(adapter),
                "messages": turns,
                "parameters": parameters,
                "engine": self._engine.info["engine"],
                **caller.facts(body.metadata),
            },
        )
        call: Call = {
            "add_special": False,
            **source,
            "id": new_id("call"),
            "parameters": parameters,
            "adapter": adapter,
            "logprobs": logprobs,
            "grammar": grammar,
            "truncate": "" if body.truncate == "oldest" else body.truncate,
            "reuse": body.cache_prompt,
            "ignore_eos": body.ignore_eos,
        }
        return Choice(index, record, call)

    async def _respond(
        self,
        kind: str,
        request: Request,
        body: schemas.ChatRequest | schemas.CompletionRequest,
        choices: list[Choice],
    ) -> Response:
        teller = events.Teller(kind, choices[0].record.id, self.named(choices[0].call["adapter"]), body.n)
        if body.stream:
            stream = self._stream(teller, choices, request.scope["caller"], usage=body.include_usage)
            # The first event is awaited here, so that a refusal is still an HTTP error and not a broken stream.
            first = await while_connected(request, anext(stream))
            return StreamingResponse(chain(first, stream), media_type="text/event-stream")
        await while_connected(request, self._run_all(choices, request.scope["caller"]))
        return JSONResponse(teller.whole(choices))

    async def _run_all(self, choices: list[Choice], caller: Caller) -> None:
        with self._generator.admitted(caller.client, choices):
            await self._generator.run_all(choices)

    async def _stream(
        self, teller: events.Teller, choices: list[Choice], caller: Caller, *, usage: bool
    ) -> AsyncIterator[bytes]:
        """Server-sent events; all that is there is written at once, so a slow reader costs few writes."""
        begun = False
        try:
            with self._generator.admitted(caller.client, choices):
                async with contextlib.aclosing(self._generator.stream_all(choices)) as run:
                    async for choice, messages in run:
                        if out := teller.stream(choice, messages):
                            begun = True
                            yield out
            if usage:
                yield teller.usage(choices)
            yield b"data: [DONE]\n\n"
        except LlmopsError as error:
            if not begun:
                raise
            failure = error_body(error.code, error.message, error.hint, "server_error")
            yield f"data: {json.dumps(failure)}\n\n".encode()

    async def responses(self, request: Request) -> Response:
        """``POST /v1/responses``."""
        body = await read_body(request, ResponsesRequest)
        (choice,) = await self._chat_choices(body.as_chat(), request.scope["caller"])
        response_id = choice.record.id.replace("run_", "resp_")
        teller = events.ResponseTeller(response_id, self.named(choice.call["adapter"]), body.echoed())
        if body.stream:
            stream = self._stream_response(teller, choice, request.scope["caller"])
            first = await while_connected(request, anext(stream))
            return StreamingResponse(chain(first, stream), media_type="text/event-stream")
        await while_connected(request, self._run_all([choice], request.scope["caller"]))
        return JSONResponse(teller.whole(choice))

    async def _stream_response(
        self, teller: events.ResponseTeller, choice: Choice, caller: Caller
    ) -> AsyncIterator[bytes]:
        begun = False
        try:
            with self._generator.admitted(caller.client, [choice]):
                async with contextlib.aclosing(self._generator.run(choice)) as run:
                    async for messages in run:
                        if not begun:
                            begun = True
                            yield teller.opened()
                        if out := teller.stream(choice, messages):
                            yield out
        except LlmopsError as error:
            if not begun:
                raise
            yield teller.failed(error.code, error.message)

    async def _drop_oldest(
        self, turns: list[ChatMessage], prompt: str, again: Callable[[], Awaitable[str]], wanted: int
    ) -> tuple[str, int]:
        """Drop the oldest turns after the system's until the prompt and a quarter of the context fit.

        ``again`` renders the turns that are left; ``wanted`` is how many tokens the answer may have.
        """
        kept = 1 if turns[0]["role"] == "system" else 0
        dropped = 0
        context = (await self._engine.facts())["n_ctx"]
        room = context - min(wanted, context // 4)
        while len(turns) > kept + 1:
            counted = await self._ask({"op": "tokenize", "text": prompt, "add_special": False, "pieces": False})
            if counted["count"] <= room:
                break
            # Halving keeps the number of renderings small; the rest goes turn by turn.
            excess = counted["count"] / max(1, room)
            count = max(1, int((len(turns) - kept - 1) * (1 - 1 / excess) / 2))
            del turns[kept : kept + count]
            dropped += count
            prompt = await again()
        return prompt, dropped
