"""Rendering of a case: prompts, sampling with the seed of the repeat, and the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.case_names import told_case
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.suite import Suite
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.answer_settings import AnswerSettings
from llmops_tui.inference.asked_prompt import fields_of, rendered_each, sampling_of, with_offered
from llmops_tui.inference.asking.asker import Request
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.prompts.store import PromptVersion

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


def render_one(case: Case, prompt: PromptVersion | None, renderer: TemplateRenderer) -> list[ChatMessage]:
    """The messages of a case.

    Raises:
        InputRefusedError: a variable has no value, or the template cannot be rendered with it; ``nothing_to_ask``.
    """
    (found,) = _rendered([case], prompt, renderer)
    if isinstance(found, InputRefusedError):
        raise found
    return found


def render_each(
    cases: Sequence[Case], prompt: PromptVersion | None, renderer: TemplateRenderer, *, least: int = 1
) -> tuple[list[list[ChatMessage]], dict[int, InputRefusedError]]:
    """The messages of each case; of one that cannot be asked none, and what is wrong with it, by the case's index.

    Raises:
        InputRefusedError: fewer cases than ``least`` can be asked, with what is wrong with the first.
    """
    told = _rendered(cases, prompt, renderer)
    return without_unfit(cases, told, least=least)


def without_unfit(
    cases: Sequence[Case], told: Sequence[list[ChatMessage] | InputRefusedError], *, least: int = 1
) -> tuple[list[list[ChatMessage]], dict[int, InputRefusedError]]:
    """As :func:`render_each`, from the messages of each case, or what is wrong with it."""
    unfit = {
        case.index: InputRefusedError(one.code, f"{_place(case)}: {one.message}", one.hint)
        for case, one in zip(cases, told, strict=True)
        if isinstance(one, InputRefusedError)
    }
    if unfit and len(cases) - len(unfit) < least:
        first = next(iter(unfit.values()))
        raise InputRefusedError(first.code, f"none of {len(cases):,} cases can be asked; {first.message}", first.hint)
    return [[] if isinstance(one, InputRefusedError) else one for one in told], unfit


def _rendered(
    cases: Sequence[Case], prompt: PromptVersion | None, renderer: TemplateRenderer
) -> list[list[ChatMessage] | InputRefusedError]:
    if prompt is None:
        return [list(case.messages) if case.messages else _nothing_to_ask() for case in cases]
    made = rendered_each(prompt, [case.variables for case in cases], renderer)
    return [one if isinstance(one, InputRefusedError) else one.messages for one in made]


def _nothing_to_ask() -> InputRefusedError:
    return InputRefusedError(
        "nothing_to_ask",
        "it is not a conversation, and the suite has no prompt",
        "Give the suite a prompt that uses its variables.",
    )


def _place(case: Case) -> str:
    return f"row {case.row}" if case.row is not None else f"case {told_case(case)}"


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
