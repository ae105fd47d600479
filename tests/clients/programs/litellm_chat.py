"""litellm, through its provider for endpoints like OpenAI's and through the one for vLLM."""

from __future__ import annotations

from typing import Any

import litellm
import pydantic
from harness import QUESTION, TOOLS, Place, calls_of, refusal, serve

litellm.telemetry = False
ASKED = [{"role": "user", "content": QUESTION}]
PROVIDERS = ("openai", "hosted_vllm")


class Weather(pydantic.BaseModel):
    city: str
    degrees: int
    rain: bool


def _complete(place: Place, provider: str, messages: Any = ASKED, **more: Any) -> Any:
    given = {"api_base": place.url, "api_key": place.key, "num_retries": 0, "timeout": 120}
    return litellm.completion(model=f"{provider}/{place.model}", messages=messages, **given, **more)


def _told(answer: Any) -> dict[str, Any]:
    choice = answer.choices[0]
    said = choice.message
    return {
        "text": said.content or "",
        "reasoning": getattr(said, "reasoning_content", None) or "",
        "calls": calls_of(said.tool_calls),
        "finish": choice.finish_reason,
    }


def _each(place: Place, **more: Any) -> list[Any]:
    return [_told(_complete(place, provider, **more)) for provider in PROVIDERS]


def _streamed(place: Place, **more: Any) -> list[Any]:
    found = []
    for provider in PROVIDERS:
        chunks = list(_complete(place, provider, stream=True, **more))
        pieces = sum(bool(c.choices and c.choices[0].delta.content) for c in chunks)
        found.append(_told(litellm.stream_chunk_builder(chunks, messages=ASKED)) | {"pieces": pieces})
    return found


def _structured(place: Place) -> list[Any]:
    answers = [_complete(place, provider, response_format=Weather) for provider in PROVIDERS]
    return [Weather.model_validate_json(a.choices[0].message.content).model_dump() for a in answers]


def _cancel(place: Place) -> str:
    stream = _complete(place, "openai", stream=True)
    first = next(c.choices[0].delta.content for c in stream if c.choices[0].delta.content)
    stream.completion_stream.close()
    return first


def _second_turn(place: Place) -> list[Any]:
    found = []
    for provider in PROVIDERS:
        said = _complete(place, provider, tools=TOOLS).choices[0].message
        results = [{"role": "tool", "tool_call_id": c.id, "content": "It rains in Rome."} for c in said.tool_calls]
        found.append(_told(_complete(place, provider, [*ASKED, said, *results], tools=TOOLS)))
    return found


def _error(place: Place) -> dict[str, Any]:
    try:
        _complete(place, "openai", top_logprobs=3)
    except litellm.BadRequestError as error:
        return refusal(error)
    raise AssertionError("it was not refused")


NAMED = {"type": "function", "function": {"name": "time"}}
serve(
    {
        "plain": _each,
        "stream": _streamed,
        "thinking": lambda place: _each(place) + _streamed(place),
        "auto": lambda place: _each(place, tools=TOOLS) + _streamed(place, tools=TOOLS),
        "required": lambda place: _each(place, tools=TOOLS, tool_choice="required"),
        "named": lambda place: _each(place, tools=TOOLS, tool_choice=NAMED),
        "single": lambda place: _each(place, tools=TOOLS, parallel_tool_calls=False),
        "structured": _structured,
        "cancel": _cancel,
        "second_turn": _second_turn,
        "error": _error,
    },
    "litellm",
)
