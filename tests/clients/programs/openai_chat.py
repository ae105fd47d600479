"""The openai package: chat completions."""

from __future__ import annotations

from typing import Any

import openai
import pydantic
from harness import QUESTION, TOOLS, Place, calls_of, refusal, serve

# The package parses answers only with tools that are strict.
STRICT: Any = [tool | {"function": tool["function"] | {"strict": True}} for tool in TOOLS]  # type: ignore[operator]
ASKED: Any = [{"role": "user", "content": QUESTION}]


class Weather(pydantic.BaseModel):
    city: str
    degrees: int
    rain: bool = pydantic.Field(description="Whether it rains")


def _client(place: Place) -> openai.OpenAI:
    return openai.OpenAI(base_url=place.url, api_key=place.key, max_retries=0)


def _told(answer: Any) -> dict[str, Any]:
    choice = answer.choices[0]
    said = choice.message
    return {
        "text": said.content or "",
        "reasoning": getattr(said, "reasoning_content", None) or "",
        "calls": calls_of(said.tool_calls),
        "finish": choice.finish_reason,
    }


def _ask(place: Place, **more: Any) -> dict[str, Any]:
    return _told(_client(place).chat.completions.create(model=place.model, messages=ASKED, **more))


def _streamed(place: Place, **more: Any) -> dict[str, Any]:
    stream = _client(place).chat.completions.create(
        model=place.model, messages=ASKED, stream=True, stream_options={"include_usage": True}, **more
    )
    told: dict[str, Any] = {"text": "", "reasoning": "", "calls": [], "finish": None}
    pieces = 0
    for chunk in stream:
        for choice in chunk.choices:
            told["text"] += choice.delta.content or ""
            told["reasoning"] += getattr(choice.delta, "reasoning_content", None) or ""
            told["calls"] += calls_of(choice.delta.tool_calls)
            told["finish"] = choice.finish_reason or told["finish"]
            pieces += bool(choice.delta.content)
        if chunk.usage is not None:
            told["usage"] = chunk.usage.completion_tokens > 0
    return told | {"pieces": pieces}


def _with_helper(place: Place) -> dict[str, Any]:
    """The stream that the package itself puts together again."""
    with _client(place).chat.completions.stream(model=place.model, messages=ASKED, tools=TOOLS) as stream:
        for _ in stream:
            pass
        return _told(stream.get_final_completion())


def _structured(place: Place) -> list[Any]:
    """Whole, and streamed."""
    given: Any = {"model": place.model, "messages": ASKED, "response_format": Weather}
    whole = _client(place).chat.completions.parse(**given)
    with _client(place).chat.completions.stream(**given) as stream:
        streamed = stream.until_done().get_final_completion()
    return [one.choices[0].message.parsed.model_dump() for one in (whole, streamed)]


def _structured_after_tools(place: Place) -> Any:
    """Tools and a form in one request: a call first, and when its result was sent back an answer in the form."""
    client = _client(place)
    given: Any = {"model": place.model, "tools": STRICT, "response_format": Weather}
    said = client.chat.completions.parse(messages=ASKED, **given).choices[0].message
    results = [{"role": "tool", "tool_call_id": c.id, "content": "It rains in Rome."} for c in said.tool_calls]
    answer = client.chat.completions.parse(messages=[*ASKED, said, *results], **given)
    return answer.choices[0].message.parsed.model_dump()


def _strict_tool(place: Place) -> Any:
    """A tool made of a class, as the package writes its schema."""
    tool = openai.pydantic_function_tool(Weather, name="report")
    answer = _client(place).chat.completions.parse(
        model=place.model, messages=ASKED, tools=[tool], tool_choice="required"
    )
    return answer.choices[0].message.tool_calls[0].function.parsed_arguments.model_dump()


def _cancel(place: Place) -> str:
    stream = _client(place).chat.completions.create(model=place.model, messages=ASKED, stream=True)
    first = next(c.choices[0].delta.content for c in stream if c.choices[0].delta.content)
    stream.close()
    return first


def _second_turn(place: Place) -> dict[str, Any]:
    client = _client(place)
    first = client.chat.completions.create(model=place.model, messages=ASKED, tools=TOOLS)
    said = first.choices[0].message
    results = [{"role": "tool", "tool_call_id": c.id, "content": "It rains in Rome."} for c in said.tool_calls]
    turns = [*ASKED, said, *results]
    return _told(client.chat.completions.create(model=place.model, messages=turns, tools=TOOLS))


def _logprobs(place: Place) -> list[Any]:
    answer = _client(place).chat.completions.create(model=place.model, messages=ASKED, logprobs=True, top_logprobs=2)
    return [[t.token, t.logprob, len(t.top_logprobs)] for t in answer.choices[0].logprobs.content]


def _error(place: Place) -> dict[str, Any]:
    try:
        _ask(place, top_logprobs=3)
    except openai.BadRequestError as error:
        return refusal(error) | {"param": error.param, "code": error.code}
    raise AssertionError("it was not refused")


def _named(name: str) -> Any:
    return {"type": "function", "function": {"name": name}}


def _allowed(mode: str) -> Any:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [_named("weather")]}}


serve(
    {
        "plain": _ask,
        "stream": _streamed,
        "thinking": lambda place: [_ask(place), _streamed(place)],
        "auto": lambda place: [_ask(place, tools=TOOLS), _streamed(place, tools=TOOLS), _with_helper(place)],
        "required": lambda place: _ask(place, tools=TOOLS, tool_choice="required"),
        "named": lambda place: _ask(place, tools=TOOLS, tool_choice=_named("time")),
        "single": lambda place: _ask(place, tools=TOOLS, parallel_tool_calls=False),
        "allowed": lambda place: _ask(place, tools=TOOLS, tool_choice=_allowed("required")),
        "structured": _structured,
        "structured_after_tools": _structured_after_tools,
        "strict_tool": _strict_tool,
        "cancel": _cancel,
        "second_turn": _second_turn,
        "logprobs": _logprobs,
        "error": _error,
    },
    "openai",
)
