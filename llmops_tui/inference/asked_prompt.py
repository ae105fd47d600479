"""What is asked of a version of a prompt: the one place that makes messages, sampling and fields of its texts and settings.

What a request says itself comes first, then what the version holds, then the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.answer_settings import AnswerSettings, Examples, values_of
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.wire import ChatMessage

if TYPE_CHECKING:
    from llmops_tui.inference.template_renderer import TemplateRenderer


class Askable(Protocol):
    """The texts of a prompt and what it holds beside them: a version, a column, a draft."""

    @property
    def system(self) -> str:
        """The system template."""

    @property
    def template(self) -> str:
        """The user template."""

    @property
    def settings(self) -> AnswerSettings | None:
        """What it holds beside them."""


@dataclass(frozen=True)
class Rendered:
    """A prompt with values in it. ``values`` are all that it was rendered with, defaults included."""

    system: str
    examples: tuple[ChatMessage, ...]
    user: str
    values: Mapping[str, object]

    @property
    def before(self) -> list[ChatMessage]:
        """What stands before the user's turn: the system's text, and examples as turns."""
        head = [ChatMessage(role="system", content=self.system)] if self.system else []
        return [*head, *self.examples]

    @property
    def messages(self) -> list[ChatMessage]:
        """The whole conversation."""
        return [*self.before, ChatMessage(role="user", content=self.user)]


@dataclass(frozen=True)
class ToRender:
    """What of a prompt is to be rendered for one request: texts with values, in their order.

    It is asked for its texts by whoever has a renderer, alone or many at once, and told what became of them.
    """

    values: Mapping[str, object]
    sources: tuple[tuple[str, Mapping[str, object]], ...]
    examples: Examples | None

    def made(self, texts: Sequence[str]) -> Rendered:
        """The prompt, from its rendered texts."""
        system, user, *questions = texts
        turns: list[ChatMessage] = []
        for number, one in enumerate(self.examples.turns if self.examples is not None else ()):
            asked = questions[number] if questions else one.question
            turns += [ChatMessage(role="user", content=asked), ChatMessage(role="assistant", content=one.answer)]
        return Rendered(system, tuple(turns), user, self.values)


def to_render(prompt: Askable, given: Mapping[str, object]) -> ToRender:
    """What is to be rendered of a prompt: the system's text, the user's, and the questions that stand in its words.

    Raises:
        InputRefusedError: ``variable_unfit``.
    """
    values = values_of(prompt.settings, given)
    examples = prompt.settings.examples if prompt.settings is not None else None
    sources: list[tuple[str, Mapping[str, object]]] = [(prompt.system, values), (prompt.template, values)]
    if examples is not None and examples.variable:
        sources += [(prompt.template, {**values, examples.variable: one.question}) for one in examples.turns]
    return ToRender(values, tuple(sources), examples)


def rendered(prompt: Askable, given: Mapping[str, object], renderer: TemplateRenderer) -> Rendered:
    """A prompt with the values of one request.

    Raises:
        InputRefusedError: ``template_failed``, ``variable_missing``, ``variable_unfit``.
    """
    asked = to_render(prompt, given)
    return asked.made([renderer.render(text, values) if text.strip() else "" for text, values in asked.sources])


def rendered_each(
    prompt: Askable, given: Sequence[Mapping[str, object]], renderer: TemplateRenderer
) -> list[Rendered | InputRefusedError]:
    """A prompt with the values of many requests: of one whose values do not fit what :func:`rendered` would raise for it."""
    asked = [_fit(prompt, one) for one in given]
    fit = [one for one in asked if isinstance(one, ToRender)]
    # The same text stands at the same place of all of them.
    made = [
        renderer.render_each(sources[0][0], [values for _, values in sources], "prompt")
        if sources[0][0].strip()
        else [""] * len(sources)
        for sources in zip(*(one.sources for one in fit), strict=True)
    ]
    told = iter(zip(*made, strict=True))
    return [one if isinstance(one, InputRefusedError) else _made(one, next(told)) for one in asked]


def _fit(prompt: Askable, given: Mapping[str, object]) -> ToRender | InputRefusedError:
    try:
        return to_render(prompt, given)
    except InputRefusedError as error:
        return error


def _made(asked: ToRender, texts: Sequence[str | InputRefusedError]) -> Rendered | InputRefusedError:
    refused = next((text for text in texts if isinstance(text, InputRefusedError)), None)
    return refused or asked.made([text for text in texts if isinstance(text, str)])


def sampling_of(settings: AnswerSettings | None, asked: SamplingParameters) -> SamplingParameters:
    """How an answer is sampled: as the request says, where it sets a parameter, else as the version holds it."""
    if settings is None or not settings.parameters.model_fields_set:
        return asked
    held, own = (one.model_dump(exclude_unset=True) for one in (settings.parameters, asked))
    return SamplingParameters.model_validate({**held, **own})


def fields_of(settings: AnswerSettings | None) -> dict[str, object]:
    """The fields of a chat's request that a version holds: the form of the answer, and tools."""
    if settings is None:
        return {}
    fields: dict[str, object] = {}
    if settings.answer_schema is not None:
        named = {"name": "answer", "schema": settings.answer_schema}
        fields["response_format"] = {"type": "json_schema", "json_schema": named}
    if settings.tools:
        fields["tools"] = [tool.as_request() for tool in settings.tools]
    return fields


def with_offered(fields: Mapping[str, object], tools: Sequence[JsonObject]) -> dict[str, object]:
    """The fields of a request with tools that are offered beside; of two with one name it is the one of those beside."""
    own = fields.get("tools")
    names = {tool["function"]["name"] for tool in tools}
    held = [tool for tool in own if tool["function"]["name"] not in names] if isinstance(own, list) else []
    return {**fields, "tools": [*tools, *held]} if tools else dict(fields)


def model_of(settings: AnswerSettings | None, asked: str | None, ref: str) -> str:
    """Which model answers: the one that is asked for, else the one that the version holds.

    Raises:
        InputRefusedError: ``no_model``: neither says one.
    """
    found = asked or (settings.model if settings is not None else "")
    if not found:
        raise InputRefusedError("no_model", f"no model is named, and {ref} holds none", "Name one with --model.")
    return found
