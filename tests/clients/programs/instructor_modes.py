"""instructor: classes by calls, by JSON, and by schemas; whole, in parts, and several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import instructor
import openai
from harness import QUESTION, Place, refusal, serve
from pydantic import BaseModel, Field

ASKED: Any = [{"role": "user", "content": QUESTION}]
MODES = (
    instructor.Mode.TOOLS,
    instructor.Mode.TOOLS_STRICT,
    instructor.Mode.JSON,
    instructor.Mode.JSON_SCHEMA,
    instructor.Mode.MD_JSON,
)


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int
    rain: bool = Field(description="Whether it rains")


class weather(BaseModel):  # noqa: N801 - the tool's name
    """The weather of a city."""

    city: str


class time(BaseModel):  # noqa: N801 - as above
    """The time in a city."""

    city: str


def _client(place: Place, mode: Any) -> Any:
    client = openai.OpenAI(base_url=place.url, api_key=place.key, max_retries=0)
    return instructor.from_openai(client, mode=mode)


def _structured(place: Place) -> list[Any]:
    given: Any = {"model": place.model, "messages": ASKED, "response_model": Weather, "max_retries": 1}
    return [_client(place, mode).chat.completions.create(**given).model_dump() for mode in MODES]


def _partial(place: Place) -> list[Any]:
    found = []
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        stream = _client(place, mode).chat.completions.create_partial(
            model=place.model, messages=ASKED, response_model=Weather
        )
        parts = [part.model_dump() for part in stream]
        found.append(parts[-1] | {"pieces": len(parts)})
    return found


def _several(place: Place) -> dict[str, Any]:
    """Several calls in one answer."""
    client = _client(place, instructor.Mode.PARALLEL_TOOLS)
    told = client.chat.completions.create(
        model=place.model, messages=ASKED, response_model=Iterable[weather | time], max_retries=1
    )
    return {"calls": [[type(one).__name__, one.model_dump()] for one in told]}


def _error(place: Place) -> dict[str, Any]:
    try:
        _client(place, instructor.Mode.TOOLS).chat.completions.create(
            model=place.model, messages=ASKED, response_model=Weather, top_logprobs=3, max_retries=1
        )
    except Exception as error:  # noqa: BLE001 - it wraps the client's own in one of its own
        cause: Any = error
        while not isinstance(cause, openai.APIStatusError):
            cause = cause.__cause__ or cause.__context__
        return refusal(cause)
    raise AssertionError("it was not refused")


serve(
    {"structured": _structured, "structured_stream": _partial, "auto": _several, "error": _error},
    "instructor",
)
