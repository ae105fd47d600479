"""The openai-agents package: an agent with a tool, through responses and through chat completions."""

from __future__ import annotations

import asyncio
from typing import Any

import pydantic
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from harness import QUESTION, Place, refusal, serve
from openai import AsyncOpenAI, BadRequestError

set_tracing_disabled(True)
KINDS: Any = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}


class Weather(pydantic.BaseModel):
    city: str
    degrees: int
    rain: bool


def _thought(result: Any) -> str:
    """What was thought, as items of the run have it: as text from responses, as a summary from chat completions."""
    items = [item.raw_item for item in result.new_items if item.type == "reasoning_item"]
    return "".join(part.text for item in items for part in item.content or item.summary)


def _run(place: Place, kind: str, *, streamed: bool = False, leaves: bool = False, **more: Any) -> dict[str, Any]:
    asked: list[str] = []

    @function_tool
    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"It rains in {city}."

    @function_tool
    def time(city: str) -> str:
        """The time in a city."""
        asked.append(f"time in {city}")
        return "It is noon."

    async def run() -> dict[str, Any]:
        async with AsyncOpenAI(base_url=place.url, api_key=place.key, max_retries=0) as client:
            model = KINDS[kind](model=place.model, openai_client=client)
            agent = Agent(
                name="Clerk", instructions="Answer briefly.", model=model, **({"tools": [weather, time]} | more)
            )
            pieces = 0
            if streamed:
                result: Any = Runner.run_streamed(agent, QUESTION)
                async for event in result.stream_events():
                    if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                        pieces += 1
                        if leaves:
                            result.cancel()
                            return {"said": event.data.delta}
            else:
                result = await Runner.run(agent, QUESTION)
            said = result.final_output
            told = said.model_dump() if isinstance(said, pydantic.BaseModel) else said
            turns = len(result.raw_responses)
            return {"said": told, "asked": asked, "turns": turns, "pieces": pieces, "thought": _thought(result)}

    return asyncio.run(run())


def _each(**more: Any) -> Any:
    return lambda place: [_run(place, kind, **more) for kind in KINDS]


def _error(place: Place) -> Any:
    told = []
    for kind in KINDS:
        try:
            _run(place, kind, model_settings=ModelSettings(top_p=1.5))
        except BadRequestError as error:
            told.append(refusal(error) | {"param": error.param})
    return told


serve(
    {
        "plain": _each(tools=[]),
        "thinking": _each(tools=[]),
        "named": _each(model_settings=ModelSettings(tool_choice="time")),
        "single": _each(model_settings=ModelSettings(parallel_tool_calls=False)),
        "cancel_responses": lambda place: _run(place, "responses", streamed=True, leaves=True, tools=[]),
        "cancel_chat": lambda place: _run(place, "chat", streamed=True, leaves=True, tools=[]),
        "error": _error,
        "agent": _each(),
        "streamed": _each(streamed=True),
        "required": _each(model_settings=ModelSettings(tool_choice="required", parallel_tool_calls=False)),
        "structured": _each(tools=[], output_type=Weather),
    },
    "openai-agents",
    "openai",
)
