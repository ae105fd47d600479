"""Chat and text: requests turned into the engine's calls, and its messages into answers."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.constraint_checker import ConstraintChecker
from llmops_tui.inference.constraints import JSON_FORMS, Form, FormRefusedError, ToolRecord, schema_of
from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import INFILL_UNSUPPORTED, Call, FillRecord, SamplingRecord, Told
from llmops_tui.inference.guardrails.held_back import MOST_BEFORE
from llmops_tui.inference.sampling import LONGEST
from llmops_tui.inference.server import events, schemas
from llmops_tui.inference.server.adapters import AdapterShelf
from llmops_tui.inference.server.answer_forms import AnswerForm, as_header
from llmops_tui.inference.server.apis.base import Asked, AskedText, Teller
from llmops_tui.inference.server.asked_again import asked_again
from llmops_tui.inference.server.begun_answers import begun_with
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.connection import chain, read_body, while_connected
from llmops_tui.inference.server.conversation import (
    AnswerReader,
    ChatTemplate,
    Delta,
    Prompt,
    answer_constraint,
    begins_call,
    check_tools,
    tool_constraint,
)
from llmops_tui.inference.server.dropped_turns import drop_oldest
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.gaps import Gap
from llmops_tui.inference.server.generation import Generator, warnings_of
from llmops_tui.inference.server.guarding import Guarding
from llmops_tui.inference.server.inputs import check_vocabulary
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.records import Record
from llmops_tui.inference.server.sampling_asked import sampling_of
from llmops_tui.inference.server.served_format import ServedFormat
from llmops_tui.inference.server.template_features import turns_of
from llmops_tui.inference.server.thinking import budget_unused, thinking_held, variables_asked
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.workspace.ids import new_id

_BEGUN_CALL = "the call that it begins is not held to its tool's parameters, and is checked when it is finished"
Ask = Callable[[Call], Awaitable[Told]]


@dataclass(frozen=True)
class _Conversation:
    """A chat completion's prompt, its turns without the answer's beginning, and the template's further variables."""

    adapter: str
    chat: ChatTemplate
    tools: list[ToolRecord]
    turns: list[ChatMessage]
    extra: Variables
    prompt: Prompt
    begun: ChatMessage | None


