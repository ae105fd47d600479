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
from harness import QUESTION, Place, serve
from openai import AsyncOpenAI

set_tracing_disabled(True)
KINDS: Any = {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}


class Weather(pydantic.BaseModel):
    city: str
    degrees: int
    rain: bool


def _run(place: Place, kind: str, *, streamed: bool = False, **more: Any) -> dict[str, Any]:
    asked: list[str] = []

    @function_tool
    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"It rains in {city}."

    async def run() -> dict[str, Any]:
        async with AsyncOpenAI(base_url=place.url, api_key=place.key, max_retries=0) as client:
            model = KINDS[kind](model=place.model, openai_client=client)
            agent = Agent(name="Clerk", instructions="Answer briefly.", model=model, **({"tools": [weather]} | more))
            pieces = 0
            if streamed:
                result: Any = Runner.run_streamed(agent, QUESTION)
                async for event in result.stream_events():
                    pieces += event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
            else:
                result = await Runner.run(agent, QUESTION)
            said = result.final_output
            told = said.model_dump() if isinstance(said, pydantic.BaseModel) else said
            return {"said": told, "asked": asked, "turns": len(result.raw_responses), "pieces": pieces}

    return asyncio.run(run())


def _each(**more: Any) -> Any:
    return lambda place: [_run(place, kind, **more) for kind in KINDS]


serve(
    {
        "agent": _each(),
        "streamed": _each(streamed=True),
        "required": _each(model_settings=ModelSettings(tool_choice="required", parallel_tool_calls=False)),
        "structured": _each(tools=[], output_type=Weather),
    },
    "openai-agents",
    "openai",
)
