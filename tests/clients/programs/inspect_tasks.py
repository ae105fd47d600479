"""inspect-ai: tasks with tools, and single generations, through its provider for endpoints like OpenAI's."""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import Any

import inspect_ai
from harness import QUESTION, Place, refusal, serve
from inspect_ai.dataset import Sample
from inspect_ai.model import ContentReasoning, GenerateConfig, ResponseSchema, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import Tool, ToolFunction, tool
from inspect_ai.util import json_schema
from pydantic import BaseModel, Field


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int
    rain: bool = Field(description="Whether it rains")


@tool
def weather() -> Tool:
    async def execute(city: str) -> str:
        """The weather of a city.

        Args:
            city: A city
        """
        return f"It rains in {city}."

    return execute


@tool
def time() -> Tool:
    async def execute(city: str) -> str:
        """The time in a city.

        Args:
            city: A city
        """
        return f"It is noon in {city}."

    return execute


def _told(output: Any) -> dict[str, Any]:
    message = output.message
    parts = message.content if isinstance(message.content, list) else []
    return {
        "text": message.text,
        "reasoning": "".join(p.reasoning for p in parts if isinstance(p, ContentReasoning)),
        "calls": [[c.function, c.arguments] for c in message.tool_calls or ()],
        "finish": output.stop_reason,
    }


def _model(place: Place, **more: Any) -> Any:
    return get_model(f"openai-api/local/{place.model}", base_url=place.url, api_key=place.key, memoize=False, **more)


def _ask(place: Place, tool_choice: Any = None, tools: bool = True, stream: bool = False, **config: Any) -> Any:
    async def one() -> Any:
        async with _model(place, stream=stream) as model:
            return await model.generate(
                QUESTION,
                tools=[weather(), time()] if tools else [],
                tool_choice=tool_choice,
                config=GenerateConfig(max_retries=0, **config),
            )

    return _told(asyncio.run(one()))


def _structured(place: Place) -> Any:
    form = ResponseSchema(name="weather", json_schema=json_schema(Weather), strict=True)
    answer = _ask(place, tools=False, response_schema=form)
    return Weather.model_validate_json(answer["text"]).model_dump()


def _task(place: Place) -> dict[str, Any]:
    """A task whose answer is found by a tool: what was said at the end, and its score."""
    os.environ |= {"LOCAL_BASE_URL": place.url, "LOCAL_API_KEY": place.key}
    task = inspect_ai.Task(
        dataset=[Sample(input=QUESTION, target="rains")],
        solver=[use_tools(weather(), time()), generate()],
        scorer=includes(),
    )
    with tempfile.TemporaryDirectory() as folder:
        (log,) = inspect_ai.eval(
            task, model=f"openai-api/local/{place.model}", log_dir=folder, display="none", max_retries=0
        )
        assert log.status == "success", log.error
        (sample,) = log.samples
        return {"text": sample.output.completion, "score": sample.scores["includes"].value}


def _error(place: Place) -> dict[str, Any]:
    try:
        _ask(place, tools=False, top_logprobs=3)
    except Exception as error:  # noqa: BLE001 - which it is is what is told
        return refusal(error)
    raise AssertionError("it was not refused")


serve(
    {
        "plain": lambda place: _ask(place, tools=False),
        "stream": lambda place: _ask(place, tools=False, stream=True),
        "thinking": lambda place: [_ask(place, tools=False), _ask(place, tools=False, stream=True)],
        "auto": lambda place: [_ask(place), _ask(place, stream=True)],
        "required": lambda place: _ask(place, tool_choice="any"),
        "named": lambda place: _ask(place, tool_choice=ToolFunction(name="time")),
        "single": lambda place: _ask(place, parallel_tool_calls=False),
        "structured": _structured,
        "second_turn": _task,
        "error": _error,
    },
    "inspect-ai",
)
