"""Runs of a prompt: render, save the version, stream the answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.asked_prompt import Rendered, fields_of, rendered, sampling_of
from llmops_tui.inference.client import ModelClient, StreamEnd, Thought, TokensTold
from llmops_tui.inference.content import as_kept
from llmops_tui.inference.endpoints import Endpoint, open_endpoint
from llmops_tui.inference.remote import RemoteHandle
from llmops_tui.inference.retrieval_asked import retrievals_noted
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.wire import TokenProbability, ToolCall
from llmops_tui.models.registry import Model
from llmops_tui.prompts.asked_run import AskedRun, with_tools
from llmops_tui.prompts.partials import put_in
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.settings import load_settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.events import RequestRecord
from llmops_tui.workspace.ids import new_id

if TYPE_CHECKING:
    from llmops_tui.inference.answer_settings import AnswerSettings
    from llmops_tui.prompts.tool_rounds import CallStep, ToolRounds


@dataclass(frozen=True)
class RunRequest:
    """What is to be run.

    Attributes:
        version: the version that has these texts, where it is known; else they are saved first.
        alternatives: how many other tokens are told beside each one of the answer; none: tokens are not told.
        begun: the tokens that the answer begins with; what is told comes behind them.
        schema: a JSON Schema that the answer is held to; else that of the settings.
        settings: what the version holds beside its texts. What ``parameters`` set counts before it.
        unheld: whether the answer is held to no schema, whatever the settings say.
    """

    prompt: str
    system: str
    template: str
    variables: Mapping[str, object]
    parameters: SamplingParameters
    parent: int | None = None
    note: str = ""
    version: PromptVersion | None = None
    alternatives: int | None = None
    begun: tuple[int, ...] = ()
    schema: Schema | None = None
    settings: AnswerSettings | None = None
    unheld: bool = False

    @property
    def held_to(self) -> Schema | None:
        """The schema that the answer is held to."""
        own = self.settings.answer_schema if self.settings is not None else None
        return None if self.unheld else self.schema if self.schema is not None else own

    @property
    def sampling(self) -> SamplingParameters:
        """How the answer is sampled."""
        return sampling_of(self.settings, self.parameters)

    def as_fields(self) -> dict[str, object]:
        """What of it is a field of the request of its own."""
        found = fields_of(self.settings)
        found.pop("response_format", None)
        if self.alternatives is not None:
            found |= {"logprobs": True, "top_logprobs": self.alternatives}
        if self.begun:
            found["answer_token_ids"] = list(self.begun)
        if (schema := self.held_to) is not None:
            found["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return found


@dataclass
class RunProgress:
    """One step of a run.

    Its ``stage`` is ``saved``, ``loading``, ``thinking``, ``text``, ``tokens``, ``call`` of a tool, ``round`` of calls that
    was answered, with its ``turns``, or ``finished``.
    """

    stage: str
    version: PromptVersion | None = None
    created: bool = False
    text: str = ""
    end: StreamEnd | None = None
    run_id: str = ""
    call: CallStep | None = None
    tokens: list[TokenProbability] = field(default_factory=list)
    turns: list[Mapping[str, object]] = field(default_factory=list)


# Of one run; the calls of a model that goes round and round come to an end.
MOST_ROUNDS = 10

EnsureServer = Callable[[Model], Endpoint]


class PromptRunner:
    """Runs prompts on the models of a workspace."""

    def __init__(
        self, catalog: Catalog, event_log: EventLog, renderer: TemplateRenderer, ensure: EnsureServer | None = None
    ) -> None:
        self._catalog = catalog
        self._event_log = event_log
        self._renderer = renderer
        self._store = PromptStore(catalog)
        supervisor = ServerSupervisor(catalog.workspace)
        self._ensure = ensure or (lambda model: open_endpoint(supervisor, model))

    def open(self, model: Model) -> Endpoint:
        """Have a model ready to answer. Blocks while it is loaded.

        Raises:
            LlmopsError: it cannot be loaded. MemoryShortError: it does not fit into memory.
        """
        return self._ensure(model)

    def render(self, request: RunRequest) -> list[dict[str, str]]:
        """The messages the model is sent.

        Raises:
            InputRefusedError: ``template_failed``, ``variable_missing``, ``variable_unfit``, ``bad_partial``.
        """
        return [{"role": one["role"], "content": str(one["content"])} for one in self._rendered(request).messages]

    def _rendered(self, request: RunRequest) -> Rendered:
        return rendered(self._whole(request), request.variables, self._renderer)

    def _whole(self, request: RunRequest) -> RunRequest:
        """A request with the texts of its version; where that is to be saved first, with the partials that it includes."""
        version = request.version
        if version is not None:
            return replace(request, system=version.system, template=version.template)
        system, template = (
            put_in(self._store.get, request.prompt, text) for text in (request.system, request.template)
        )
        return replace(request, system=system, template=template)

    async def run(
        self, request: RunRequest, model: Model, tools: ToolRounds | None = None
    ) -> AsyncGenerator[RunProgress, None]:
        """Run a prompt; the version is durable before the first token.

        Where the model calls ``tools``, each round of it is a request with a record of its own; the messages of the next
        one have the calls and their results.

        Raises:
            LlmopsError: whatever went wrong; text that came before is in the run's record. ``too_many_rounds``.
        """
        with retrievals_noted() as retrieved:
            request = await asyncio.to_thread(self._whole, request)
            made = await asyncio.to_thread(self._rendered, request)
        saving = asyncio.ensure_future(asyncio.to_thread(self._save, request))
        stopped = None
        try:
            version, created = await asyncio.shield(saving)
        except asyncio.CancelledError as cancelled:
            # A thread goes on when its run is stopped: the version it saves is told first, or nobody would know of it.
            stopped = cancelled
            version, created = await saving
        run_id = new_id("run")
        yield RunProgress("saved", version=version, created=created, run_id=run_id)
        if stopped is not None:
            raise stopped
        beside = {"client": {"retrieved": retrieved}} if retrieved else {}
        known = {"prompt": request.prompt, "prompt_version": version.number, "variables": dict(made.values), **beside}
        asked = AskedRun(run_id, model, request.sampling, request.as_fields(), known, [*made.messages])
        async with contextlib.aclosing(self._rounds(asked, tools)) as steps:
            async for step in steps:
                yield step

    async def converse(
        self,
        messages: Sequence[Mapping[str, object]],
        parameters: SamplingParameters,
        model: Model,
        tools: ToolRounds | None = None,
    ) -> AsyncGenerator[RunProgress, None]:
        """As :meth:`run`, of a conversation that no prompt is the source of; an assistant's text at its end begins the answer."""
        asked = AskedRun(new_id("run"), model, parameters, {}, {}, [*messages])
        async with contextlib.aclosing(self._rounds(asked, tools)) as steps:
            async for step in steps:
                yield step

    async def _rounds(self, asked: AskedRun, tools: ToolRounds | None) -> AsyncGenerator[RunProgress, None]:
        """The requests of one run: another for each round of calls."""
        handle = await asyncio.to_thread(self._ensure, asked.model)
        yield RunProgress("loading", run_id=asked.run_id)
        for _ in range(MOST_ROUNDS):
            async for step in self._ask(handle, asked, tools):
                yield step
            if tools is None or not asked.calls:
                return
            turn = asked.as_turn()
            async for call in tools.answer(asked.calls):
                yield RunProgress("call", call=call, run_id=asked.run_id)
            yield RunProgress("round", run_id=asked.run_id, turns=[turn, *tools.replies])
            asked = asked.again([turn, *tools.replies])
        raise LlmopsError(
            "too_many_rounds",
            f"{asked.model.name} called tools in {MOST_ROUNDS} rounds and gave no answer",
            "Ask for less, or switch off the tools that it goes back to.",
        )

    async def _ask(self, handle: Endpoint, asked: AskedRun, tools: ToolRounds | None) -> AsyncIterator[RunProgress]:
        """One request: its text, and its end where it is the last one."""
        extra = with_tools(asked.fields, tools)
        body = asked.as_record(extra)
        clock = time.monotonic()
        try:
            async with ModelClient(handle) as client:
                answered = client.stream_chat(asked.messages, asked.parameters, asked.metadata, extra)
                async with contextlib.aclosing(answered) as events:
                    async for event in events:
                        if isinstance(event, str):
                            asked.text += event
                            yield RunProgress("text", text=event, run_id=asked.run_id)
                            continue
                        if isinstance(event, TokensTold):
                            yield RunProgress("tokens", tokens=event.tokens, run_id=asked.run_id)
                            continue
                        if isinstance(event, Thought):
                            asked.thinking += event.text
                            yield RunProgress("thinking", text=event.text, run_id=asked.run_id)
                            continue
                        asked.calls = event.calls
                        if isinstance(handle, RemoteHandle):
                            output = "\n".join([asked.text, *map(_call_text, event.calls)])
                            ended: RequestRecord = {"finish_reason": event.finish_reason, "output": output}
                            ended |= {"thinking": asked.thinking} if asked.thinking else {}
                            await asyncio.to_thread(self._keep, asked.run_id, {**body, **event.timings, **ended})
                        if not event.calls or tools is None:
                            yield RunProgress("finished", end=event, run_id=asked.run_id)
        except LlmopsError as error:
            if error.code == "server_died" or isinstance(handle, RemoteHandle):
                # A server of ours keeps the record of a run; where it died, or is none, its client keeps what it saw.
                told: RequestRecord = {
                    "output": asked.text,
                    "thinking": asked.thinking,
                    "finish_reason": "error",
                    "error": error.message,
                    "total_ms": (time.monotonic() - clock) * 1000,
                }
                await asyncio.to_thread(self._keep, asked.run_id, {**body, **told})
            if tools is not None and (named := tools.refusal_of_one(error)) is not None:
                raise named from error
            raise

    def _keep(self, run_id: str, body: RequestRecord) -> None:
        self._event_log.append("request", run_id, as_kept(body, load_settings()[0].trace_content))

    def _save(self, request: RunRequest) -> tuple[PromptVersion, bool]:
        if request.version is not None:
            return request.version, False
        return self._store.save(
            request.prompt,
            template=request.template,
            system=request.system,
            note=request.note,
            parent=request.parent,
            settings=request.settings,
        )


def _call_text(call: ToolCall) -> str:
    """A call as the output of a model has it, of which only the call is known."""
    return f"[call {call['function']['name']} {call['function']['arguments']}]"
