"""Requests of prompt steps to models: what decides their answers, and the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from llmops_tui.inference.answer_settings import AnswerSettings
from llmops_tui.inference.asked_prompt import sampling_of
from llmops_tui.inference.asking.cache import answer_key
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.wire import ChatMessage, Reply
from llmops_tui.workspace.events import TracedStep

if TYPE_CHECKING:
    from llmops_tui.inference.asking.asker import Asker

PATH = "/v1/chat/completions"
Told = Callable[[str], Awaitable[None]]
"""Takes each piece of an answer as it comes."""


@dataclass(frozen=True)
class StepRequest:
    """What a model is asked by a step."""

    model: str
    messages: Sequence[ChatMessage]
    parameters: SamplingParameters
    schema: Schema | None = None
    # What its trace says: prompt, version, variables and place. It decides nothing.
    told: Mapping[str, object] = field(default_factory=dict, compare=False)

    def with_settings(self, settings: AnswerSettings | None) -> StepRequest:
        """What the step does not say itself is as its prompt's version holds it."""
        if settings is None:
            return self
        schema = self.schema or settings.answer_schema
        return replace(self, parameters=sampling_of(settings, self.parameters), schema=schema)

    @property
    def body(self) -> dict[str, object]:
        """The request but for the model and the sampling."""
        found: dict[str, object] = {"messages": list(self.messages)}
        if self.schema is not None:
            found["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": self.schema}}
        return found

    @property
    def sampled(self) -> dict[str, object]:
        """The body with the sampling: all of a request that decides its answer, but for the model."""
        return {**self.body, "sampling": self.parameters.model_dump(mode="json", exclude_none=True)}


@dataclass(frozen=True)
class StepAnswer:
    """What came: tokens and ``stopped`` as the model's server tells them."""

    text: str
    stopped: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    trace: str = ""
    cached: bool = False


class StepModels(Protocol):
    """The models as the steps of a run ask them."""

    @property
    def parallel(self) -> int:
        """How many requests keep the engine busy."""

    def key(self, asked: StepRequest) -> str:
        """The hash of all that decides the answer to a request: the model's content among it."""

    async def answer(self, asked: StepRequest, key: str, told: Told | None = None) -> StepAnswer:
        """The answer; ``key`` is that of the request.

        Raises:
            LlmopsError: the request was refused; ``model_gone``: the model cannot be had any more.
        """


def read_reply(reply: Reply, *, trace: str = "", cached: bool = False) -> StepAnswer:
    """An answer from the reply of a chat completion."""
    choice = reply["choices"][0]
    usage = reply.get("usage") or {}
    return StepAnswer(
        (choice.get("message") or {}).get("content") or "",
        choice.get("finish_reason") or "",
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        trace,
        cached,
    )


class AskedModels:
    """Models asked by an :class:`~llmops_tui.inference.asking.asker.Asker`: in batches, with retries, each answer once.

    Answers are kept beside those of evaluations, by the same keys.
    """

    def __init__(self, asker: Asker, parallel: int, chain: str = "", run: str = "") -> None:
        """``chain`` and ``run`` are what traces say that the requests are of."""
        self._asker = asker
        self._chain, self._run = chain, run
        self.parallel = parallel

    def _of(self, asked: StepRequest) -> TracedStep:
        return {"chain": self._chain, "run": self._run, "step": str(asked.told.get("step", ""))}

    def key(self, asked: StepRequest) -> str:
        """As :meth:`StepModels.key`."""
        return self._asker.key(self._asker.identity(asked.model), PATH, asked.sampled)

    async def answer(self, asked: StepRequest, key: str, told: Told | None = None) -> StepAnswer:
        """As :meth:`StepModels.answer`; what was answered before is taken."""
        from llmops_tui.inference.asking.asker import Request

        known = self._asker.cache.find([key])
        if key in known:
            found = read_reply(known[key].reply, cached=True)
        else:
            request = Request(PATH, asked.body, asked.parameters, {**asked.told, "chain": self._of(asked)})
            reply, trace = await self._asker.answer(asked.model, request, asked.sampled)
            found = read_reply(reply, trace=trace)
        if told is not None:
            await told(found.text)
        return found


def step_key(kind: str, decided_by: Mapping[str, object]) -> str:
    """The key of a step that asks no model: the hash of its kind and of all that decides its result."""
    return answer_key({"step": kind, **decided_by})
