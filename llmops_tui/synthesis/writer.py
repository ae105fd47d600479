"""Asks the model for rows: one request a row through the batching engine, or two for a text there and back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from llmops_tui.datasets.rewording import Rewording
from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.base import Answer
from llmops_tui.evaluation.runner.model_calls import kept_answer, read_answer
from llmops_tui.inference.asking.asker import Asker, Request
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.synthesis.attempts import Attempt
from llmops_tui.synthesis.plan import SynthesisPlan
from llmops_tui.synthesis.prompts import Conversations
from llmops_tui.synthesis.shape import RowShape
from llmops_tui.synthesis.tasks import Task

CHAT = "/v1/chat/completions"
# Failures that are none of a request: nothing more can be asked, or kept.
ENDS = {"model_gone", "results_failed", "cache_failed"}
_LONGER, _SHORTEST = 3, 200


@dataclass(frozen=True)
class Written:
    """An answer, and what it took."""

    answer: Answer
    calls: int = 1


class Writer:
    """Writes the rows of one plan.

    ``language`` is that of the seeds, for a translation back.
    """

    def __init__(
        self,
        plan: SynthesisPlan,
        asker: Asker,
        conversations: Conversations,
        shape: RowShape,
        rewording: Rewording | None,
        language: str = "en",
    ) -> None:
        self._plan, self._asker, self._conversations = plan, asker, conversations
        self._shape, self._rewording, self._language = shape, rewording, language

    async def attempt(self, task: Task) -> Attempt:
        """The answer to a task; a request that is refused is an attempt with an error.

        Raises:
            LlmopsError: the model is gone, or what was answered cannot be kept.
        """
        try:
            if self._plan.way == "rows":
                messages = await asyncio.to_thread(self._conversations.for_row, task)
                return _attempt(task, await self.ask(messages, task.seed, self._shape.response_format))
            text = self._text(task)
            if self._plan.way == "paraphrase":
                messages = await asyncio.to_thread(self._conversations.for_text, text)
                return _attempt(task, await self.ask(messages, task.seed, _text_form(text)))
            return await self._there_and_back(task, text)
        except LlmopsError as error:
            if error.code in ENDS:
                raise
            return Attempt(task.number, error=f"{error.code}: {error.message}"[:500])

    def _text(self, task: Task) -> str:
        assert task.base is not None
        assert self._rewording is not None
        text = self._rewording.text_of(task.base.row)
        assert text is not None
        return text

    async def _there_and_back(self, task: Task, text: str) -> Attempt:
        there = await self.ask(
            await asyncio.to_thread(self._conversations.for_text, text, self._plan.language),
            task.seed,
            _text_form(text),
        )
        between = text_in(there.text)
        if there.finish_reason == "length" or not between:
            return _attempt(task, there)
        back = await self.ask(
            await asyncio.to_thread(self._conversations.for_text, between, self._language), task.seed, _text_form(text)
        )
        both = replace(
            back,
            prompt_tokens=(there.prompt_tokens or 0) + (back.prompt_tokens or 0),
            completion_tokens=(there.completion_tokens or 0) + (back.completion_tokens or 0),
        )
        return replace(_attempt(task, both, 2), between=between)

    async def ask(self, messages: Sequence[ChatMessage], seed: int, form: Mapping[str, object]) -> Answer:
        """One answer, from the cache where the same was asked before."""
        parameters = self._plan.parameters.model_copy(update={"seed": seed})
        body = {"messages": list(messages), "response_format": form}
        sampled = {**body, "sampling": parameters.model_dump(mode="json")}
        model = self._plan.model
        if not self._asker.unknown(model):
            key = self._asker.key(self._asker.identity(model), CHAT, sampled)
            known = self._asker.cache.find([key])
            if key in known:
                return kept_answer(known[key])
        reply, trace = await self._asker.answer(
            model, Request(CHAT, body, parameters, prompt=self._conversations.ref), sampled
        )
        return read_answer(reply, trace=trace)


def _attempt(task: Task, answer: Answer, calls: int = 1) -> Attempt:
    return Attempt(
        task.number,
        text=answer.text,
        finish=answer.finish_reason,
        calls=calls,
        prompt_tokens=answer.prompt_tokens or 0,
        completion_tokens=answer.completion_tokens or 0,
    )


def _text_form(text: str) -> Mapping[str, object]:
    """A text as JSON, so that nothing but the text is said; a few times as long as the one it stands for at most."""
    most = max(_SHORTEST, _LONGER * len(text))
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "minLength": 1, "maxLength": most}},
        "required": ["text"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "text", "schema": schema}}


def text_in(answer: str) -> str:
    """The text of an answer in that form; empty where it is not whole."""
    from llmops_tui.foreign_text import parse_json

    try:
        value = parse_json(answer)
    except ValueError:
        return ""
    text = cast("object", value.get("text")) if isinstance(value, dict) else None
    return text.strip() if isinstance(text, str) else ""
