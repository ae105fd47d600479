"""langchain-openai: ChatOpenAI."""

from __future__ import annotations

from typing import Any

import openai
from harness import QUESTION, Place, refusal, serve
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int
    rain: bool = Field(description="Whether it rains")


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


@tool
def time(city: str) -> str:
    """The time in a city."""
    return f"It is noon in {city}."


def _chat(place: Place, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(model=place.model, base_url=place.url, api_key=place.key, max_retries=0, **more)


def _told(message: Any) -> dict[str, Any]:
    return {
        "text": message.text if isinstance(message.text, str) else message.text(),
        "calls": [[c["name"], c["args"]] for c in message.tool_calls],
        "finish": message.response_metadata.get("finish_reason"),
    }


def _streamed(chat: Any) -> dict[str, Any]:
    whole = None
    pieces = 0
    for chunk in chat.stream(QUESTION):
        pieces += bool(chunk.content)
        whole = chunk if whole is None else whole + chunk
    return _told(whole) | {"pieces": pieces, "usage": bool(whole.usage_metadata)}


def _bound(place: Place, **more: Any) -> Any:
    return _chat(place).bind_tools([weather, time], **more)


def _structured(place: Place) -> list[Any]:
    methods: Any = ("json_schema", "function_calling", "json_mode")
    ways = [_chat(place).with_structured_output(Weather, method=method) for method in methods]
    return [way.invoke(QUESTION).model_dump() for way in ways]


def _cancel(place: Place) -> str:
    stream = _chat(place).stream(QUESTION)
    first = next(chunk.text for chunk in stream if chunk.content)
    stream.close()
    return first


def _second_turn(place: Place) -> dict[str, Any]:
    bound = _bound(place)
    turns: list[Any] = [HumanMessage(QUESTION)]
    said = bound.invoke(turns)
    turns += [said, *(ToolMessage(weather.invoke(c["args"]), tool_call_id=c["id"]) for c in said.tool_calls)]
    return _told(bound.invoke(turns))


def _error(place: Place) -> dict[str, Any]:
    try:
        _chat(place, top_logprobs=3).invoke(QUESTION)
    except openai.BadRequestError as error:
        return refusal(error)
    raise AssertionError("it was not refused")


serve(
    {
        "plain": lambda place: _told(_chat(place).invoke(QUESTION)),
        "stream": lambda place: _streamed(_chat(place, stream_usage=True)),
        "auto": lambda place: [_told(_bound(place).invoke(QUESTION)), _streamed(_bound(place))],
        "required": lambda place: _told(_bound(place, tool_choice="any").invoke(QUESTION)),
        "named": lambda place: _told(_bound(place, tool_choice="time").invoke(QUESTION)),
        "single": lambda place: _told(_bound(place, parallel_tool_calls=False).invoke(QUESTION)),
        "structured": _structured,
        "cancel": _cancel,
        "second_turn": _second_turn,
        "error": _error,
    },
    "langchain-openai",
)