class Completions:
    """The endpoints that generate. ``ask`` does one short operation of the engine."""

    def __init__(
        self,
        options: ServerOptions,
        engine: Engine,
        generator: Generator,
        adapters: AdapterShelf,
        chat: ChatTemplate,
        forms: ConstraintChecker,
        ask: Ask,
        guarding: Guarding,
    ) -> None:
        self._model = options.model
        self._suffix_first = options.spm_infill
        self._sha256 = options.sha256
        self._engine = engine
        self._generator = generator
        self._adapters = adapters
        self._chat = chat
        self._forms = forms
        self._ask = ask
        self._guarding = guarding

    def named(self, adapter: str) -> str:
        """What the model is called with an adapter beside it."""
        return f"{self._model}+{adapter}" if adapter else self._model

    async def format_of(self, request: Request, model: str) -> ServedFormat:
        """The format of a model's answers by its name: that of its adapter, where that has one of its own.

        Raises:
            LlmopsError: as :meth:`.AdapterShelf.of`.
        """
        return (self._adapters.chat(await self._adapters.of(request.scope["caller"], model)) or self._chat).format

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        body = await read_body(request, schemas.ChatRequest)
        return await self.answer(request, Asked(body, body.stream, functools.partial(_teller, "chat", body)))

    async def answer(self, request: Request, asked: Asked) -> Response:
        """Answer what is a chat completion, in whichever form it was asked for."""
        try:
            caller = request.scope["caller"]
            guarded = await self._guarding.begin(caller)
            param = await self._guarding.chat(guarded, asked.chat) if guarded is not None else ""
            choices = await self._chat_choices(asked, caller)
            self._generator.guard(choices, guarded, param, caller)
            return await self._respond(request, choices, asked)
        except FieldRefusedError as error:
            raise error.renamed(asked.called(error.param)) from error

    async def count(self, request: Request, body: schemas.ChatRequest) -> int:
        """How many tokens a chat completion's prompt has, exactly as its answer would count them."""
        return await self._tokens_of((await self._rendered(body, request.scope["caller"])).prompt)

    async def _tokens_of(self, prompt: Prompt) -> int:
        call: Call = {**prompt.source(), "op": "tokenize", "pieces": False}
        return int((await self._ask(call))["count"]) + len(prompt.begun_tokens)

    async def _rendered(self, body: schemas.ChatRequest, caller: Caller) -> _Conversation:
        adapter = await self._adapters.of(caller, body.model, body.adapter)
        chat = self._adapters.chat(adapter) or self._chat
        tools = [t.as_shown() for t in body.offered]
        if tools:
            if body.grammar:
                raise FieldRefusedError(
                    "grammar",
                    "an answer that may call tools is not constrained by a grammar beside that",
                    "Give a response_format instead, or set tool_choice to none.",
                    "bad_response_format",
                )
            check_tools(chat.format)
        turns = turns_of(chat.format, body.messages)
        extra = variables_asked(chat.format, body)
        begun = turns.pop() if body.goes_on else None
        prompt = await chat.render(turns, tools or None, extra, begun)
        if body.answer_token_ids:
            prompt = await begun_with(chat.format, prompt, body.answer_token_ids, self._engine.info, self._ask)
            begun = {"role": "assistant", "content": prompt.begun}
        return _Conversation(adapter, chat, tools, turns, extra, prompt, begun)

    async def _chat_choices(self, asked: Asked, caller: Caller) -> list[Choice]:
        body = asked.chat
        given = await self._rendered(body, caller)
        chat, tools, turns, prompt = given.chat, given.tools, given.turns, given.prompt
        answer = form = answer_constraint(chat.format, body.constraint(), prompt.before_answer)
        if tools:
            several = body.parallel_tool_calls
            form = tool_constraint(
                chat.format, tools, body.demanded, several=several, prompt=prompt.before_answer, answer=form
            )
        held = await self._form(body, form, caller, asked.called)
        schema = schema_of(answer) if answer is not None and answer["type"] in JSON_FORMS else None
        parameters = {t["function"]["name"]: t["function"].get("parameters") or {} for t in tools}
        held = replace(held, answer=schema, tools=parameters)
        warned = [*asked.warnings, *budget_unused(chat.format, body.thinking_budget, asked.called("thinking_budget"))]
        if begins_call(chat.format, prompt.begun, tools):
            held = replace(held, held=replace(held.held, checked=True))
            warned.append({"param": asked.called(f"messages[{len(turns)}].content"), "message": _BEGUN_CALL})
        dropped = 0
        if body.truncate == "oldest":
            again = functools.partial(chat.render, turns, tools or None, given.extra, given.begun)
            context = (await self._engine.facts())["n_ctx"]
            wanted = sampling_of(body).max_tokens
            prompt, dropped = await drop_oldest(turns, prompt, again, self._tokens_of, context, wanted)
        said = [*turns, given.begun] if given.begun is not None else turns
        choices = []
        thinking = thinking_held(chat.format, prompt, body.thinking_budget)
        for index in range(body.n):
            choice = self._choice(body, index, prompt.source(), said, given.adapter, held, body.alternatives, caller)
            choice.warned = [*warned, *choice.warned]
            choice.reader = AnswerReader(
                chat.format,
                prompt=prompt.before_answer,
                begun=prompt.begun,
                tools=tools,
                several=body.parallel_tool_calls,
                required=bool(tools) and body.demanded is not None,
            )
            choice.before, choice.goes_on = prompt.begun or "", True
            choice.call["sizes"] = choice.reader.thinks
            if thinking is not None:
                choice.call["thinking"] = thinking
            choice.record.reader = choice.reader
            choice.record.body["dropped_turns"] = dropped
            choices.append(choice)
        return choices

    async def _form(
        self,
        body: schemas.ChatRequest | schemas.CompletionRequest,
        form: Form | None,
        caller: Caller,
        called: Callable[[str], str],
    ) -> AnswerForm:
        """How the answer is held; ``called`` is what the request calls a field."""
        try:
            return AnswerForm(
                await self._forms.held(form, caller.client), lambda tool: called(body.place_of_form(tool))
            )
        except FormRefusedError as error:
            raise FieldRefusedError(body.place_of_form(error.tool), error.message, error.hint, error.code) from error

    async def text(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        body = await read_body(request, schemas.CompletionRequest)
        gap = Gap(body.suffix) if body.suffix else None
        teller = functools.partial(_teller, "text", body)
        return await self.complete(request, AskedText(body, body.stream, teller, gap=gap))

    async def complete(self, request: Request, asked: AskedText) -> Response:
        """Answer what is a text completion, in whichever form it was asked for."""
        try:
            caller = request.scope["caller"]
            guarded = await self._guarding.begin(caller)
            param, gap = await self._guarding.text(guarded, asked.text, asked.gap)
            choices = await self._text_choices(replace(asked, gap=gap), caller)
            if guarded is not None:
                for choice in choices:
                    choice.before = (await self._shown(asked.text.prompt[choice.prompt]))[-MOST_BEFORE:]
            self._generator.guard(choices, guarded, param, caller)
            return await self._respond(request, choices, asked)
        except FieldRefusedError as error:
            raise error.renamed(asked.called(error.param)) from error

    async def _text_choices(self, asked: AskedText, caller: Caller) -> list[Choice]:
        body, gap = asked.text, asked.gap
        adapter = await self._adapters.of(caller, body.model, body.adapter)
        form = body.constraint()
        held = await self._form(body, form, caller, asked.called)
        if form is not None and form["type"] in JSON_FORMS:
            held = replace(held, answer=schema_of(form))
        # Each record names the engine.
        facts = await self._engine.facts()
        if gap is not None and not facts.get("fills"):
            raise FieldRefusedError("suffix", *INFILL_UNSUPPORTED, "infill_unsupported")
        choices: list[Choice] = []
        for place, prompt in enumerate(body.prompt):
            shown = prompt if isinstance(prompt, str) else json.dumps(prompt)
            if not isinstance(prompt, str):
                at = f"prompt[{place}]" if len(body.prompt) > 1 else "prompt"
                check_vocabulary(prompt, self._engine.info.get("n_vocab", 0), at)
            source = self._source(body, prompt, gap)
            for _ in range(body.n):
                turns: list[ChatMessage] = [
                    {"role": "prompt", "content": shown},
                    *(gap.turns() if gap is not None else ()),
                ]
                choice = self._choice(body, len(choices), source, turns, adapter, held, body.logprobs, caller)
                choice.prompt = place
                if body.echo and body.logprobs is not None:
                    choice.call["score_from"] = body.logprob_start_len
                elif body.echo:
                    choice.echo = await self._shown(prompt)
                choices.append(choice)
        return choices

    async def _shown(self, prompt: str | list[int]) -> str:
        """The text of a prompt that may be in tokens."""
        if isinstance(prompt, str):
            return prompt
        return str((await self._ask({"op": "detokenize", "tokens": prompt}))["text"])

    def _source(self, body: schemas.CompletionRequest, prompt: str | list[int], gap: Gap | None) -> Call:
        """What the engine is to go on from, or to fill in."""
        special = body.add_special_tokens
        if gap is not None:
            fill: FillRecord = {
                "before": prompt,
                "after": gap.suffix,
                "files": list(gap.files),
                "suffix_first": self._suffix_first,
            }
            return {"op": "generate", "fill": fill, "add_special": special}
        if isinstance(prompt, str):
            return {"op": "generate", "text": prompt, "add_special": special}
        return {"op": "generate", "tokens": prompt}

    def _choice(
        self,
        body: schemas.ChatRequest | schemas.CompletionRequest,
        index: int,
        source: Call,
        turns: list[ChatMessage],
        adapter: str,
        form: AnswerForm,
        logprobs: int | None,
        caller: Caller,
    ) -> Choice:
        parameters = cast("SamplingRecord", sampling_of(body, index).model_dump(exclude_none=True))
        asked = parameters["max_tokens"]
        parameters["max_tokens"] = caller.longest_answer(asked)
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
            form={} if form.tools else body.traced_form(),  # with tools it may be a call, which is of another form
        )
        call: Call = {
            "add_special": False,
            **source,
            "id": new_id("call"),
            "parameters": parameters,
            "adapter": adapter,
            "logprobs": logprobs,
            "grammar": form.held.grammar,
            "truncate": "" if body.truncate == "oldest" else body.truncate,
            "reuse": body.cache_prompt,
            "ignore_eos": body.ignore_eos,
        }
        choice = Choice(index, record, call, form=form, warned=form.warnings(), unbounded=asked >= LONGEST)
        choice.again_of = asked_again(body, caller.replayed, logprobs)
        return choice

    async def _respond(self, request: Request, choices: list[Choice], asked: Asked | AskedText) -> Response:
        caller = request.scope["caller"]
        teller = asked.teller(choices, self.named(choices[0].call["adapter"]))
        if asked.stream:
            events = self._stream(teller, choices, caller)
            # The first event is awaited here, so that a refusal is still an HTTP error and not a broken stream.
            first = await while_connected(request, anext(events))
            headers = as_header(choices[0].warned)
            return StreamingResponse(chain(first, events), media_type=teller.media_type, headers=headers)
        await while_connected(request, self._run_all(choices, caller))
        return JSONResponse(teller.whole(choices), headers=as_header(warnings_of(choices)))

    async def _run_all(self, choices: list[Choice], caller: Caller) -> None:
        async with self._generator.admitted(caller, choices):
            await self._generator.run_all(choices)
        for choice in choices:
            if (reader := choice.reader) is not None:
                read, end = reader.feed("".join(choice.record.text)), reader.finish(cut=events.was_cut(choice.result))
                choice.answer = Delta(read.pieces + end.pieces)
            await self._check(choice, caller)

    async def _check(self, choice: Choice, caller: Caller) -> None:
        """Hold a finished answer against what its grammar left out; one that was cut off is told as that."""
        result = choice.result
        if events.was_cut(result) or result.get("stopped_by") is not None:
            return
        written = "".join(choice.record.text)
        read = choice.reader.whole(written) if choice.form.held.checked and choice.reader is not None else None
        content, calls = (written, []) if read is None else (read.content, read.tool_calls)
        problems = functools.partial(self._forms.problems, client=caller.client)
        choice.problems = await choice.form.check(content, calls, problems)

    async def _stream(self, teller: Teller, choices: list[Choice], caller: Caller) -> AsyncIterator[bytes]:
        """A stream; all that is there is written at once, so a slow reader costs few writes."""
        begun = False
        try:
            async with self._generator.admitted(caller, choices):
                async with contextlib.aclosing(self._generator.stream_all(choices)) as run:
                    async for choice, messages in run:
                        if messages[-1]["event"] == "done":
                            await self._check(choice, caller)
                        opened = b"" if begun else teller.opened(messages)
                        if out := opened + teller.stream(choice, messages):
                            begun = True
                            yield out
            if out := teller.closed(choices):
                yield out
        except LlmopsError as error:
            if not begun:
                raise
            yield teller.failed(error)


def _teller(
    kind: str, body: schemas.ChatRequest | schemas.CompletionRequest, choices: list[Choice], model: str
) -> events.Teller:
    """Tells answers in the form of OpenAI's completions."""
    return events.Teller(kind, choices[0].record.id, model, body.n, usage=body.include_usage)
