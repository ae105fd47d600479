"""Rendering of a case: prompts, sampling with the seed of the repeat, and the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.suite import Suite
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.answer_settings import AnswerSettings
from llmops_tui.inference.asked_prompt import fields_of, rendered_many, sampling_of, with_offered
from llmops_tui.inference.asking.asker import Request
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.prompts.store import PromptVersion

# What is wrong with the values of one case alone.
_OF_VALUES = {"variable_unfit", "variable_missing", "bad_search"}
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


def render_all(cases: list[Case], prompt: PromptVersion | None, renderer: TemplateRenderer) -> list[list[ChatMessage]]:
    """The messages of each case.

    Raises:
        InputRefusedError: a variable has no value, or the template cannot be rendered; ``nothing_to_ask``.
    """
    if prompt is None:
        empty = next((case for case in cases if not case.messages), None)
        if empty is not None:
            raise InputRefusedError(
                "nothing_to_ask",
                f"{_place(empty)} is not a conversation, and the suite has no prompt",
                "Give the suite a prompt that uses its variables.",
            )
        return [list(case.messages) for case in cases]
    return [made.messages for made in rendered_many(prompt, [case.variables for case in cases], renderer)]


def render_each(
    cases: Sequence[Case], prompt: PromptVersion | None, renderer: TemplateRenderer, *, least: int = 1
) -> tuple[list[list[ChatMessage]], dict[int, InputRefusedError]]:
    """The messages of each case; of one whose own values are at fault none, and what is wrong with it, by the case's index.

    Raises:
        InputRefusedError: as :func:`render_all`, where the fault is no case's own, or fewer cases than ``least`` have none.
    """
    try:
        return render_all(list(cases), prompt, renderer), {}
    except InputRefusedError as error:
        if error.code not in _OF_VALUES:
            raise
        first = error
    found: list[list[ChatMessage]] = []
    unfit: dict[int, InputRefusedError] = {}
    for case in cases:
        try:
            found += render_all([case], prompt, renderer)
        except InputRefusedError as error:
            if error.code not in _OF_VALUES:
                raise
            unfit[case.index] = InputRefusedError(error.code, f"{_place(case)}: {error.message}", error.hint)
            found.append([])
    if len(cases) - len(unfit) < least:
        raise first
    return found, unfit


def _place(case: Case) -> str:
    return f"row {case.row}" if case.row is not None else f"case {case.index}"


def asked_beyond(case: Case, messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The conversation that an answer is kept with: none where the case has the same itself."""
    given = tuple(messages)
    return () if given == case.messages else given


class Samplings:
    """The sampling of each repeat, which has a seed of its own, as parameters and as JSON; made once, not for every case.

    What is given counts before what the prompt's version holds.
    """

    def __init__(self, given: Mapping[str, object], settings: AnswerSettings | None = None) -> None:
        self._given = sampling_of(settings, SamplingParameters.model_validate(given))
        self._made: dict[int, tuple[SamplingParameters, JsonObject]] = {}

    def of(self, repeat: int) -> tuple[SamplingParameters, JsonObject]:
        """Those of one repeat."""
        if repeat not in self._made:
            made = self._given.model_copy(update={"seed": self._given.seed + repeat})
            self._made[repeat] = made, made.model_dump(mode="json", exclude_none=True)
        return self._made[repeat]


def request_of(
    suite: Suite,
    messages: Sequence[ChatMessage],
    parameters: SamplingParameters,
    *,
    logprobs: bool,
    settings: AnswerSettings | None = None,
    tools: Sequence[JsonObject] = (),
) -> Request:
    """The request for an answer; the form that the suite says counts before that of the prompt's version.

    ``tools`` are offered beside those that the version holds; of two with one name it is the one that can be called.
    """
    extra: dict[str, Any] = with_offered(fields_of(settings), tools)
    if suite.response_format is not None:
        extra["response_format"] = suite.response_format
    if suite.raw:
        return Request(TEXT, {"prompt": "\n".join(m["content"] for m in messages), **extra}, parameters)
    if logprobs:
        extra |= {"logprobs": True, "top_logprobs": 0}
    return Request(CHAT, {"messages": messages, **extra}, parameters)


def choices_request(whole: list[list[int]], sizes: list[int]) -> Request:
    """The request for the log-probabilities of texts behind a context, given as tokens of both."""
    first = min(len(ids) - size for ids, size in zip(whole, sizes, strict=True))
    body = {"prompt": whole, "echo": True, "logprobs": 0, "logprob_start_len": first}
    return Request(TEXT, body, SamplingParameters(max_tokens=0))


def with_asked(answer: Answer, case: Case, messages: list[ChatMessage]) -> Answer:
    """An answer with the conversation that it answers, where the case does not have it itself."""
    return replace(answer, asked=given) if (given := asked_beyond(case, messages)) else answer
