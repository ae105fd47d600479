"""pydantic-ai: agents and single requests through OpenAIChatModel."""

from __future__ import annotations

import asyncio
from typing import Any

from harness import PARAMETERS, QUESTION, Place, refusal, serve
from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelRequest, NativeOutput, PromptedOutput, ToolDefinition, ToolOutput
from pydantic_ai.direct import model_request_sync
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int
    rain: bool = Field(description="Whether it rains")


def weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


def time(city: str) -> str:
    """The time in a city."""
    return f"It is noon in {city}."


def _model(place: Place) -> OpenAIChatModel:
    return OpenAIChatModel(place.model, provider=OpenAIProvider(base_url=place.url, api_key=place.key))


def _told(messages: list[Any]) -> dict[str, Any]:
    parts = [part for m in messages if isinstance(m, ModelResponse) for part in m.parts]
    return {
        "text": "".join(p.content for p in parts if isinstance(p, TextPart)),
        "reasoning": "".join(p.content for p in parts if isinstance(p, ThinkingPart)),
        "calls": [[p.tool_name, p.args_as_dict()] for p in parts if isinstance(p, ToolCallPart)],
        "finish": messages[-1].finish_reason,
    }


def _ask(place: Place, **settings: Any) -> dict[str, Any]:
    """One request, with both tools."""
    tools = [ToolDefinition(name=name, parameters_json_schema=PARAMETERS) for name in ("weather", "time")]
    given = ModelRequestParameters(function_tools=tools)
    asked = [ModelRequest.user_text_prompt(QUESTION)]
    answer = model_request_sync(_model(place), asked, model_settings=settings or None, model_request_parameters=given)
    return _told([answer]) | {"finish": {"tool_call": "tool_calls"}.get(answer.finish_reason, answer.finish_reason)}


def _run(place: Place, **more: Any) -> dict[str, Any]:
    return _told(Agent(_model(place), **more).run_sync(QUESTION).new_messages())


async def _streamed(place: Place, *, leave: bool = False, **more: Any) -> Any:
    pieces = []
    async with Agent(_model(place), **more).run_stream(QUESTION) as run:
        async for piece in run.stream_text(delta=True, debounce_by=None):
            pieces.append(piece)
            if leave:
                return piece
        told = _told(run.new_messages())
    return told | {"text": "".join(pieces), "pieces": len(pieces)}


def _second_turn(place: Place) -> list[Any]:
    """An agent calls both tools and answers, whole and streamed: what it said at the end."""
    whole = Agent(_model(place), tools=[weather, time]).run_sync(QUESTION)
    streamed = asyncio.run(_streamed(place, tools=[weather, time]))
    return [{"text": whole.output}, {"text": streamed["text"]}]


def _structured(place: Place) -> list[Any]:
    ways: list[Any] = [Weather, ToolOutput(Weather, strict=True), NativeOutput(Weather), PromptedOutput(Weather)]
    return [Agent(_model(place), output_type=way).run_sync(QUESTION).output.model_dump() for way in ways]


def _structured_after_tools(place: Place) -> Any:
    """Tools that may be called before an answer in a form: both are asked for at once."""
    agent = Agent(_model(place), output_type=NativeOutput(Weather), tools=[weather, time])
    return agent.run_sync(QUESTION).output.model_dump()


def _error(place: Place) -> dict[str, Any]:
    try:
        Agent(_model(place)).run_sync(QUESTION, model_settings={"openai_top_logprobs": 3})
    except ModelHTTPError as error:
        return refusal(error)
    raise AssertionError("it was not refused")


serve(
    {
        "plain": _run,
        "stream": lambda place: asyncio.run(_streamed(place)),
        "thinking": lambda place: [_run(place), asyncio.run(_streamed(place))],
        "auto": _ask,
        "required": lambda place: _ask(place, tool_choice="required"),
        "named": lambda place: _ask(place, tool_choice=["time"]),
        "single": lambda place: _ask(place, parallel_tool_calls=False),
        "structured": _structured,
        "structured_after_tools": _structured_after_tools,
        "cancel": lambda place: asyncio.run(_streamed(place, leave=True)),
        "second_turn": _second_turn,
        "error": _error,
    },
    "pydantic-ai-slim",
)
