"""The anthropic package: messages."""

from __future__ import annotations

from typing import Any

import anthropic
import pydantic
from harness import QUESTION, TOOLS, Place, refusal, serve

ASKED: Any = [{"role": "user", "content": QUESTION}]
# The same tools as this API has them.
OURS: Any = [
    {"name": f["name"], "description": f["description"], "input_schema": f["parameters"]}
    for f in (tool["function"] for tool in TOOLS)
]
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}


class Weather(pydantic.BaseModel):
    city: str
    degrees: int
    rain: bool = pydantic.Field(description="Whether it rains")


def _client(place: Place, **more: Any) -> anthropic.Anthropic:
    given = {"api_key": place.key} | more
    return anthropic.Anthropic(base_url=place.url.removesuffix("/v1"), max_retries=0, **given)


def _told(message: Any) -> dict[str, Any]:
    return {
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "reasoning": "".join(block.thinking for block in message.content if block.type == "thinking"),
        "calls": [[block.name, block.input] for block in message.content if block.type == "tool_use"],
        "stop": [message.stop_reason, message.stop_sequence],
        "usage": message.usage.output_tokens > 0 and message.usage.input_tokens > 0,
        "warned": [warning["param"] for warning in getattr(message, "warnings", [])],
    }


def _asked(place: Place, **more: Any) -> Any:
    return {"model": place.model, "max_tokens": 2000, "messages": ASKED} | more


def _ask(place: Place, **more: Any) -> dict[str, Any]:
    return _told(_client(place).messages.create(**_asked(place, **more)))


def _streamed(place: Place, **more: Any) -> dict[str, Any]:
    """The stream that the package puts together again."""
    pieces = 0
    with _client(place).messages.stream(**_asked(place, **more)) as stream:
        for event in stream:
            pieces += event.type == "text"
        return _told(stream.get_final_message()) | {"pieces": pieces}


def _beta(place: Place, **more: Any) -> dict[str, Any]:
    """As the package asks for what is new: with a parameter in the address, and by a bearer's key."""
    client = _client(place, api_key=None, auth_token=place.key)
    given = _asked(place, betas=["interleaved-thinking-2025-05-14"], **more)
    return _told(client.beta.messages.create(**given))


def _all(place: Place, **more: Any) -> list[dict[str, Any]]:
    return [_ask(place, **more), _streamed(place, **more), _beta(place, **more)]


def _second_turn(place: Place) -> dict[str, Any]:
    client = _client(place)
    first = client.messages.create(**_asked(place, tools=OURS))
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": c.id, "content": "It rains in Rome."} for c in calls]
    messages = [*ASKED, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    return _told(client.messages.create(**_asked(place, tools=OURS, messages=messages)))


def _runner(place: Place) -> dict[str, Any]:
    """The package's own loop over calls."""

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"It rains in {city}."

    runner = _client(place).beta.messages.tool_runner(**_asked(place, tools=[weather]))
    return _told(runner.until_done())


def _count(place: Place) -> dict[str, int]:
    client = _client(place)

    def count(**more: Any) -> int:
        return client.messages.count_tokens(model=place.model, messages=ASKED, **more).input_tokens

    return {"plain": count(), "tools": count(tools=OURS), "system": count(system="Be brief.", thinking=THINKING)}


def _structured(place: Place) -> Any:
    return _client(place).messages.parse(**_asked(place, output_format=Weather)).parsed_output.model_dump()


def _cancel(place: Place) -> str:
    with _client(place).messages.stream(**_asked(place)) as stream:
        return next(iter(stream.text_stream))


def _errors(place: Place) -> list[dict[str, Any]]:
    told = []
    for ask in (
        lambda: _ask(place, tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        lambda: _ask(place, model="other"),
        lambda: _told(_client(place, api_key="wrong").messages.create(**_asked(place))),
    ):
        try:
            ask()
        except anthropic.APIStatusError as error:
            body: Any = error.body
            told.append(refusal(error) | {"kind": body["error"]["type"]})
    return told


serve(
    {
        "plain": _ask,
        "stream": _streamed,
        "thinking": lambda place: _all(place, thinking=THINKING),
        "not_thinking": lambda place: _ask(place, thinking={"type": "disabled"}),
        "auto": lambda place: _all(place, tools=OURS),
        "required": lambda place: _ask(place, tools=OURS, tool_choice={"type": "any"}),
        "named": lambda place: _ask(place, tools=OURS, tool_choice={"type": "tool", "name": "time"}),
        "single": lambda place: _ask(
            place, tools=OURS, tool_choice={"type": "auto", "disable_parallel_tool_use": True}
        ),
        "second_turn": _second_turn,
        "runner": _runner,
        "count": _count,
        "structured": _structured,
        "stopped": lambda place: _ask(place, stop_sequences=["in Rome"]),
        "cancel": _cancel,
        "errors": _errors,
    },
    "anthropic",
)
