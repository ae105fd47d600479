"""The openai package: responses."""

from __future__ import annotations

import json
from typing import Any

import openai
import pydantic
from harness import QUESTION, TOOLS, Place, refusal, serve

# The same tools as this API has them.
FLAT: Any = [{"type": "function", "strict": False, **tool["function"]} for tool in TOOLS]


class Weather(pydantic.BaseModel):
    city: str
    degrees: int
    rain: bool = pydantic.Field(description="Whether it rains")


def _client(place: Place) -> openai.OpenAI:
    return openai.OpenAI(base_url=place.url, api_key=place.key, max_retries=0)


def _told(response: Any) -> dict[str, Any]:
    thoughts = [part.text for item in response.output if item.type == "reasoning" for part in item.content or ()]
    calls = [[i.name, json.loads(i.arguments)] for i in response.output if i.type == "function_call"]
    return {
        "text": response.output_text,
        "reasoning": "".join(thoughts),
        "calls": calls,
        "status": response.status,
        "usage": response.usage.output_tokens > 0,
        "thought": response.usage.output_tokens_details.reasoning_tokens > 0,
    }


def _ask(place: Place, **more: Any) -> dict[str, Any]:
    return _told(_client(place).responses.create(**({"model": place.model, "input": QUESTION} | more)))


def _streamed(place: Place, **more: Any) -> dict[str, Any]:
    """The stream that the package puts together again, and what its events said."""
    pieces = {"text": "", "reasoning": "", "arguments": ""}
    count = 0
    with _client(place).responses.stream(model=place.model, input=QUESTION, **more) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                pieces["text"] += event.delta
                count += 1
            elif event.type == "response.reasoning_text.delta":
                pieces["reasoning"] += event.delta
            elif event.type == "response.function_call_arguments.delta":
                pieces["arguments"] += event.delta
        response = stream.get_final_response()
    told = _told(response)
    assert pieces["text"] == told["text"]
    assert pieces["reasoning"] == told["reasoning"]
    assert pieces["arguments"] == "".join(i.arguments for i in response.output if i.type == "function_call")
    return told | {"pieces": count}


def _both(place: Place, **more: Any) -> list[dict[str, Any]]:
    return [_ask(place, **more), _streamed(place, **more)]


def _results(response: Any) -> Any:
    calls = [item for item in response.output if item.type == "function_call"]
    return [{"type": "function_call_output", "call_id": c.call_id, "output": "It rains in Rome."} for c in calls]


def _sent_back(place: Place) -> dict[str, Any]:
    """All that was said is sent again, with the results."""
    client = _client(place)
    first = client.responses.create(model=place.model, input=QUESTION, tools=FLAT)
    again: Any = [{"role": "user", "content": QUESTION}, *first.output, *_results(first)]
    return _told(client.responses.create(model=place.model, input=again, tools=FLAT))


def _gone_on(place: Place) -> list[dict[str, Any]]:
    """The results alone are sent, for what is kept."""
    client = _client(place)
    first = client.responses.create(model=place.model, input=QUESTION, tools=FLAT)
    more: Any = {"model": place.model, "tools": FLAT}
    second = client.responses.create(previous_response_id=first.id, input=_results(first), **more)
    found = client.responses.retrieve(second.id)
    assert found.output_text == second.output_text
    client.responses.delete(first.id)
    try:
        client.responses.create(previous_response_id=first.id, input="And?", **more)
    except openai.NotFoundError as error:
        return [_told(second), refusal(error) | {"param": error.param}]
    raise AssertionError("a deleted response was gone on from")


def _structured(place: Place) -> Any:
    answer = _client(place).responses.parse(model=place.model, input=QUESTION, text_format=Weather)
    return answer.output_parsed.model_dump()


def _structured_stream(place: Place) -> Any:
    pieces = 0
    with _client(place).responses.stream(model=place.model, input=QUESTION, text_format=Weather) as stream:
        for event in stream:
            pieces += event.type == "response.output_text.delta"
        return stream.get_final_response().output_parsed.model_dump() | {"pieces": pieces}


def _cancel(place: Place) -> str:
    stream = _client(place).responses.create(model=place.model, input=QUESTION, stream=True)
    first = next(event.delta for event in stream if event.type == "response.output_text.delta")
    stream.close()
    return first


def _error(place: Place) -> dict[str, Any]:
    try:
        _ask(place, tools=[{"type": "web_search"}])
    except openai.BadRequestError as error:
        return refusal(error) | {"param": error.param}
    raise AssertionError("it was not refused")


def _named(name: str) -> Any:
    return {"type": "function", "name": name}


ALLOWED: Any = {"type": "allowed_tools", "mode": "required", "tools": [_named("weather")]}

serve(
    {
        "plain": _ask,
        "stream": _streamed,
        "thinking": _both,
        "auto": lambda place: _both(place, tools=FLAT),
        "required": lambda place: _both(place, tools=FLAT, tool_choice="required"),
        "named": lambda place: _ask(place, tools=FLAT, tool_choice=_named("time")),
        "single": lambda place: _ask(place, tools=FLAT, parallel_tool_calls=False),
        "allowed": lambda place: _ask(place, tools=FLAT, tool_choice=ALLOWED),
        "second_turn": _sent_back,
        "gone_on": _gone_on,
        "structured": _structured,
        "structured_stream": _structured_stream,
        "cancel": _cancel,
        "error": _error,
    },
    "openai",
)
